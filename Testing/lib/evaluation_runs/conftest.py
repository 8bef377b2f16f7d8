"""What the tests of whole evaluations share: small networks, and a list of two cases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from evaluation_lists import entry, write_case, write_list

from VISTA3DLib.checkpoint import save_checkpoint
from VISTA3DLib.model import Model


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory, make_model: Callable[..., Model]) -> str:
    """Files of small networks for folds 0 and 1; the path of the first."""
    folder = tmp_path_factory.mktemp("weights")
    for fold in (0, 1):
        model = make_model(fold)
        save_checkpoint(folder / f"fold{fold}.safetensors", model.network, model.settings, metadata={"title": "tiny"})
    return str(folder / "fold0.safetensors")


@pytest.fixture
def two_cases(tmp_path: Path) -> Path:
    """A list of two cases in different geometries."""
    write_case(tmp_path, "a", "oblique", 3)
    write_case(tmp_path, "b", "lps", 4)
    return write_list(tmp_path, [entry("a", fold=0), entry("b", fold=1)])
