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
for folder in (ROOT, ROOT / "VISTA3D", ROOT / "Testing" / "host", ROOT / "Testing" / "in_slicer"):
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
    """The host with an empty scene and default settings; afterwards no slot may have failed.

    The segmentation process is the fast one of ``Testing/in_slicer``.
    """
    import qt
    import wrap
    from vista3d_case import fastPython

    monkeypatch.setenv("VISTA3D_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("VISTA3D_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    qt.QSettings().clear()
    qt.QSettings().setValue("VISTA3D/Python", fastPython(tmp_path))
    host.scene.Clear(0)
    host.dialogs.clear()
    host.packaging.asked.clear()
    host.packaging.refuse = host.packaging.break_down = False
    wrap.failures.clear()
    yield host
    host.scene.Clear(0)
    assert not wrap.failures, "\n".join(wrap.failures)


@pytest.fixture
def a_shown_ct(a_clean_host: Any) -> Any:
    """An oblique, anisotropic volume, shown in the slice views."""
    import slicer
    from vista3d_case import makeVolume

    volume = makeVolume()
    slicer.util.setSliceViewerLayers(background=volume)
    slicer.util.resetSliceViews()
    a_clean_host.process()
    return volume


@pytest.fixture
def a_widget(a_clean_host: Any, a_shown_ct: Any) -> Iterator[Any]:
    """The module's widget, set up and entered; cleaned up afterwards."""
    from opening import close_widget, open_widget

    widget = open_widget(a_clean_host)
    yield widget
    close_widget(a_clean_host, widget)


@pytest.fixture
def a_panel(a_clean_host: Any, a_widget: Any) -> Any:
    """The module's panel, its model loaded."""
    panel = a_widget.panel
    a_clean_host.process(lambda: panel.workbench.model is not None and not panel.workbench.busy)
    return panel
