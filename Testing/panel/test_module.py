"""The four Slicer classes: what they need, what they register, and the test that an installed extension has."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    "torch", "monai", "scipy", "skimage", "SimpleITK", "nibabel", "nrrd", "pydicom", "highdicom", "cc3d", "psutil",
    "matplotlib", "huggingface_hub", "safetensors", "typer", "rich", "yaml", "trame", "ray",
)  # fmt: skip

BARE = """
import sys
for name in {heavy!r}:
    sys.modules[name] = None  # importing it fails
sys.path[:0] = [{host!r}, {module!r}]
import boot, opening
host = boot.the_host()
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name in {heavy!r} else real(name, *a)
from vista3d_case import makeVolume
makeVolume()
widget = opening.open_widget(host)
text = widget.panel.ui.readyText.text
assert "torch, monai" in text, text
assert not widget.panel.workbench.busy
widget.panel.ui.addPointButton.click()
assert "Install packages" in widget.panel.ui.messageText.text
opening.close_widget(host, widget)
boot.close_the_host()
print("usable")
"""


def test_the_panel_opens_in_a_slicer_without_any_package(tmp_path: Path) -> None:
    """Only the module's folder is on the path, as with *Additional module paths*."""
    code = BARE.format(heavy=HEAVY, host=str(ROOT / "Testing" / "host"), module=str(ROOT / "VISTA3D"))
    code = code.replace("sys.path[:0] = [", f"sys.path[:0] = [{str(ROOT / 'Testing' / 'in_slicer')!r}, ")
    script = tmp_path / "bare.py"
    script.write_text(code)
    environment = {"QT_QPA_PLATFORM": "offscreen", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    command = [sys.executable, str(script)]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "usable"


def test_sample_data_is_registered_with_checksums(a_clean_host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer

    registered: list[dict[str, Any]] = []
    module = types.ModuleType("SampleData")
    module.SampleDataLogic = types.SimpleNamespace(  # type: ignore[attr-defined]
        registerCustomSampleDataSource=lambda **values: registered.append(values)
    )
    monkeypatch.setitem(sys.modules, "SampleData", module)
    import module_base
    from boot import MODULE

    import VISTA3D

    VISTA3D.VISTA3D(module_base.ModuleParent(str(MODULE)))
    slicer.app.tell("startupCompleted()")
    assert {values["sampleName"] for values in registered} == {"CTChest", "CTACardio"}
    for values in registered:
        assert values["category"] == "VISTA3D"
        checksum = values["checksums"].removeprefix("SHA256:")
        assert len(checksum) == 64
        assert values["uris"].endswith(f"SHA256/{checksum}")
        assert Path(values["thumbnailFileName"]).is_file()


def test_what_slicer_shows_about_the_module(a_clean_host: Any) -> None:
    import module_base
    from boot import MODULE

    import VISTA3D

    parent = module_base.ModuleParent(str(MODULE))
    VISTA3D.VISTA3D(parent)
    assert parent.title == "VISTA3D"
    assert parent.categories == ["Segmentation"]
    assert "not for clinical use" in parent.helpText
    assert "CVPR 2025" in parent.acknowledgementText


def test_the_smoke_test_of_an_installed_extension_passes(
    a_clean_host: Any, a_widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import VISTA3D

    monkeypatch.setattr(a_clean_host, "widget", a_widget)
    test = VISTA3D.VISTA3DTest()
    monkeypatch.setattr(VISTA3D, "_IN_SLICER", Path("/nowhere"))
    test.runTest()
    monkeypatch.setattr(a_clean_host, "widget", None)


def test_entering_and_leaving_again_and_again_adds_nothing(a_clean_host: Any, a_widget: Any) -> None:
    from PySide6.QtGui import QShortcut

    a_clean_host.process()
    before = len(a_clean_host.window.findChildren(QShortcut))
    nodes = a_clean_host.scene.GetNumberOfNodes()
    for _ in range(3):
        a_widget.exit()
        a_widget.enter()
    assert len(a_clean_host.window.findChildren(QShortcut)) == before
    assert a_clean_host.scene.GetNumberOfNodes() == nodes


def test_leaving_after_the_cleanup_is_harmless(a_clean_host: Any, a_widget: Any) -> None:
    a_widget.cleanup()
    a_widget.exit()
    a_widget.enter()
    a_widget.cleanup()
    assert a_widget.panel is None


def test_the_module_is_cleaned_up_though_its_window_is_gone(a_clean_host: Any, a_widget: Any) -> None:
    """As when Slicer quits: the keys belong to the main window, the buttons to the panel."""
    import shiboken6

    panel, folder = a_widget.panel, Path(a_widget.panel._folder.path())
    for key in panel.shortcuts._keys:
        shiboken6.delete(key.shortcut._raw)
    shiboken6.delete(a_clean_host.panel_area.takeWidget())
    a_widget.cleanup()
    assert panel.closed
    assert not folder.exists()
    assert panel.workbench.positive_node is None


def test_a_panel_that_is_built_in_an_open_module_is_entered(a_clean_host: Any, a_shown_ct: Any) -> None:
    """As after *Reload*."""
    import importlib

    import module_base
    from opening import close_widget

    proxy = module_base.ParentProxy(module_base.WidgetParent())
    proxy.isEntered = True
    widget = importlib.import_module("VISTA3D").VISTA3DWidget(proxy)
    widget.setup()
    assert widget.panel.shortcuts.enabled
    assert widget.panel.workbench.volume is a_shown_ct
    close_widget(a_clean_host, widget)


def test_the_module_s_file_is_wiring_only() -> None:
    lines = (ROOT / "VISTA3D" / "VISTA3D.py").read_text().splitlines()
    assert len(lines) < 150
