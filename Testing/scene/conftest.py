"""What the scene's tests share: a scene, a CT in it, a workbench with a worker that answers when told to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from odd_volumes import odd_affine
from scene_host import SceneHost, make_volume
from scene_table import Table

settings.register_profile("house", deadline=None)
settings.load_profile("house")

SHAPE = (30, 34, 26)


@pytest.fixture(scope="session")
def host() -> Iterator[SceneHost]:
    host = SceneHost()
    yield host
    host.close()


@pytest.fixture
def scene(host: SceneHost) -> Iterator[Any]:
    """A scene without data."""
    host.scene.Clear(0)
    yield host.scene
    host.scene.Clear(0)


@pytest.fixture
def a_ct(scene: Any) -> Any:
    """A small volume in an oblique geometry far from the origin."""
    return make_volume(scene, np.zeros(SHAPE, dtype=np.int16), odd_affine("oblique"))


@pytest.fixture
def make_table(scene: Any, tmp_path: Path) -> Iterator[Callable[[], Table]]:
    """Makes workbenches, and closes them."""
    tables: list[Table] = []

    def make() -> Table:
        folder = tmp_path / f"session {len(tables)}"
        folder.mkdir()
        tables.append(Table(scene, folder))
        return tables[-1]

    yield make
    for table in tables:
        table.bench.close()
        assert not table.folder.exists()


@pytest.fixture
def table(make_table: Callable[[], Table], a_ct: Any) -> Table:
    """A workbench that is ready: model loaded, CT chosen."""
    made = make_table()
    made.prepare(a_ct)
    assert not made.failures
    return made
