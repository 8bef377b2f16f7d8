"""Node selectors: what a person chooses counts, what Slicer does to them when scenes are loaded does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from person import choose, choose_entry

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

LIVER, SPLEEN, PANCREAS = 1, 3, 4


@pytest.fixture
def a_file(a_clean_host: Any, tmp_path: Path) -> str:
    """A scene with one CT in it, to be added to another scene; the pancreas was chosen there, and no region."""
    import slicer
    from vista3d_case import makeVolume

    volume = makeVolume("from a file")
    parameters = slicer.mrmlScene.AddNode(slicer.vtkMRMLScriptedModuleNode())
    parameters.SetSingletonTag("VISTA3D")
    parameters.SetAttribute("ModuleName", "VISTA3D")
    parameters.SetParameter("Classes", str(PANCREAS))
    path = str(tmp_path / "other.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.RemoveNode(volume)
    slicer.mrmlScene.RemoveNode(parameters)
    return path


def test_adding_a_scene_keeps_what_was_chosen(a_clean_host: Any, a_file: str, a_panel: Any, a_shown_ct: Any) -> None:
    """Slicer empties the selectors and fills them again; no run is cancelled by it."""
    import slicer

    workbench, ui = a_panel.workbench, a_panel.ui
    choose_entry(ui.roiSelector, -1)
    region = ui.roiSelector.currentNode()
    workbench.new_segment(name="lesion")
    segmentation = workbench.segmentation
    slicer.util.loadScene(a_file)
    assert workbench.volume is ui.volumeSelector.currentNode() is a_shown_ct
    assert workbench.segmentation is ui.segmentationSelector.currentNode() is segmentation
    assert ui.roiSelector.currentNode() is region
    assert a_panel.state.reference("Region") is region
    assert a_panel.state.reference("InputVolume") is a_shown_ct
    assert a_panel.state.reference("Segmentation") is segmentation
    assert a_panel.state.segment == workbench.selected


def test_adding_a_scene_keeps_the_structures_that_are_checked(a_clean_host: Any, a_file: str, a_panel: Any) -> None:
    import slicer

    choose(a_panel, LIVER, SPLEEN)
    slicer.util.loadScene(a_file)
    assert a_panel.automatic.tree.chosen() == a_panel.state.classes
    assert set(a_panel.state.classes) == {LIVER, SPLEEN}


def test_adding_a_scene_checks_its_structures_where_none_are(a_clean_host: Any, a_file: str, a_panel: Any) -> None:
    import slicer

    slicer.util.loadScene(a_file)
    assert a_panel.automatic.tree.chosen() == a_panel.state.classes == (PANCREAS,)


def test_opening_a_scene_checks_its_structures(a_clean_host: Any, a_file: str, a_panel: Any) -> None:
    import slicer

    choose(a_panel, LIVER, SPLEEN)
    a_clean_host.scene.Clear(0)
    slicer.util.loadScene(a_file)
    assert a_panel.automatic.tree.chosen() == a_panel.state.classes == (PANCREAS,)


def test_opening_a_scene_selects_its_segment(a_clean_host: Any, tmp_path: Path, a_panel: Any) -> None:
    import slicer

    for name in ("a", "b", "c"):
        a_panel.workbench.new_segment(name=name)
    second = a_panel.workbench.segments[1].id
    a_panel.workbench.select_segment(second)
    path = str(tmp_path / "saved.mrb")
    assert slicer.util.saveScene(path)
    a_clean_host.scene.Clear(0)
    slicer.util.loadScene(path)
    assert a_panel.workbench.selected == second


def test_a_run_goes_on_while_a_scene_is_added(a_clean_host: Any, a_file: str, a_panel: Any) -> None:
    import slicer

    choose(a_panel, LIVER, SPLEEN)
    a_panel.ui.runButton.click()
    a_clean_host.process(lambda: a_panel.ui.runButton.text == "Cancel")
    slicer.util.loadScene(a_file)
    assert a_panel.workbench.busy
    a_clean_host.process(lambda: not a_panel.workbench.busy)
    assert {info.name for info in a_panel.workbench.segments} == {"liver", "spleen"}


def test_another_ct_of_the_same_name_can_be_chosen(a_panel: Any, a_shown_ct: Any) -> None:
    """Slicer's selector tells of another node only where the text changes."""
    from vista3d_case import makeVolume

    twin = makeVolume(a_shown_ct.GetName())
    choose_entry(a_panel.ui.volumeSelector, -1)
    assert a_panel.workbench.volume is twin


def test_another_segmentation_of_the_same_name_can_be_chosen(a_panel: Any) -> None:
    import slicer

    twins = [slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode") for _ in range(2)]
    for number, twin in enumerate(twins, start=1):  # the entry before them is *A new one*
        twin.SetName("twin")
        choose_entry(a_panel.ui.segmentationSelector, number)
        assert a_panel.workbench.segmentation is twin


def test_no_other_ct_is_chosen_where_one_is_deleted(a_clean_host: Any, a_panel: Any, a_shown_ct: Any) -> None:
    """Slicer's selector would take the next one."""
    from vista3d_case import makeVolume

    makeVolume("next")
    a_clean_host.scene.RemoveNode(a_shown_ct)
    assert a_panel.workbench.volume is None
    assert a_panel.ui.volumeSelector.currentNode() is None
    assert "'CT' was deleted" in a_panel.ui.messageText.text


def test_a_ct_that_is_set_by_the_program_is_not_shown_by_itself(a_panel: Any) -> None:
    """Slicer's selector says *activated* then, too."""
    import slicer
    from vista3d_case import makeVolume

    other = makeVolume("other")
    composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    shown = composite.GetBackgroundVolumeID()
    a_panel.workbench.set_volume(other)
    assert a_panel.ui.volumeSelector.currentNode() is other
    assert composite.GetBackgroundVolumeID() == shown
