"""Automatic runs: the tree of structures, regions, progress and cancel, sequences."""

from __future__ import annotations

from typing import Any

import pytest
from person import choose, choose_entry

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

LIVER, SPLEEN, LEFT_LUNG_UPPER_LOBE = 1, 3, 28


class TestAutomatic:
    def test_search_shows_what_matches(self, a_panel: Any) -> None:
        tree = a_panel.automatic.tree
        a_panel.ui.searchBox.text = "kidney"
        shown = {a_panel.automatic.catalogue()[i].name for i, item in tree._items.items() if not item.isHidden()}
        assert {"left kidney", "right kidney"} <= shown
        assert "liver" not in shown
        a_panel.ui.searchBox.text = ""
        assert not any(item.isHidden() for item in tree._items.values())

    def test_a_set_is_chosen_at_once(self, a_panel: Any) -> None:
        selector = a_panel.ui.setSelector
        index = selector.findData("lesions")
        a_panel.automatic.onSetActivated(index)
        assert set(a_panel.automatic.tree.chosen()) == set(a_panel.automatic.catalogue().sets["lesions"])
        assert "7 structures chosen" in a_panel.ui.choiceText.text
        a_panel.ui.clearChoiceButton.click()
        assert not a_panel.automatic.tree.chosen()
        assert not a_panel.ui.runButton.enabled

    def test_a_branch_checks_all_that_is_in_it(self, a_panel: Any) -> None:
        import qt

        organs = a_panel.ui.classTree.topLevelItem(0)
        organs.setCheckState(0, qt.Qt.Checked)
        chosen = a_panel.automatic.tree.chosen()
        assert LIVER in chosen
        assert LEFT_LUNG_UPPER_LOBE in chosen
        organs.setCheckState(0, qt.Qt.Unchecked)
        assert not a_panel.automatic.tree.chosen()

    def test_the_panel_is_drawn_once_for_a_whole_branch(
        self, a_clean_host: Any, a_panel: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import qt

        told: list[int] = []
        tree = a_panel.automatic.tree
        monkeypatch.setattr(tree, "_changed", lambda: told.append(len(tree.chosen())))
        a_panel.ui.classTree.topLevelItem(0).setCheckState(0, qt.Qt.Checked)
        a_clean_host.process(lambda: told)
        assert told == [len(tree.chosen())]

    def test_structures_that_cannot_be_segmented_are_not_offered(self, a_panel: Any) -> None:
        catalogue = a_panel.automatic.catalogue()
        offered = set(a_panel.automatic.tree._items)
        assert offered == {item.id for item in catalogue.classes if item.status.value == "supported"}

    def test_a_run_shows_progress_and_brings_named_segments(self, a_clean_host: Any, a_panel: Any) -> None:
        choose(a_panel, LIVER, SPLEEN)
        a_panel.ui.runButton.click()
        a_clean_host.process(lambda: "left" in a_panel.ui.progressBar.text)
        assert a_panel.ui.runButton.text == "Cancel"
        assert a_panel.ui.cancelButton.visible
        a_clean_host.process(lambda: not a_panel.workbench.busy)
        assert {info.name for info in a_panel.workbench.segments} == {"liver", "spleen"}
        assert a_panel.ui.undoButton.enabled
        assert not a_panel.ui.progressBar.visible

    def test_cancel_changes_nothing(self, a_clean_host: Any, a_panel: Any) -> None:
        choose(a_panel, LIVER, SPLEEN)
        a_panel.ui.runButton.click()
        a_clean_host.process(lambda: a_panel.ui.runButton.text == "Cancel")
        a_panel.ui.runButton.click()
        a_clean_host.process(lambda: not a_panel.workbench.busy)
        assert not a_panel.workbench.segments
        assert a_panel.ui.runButton.text == "Run"

    def test_a_run_is_undone_as_one_step(self, a_clean_host: Any, a_panel: Any) -> None:
        choose(a_panel, LIVER, SPLEEN)
        a_panel.ui.runButton.click()
        a_clean_host.process(lambda: len(a_panel.workbench.segments) == 2 and not a_panel.workbench.busy)
        a_panel.ui.undoButton.click()
        assert not a_panel.workbench.segments

    def test_the_cost_is_estimated_before(self, a_clean_host: Any, a_panel: Any) -> None:
        choose(a_panel, LIVER)
        a_clean_host.process(lambda: "1 windows" in a_panel.ui.estimateText.text)

    def test_a_region_outside_of_the_ct_is_refused_in_words(self, a_clean_host: Any, a_panel: Any) -> None:
        import slicer

        roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Box")
        roi.SetCenterWorld(5000.0, 0.0, 0.0)
        roi.SetSizeWorld(10.0, 10.0, 10.0)
        a_panel.ui.roiSelector.setCurrentNode(roi)
        choose(a_panel, LIVER)
        a_panel.ui.runButton.click()
        assert "outside the volume" in a_panel.ui.messageText.text
        assert a_panel.ui.runButton.text == "Run"

    def test_a_new_region_is_a_box_inside_of_the_ct(self, a_panel: Any) -> None:
        import numpy as np

        choose_entry(a_panel.ui.roiSelector, -1)
        roi = a_panel.ui.roiSelector.currentNode()
        bounds, box = [0.0] * 6, [0.0] * 6
        a_panel.workbench.volume.GetRASBounds(bounds)
        roi.GetBounds(box)
        low, high = np.array(bounds[::2]), np.array(bounds[1::2])
        assert (low < np.array(box[::2])).all()
        assert (np.array(box[1::2]) < high).all()
        assert a_panel.state.reference("Region") is roi

    def test_the_choice_is_saved_with_the_scene(self, a_panel: Any) -> None:
        choose(a_panel, LIVER, SPLEEN)
        assert set(a_panel.state.classes) == {LIVER, SPLEEN}


class TestSequences:
    @pytest.fixture
    def a_browser(self, a_clean_host: Any) -> Any:
        """A sequence browser with a CT of two time points."""
        import slicer
        from vista3d_case import makeVolume

        scene = slicer.mrmlScene
        frames = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "4D CT")
        for number in range(2):
            volume = makeVolume(f"frame {number}", (20, 24, 28))
            frames.SetDataNodeAtValue(volume, str(number))
            scene.RemoveNode(volume)
        browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
        browser.SetAndObserveMasterSequenceNodeID(frames.GetID())
        a_clean_host.logics["sequences"].UpdateProxyNodesFromSequences(browser)
        return browser

    def test_all_frames_are_offered_only_for_a_sequence(self, a_panel: Any, a_browser: Any) -> None:
        assert not a_panel.ui.sequenceCheckBox.visible
        a_panel.ui.volumeSelector.setCurrentNode(a_browser.GetProxyNode(a_browser.GetMasterSequenceNode()))
        assert a_panel.ui.sequenceCheckBox.visible

    def test_all_frames_are_segmented(self, a_clean_host: Any, a_panel: Any, a_browser: Any) -> None:
        import slicer

        a_panel.ui.volumeSelector.setCurrentNode(a_browser.GetProxyNode(a_browser.GetMasterSequenceNode()))
        a_panel.ui.sequenceCheckBox.checked = True
        choose(a_panel, LIVER)
        a_panel.ui.runButton.click()
        a_clean_host.process(lambda: a_panel.ui.runButton.text == "Cancel")
        a_clean_host.process(lambda: not a_panel.workbench.busy)
        names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLSequenceNode")]
        assert len(names) == 2
        sequences = {node.GetNumberOfDataNodes() for node in slicer.util.getNodesByClass("vtkMRMLSequenceNode")}
        assert sequences == {2}
