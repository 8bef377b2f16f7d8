"""The host and the panel for tests: one application for all tests of this folder, one clean scene for each."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "VISTA3D", ROOT / "Testing" / "host"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@pytest.fixture(scope="session")
def host() -> Iterator[Any]:
    """What stands in for the Slicer application."""
    pytest.importorskip("slicer")
    pytest.importorskip("PySide6")
    import boot

    yield boot.the_host()
    boot.close_the_host()


@pytest.fixture
def a_clean_host(host: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """The host with an empty scene and default settings; afterwards no slot may have failed."""
    import qt
    import wrap

    monkeypatch.setenv("VISTA3D_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("VISTA3D_MODELS", str(tmp_path / "models"))
    qt.QSettings().clear()
    host.scene.Clear(0)
    host.dialogs.clear()
    wrap.failures.clear()
    yield host
    host.scene.Clear(0)
    assert not wrap.failures, "\n".join(wrap.failures)


@pytest.fixture
def a_widget(a_clean_host: Any) -> Iterator[Any]:
    """The module's widget, set up and entered; cleaned up afterwards."""
    from opening import close_widget, open_widget

    widget = open_widget(a_clean_host)
    yield widget
    close_widget(a_clean_host, widget)


@pytest.fixture
def a_panel(a_widget: Any) -> Any:
    """The module's panel."""
    return a_widget.panel
