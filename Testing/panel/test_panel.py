"""The panel's sections: set-up, automatic runs, shortcuts, settings, and what it survives."""

from __future__ import annotations

import gc
import os
import weakref
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

LIVER, SPLEEN, LEFT_LUNG_UPPER_LOBE = 1, 3, 28


def choose(panel: Any, *classes: int) -> None:
    panel.automatic.tree.choose(classes)
    panel.automatic.onChoiceChanged()


def press(host: Any, keys: str) -> None:
    """Press a key combination in the main window."""
    from PySide6.QtGui import QKeySequence
    from PySide6.QtTest import QTest

    combination = QKeySequence(keys)[0]
    host.window.activateWindow()
    QTest.keyClick(host.window, combination.key(), combination.keyboardModifiers())
    host.process()


def name_python(panel: Any, folder: Path, line: str) -> Path:
    """Name a shell script of one line as the Python of the segmentation process."""
    program = folder / "own-python"
    program.write_text(f"#!/bin/sh\n{line}\n")
    program.chmod(0o755)
    panel.ui.pythonEdit.text = str(program)
    panel.settings.onPython()
    return program


class TestSetUp:
    def test_nothing_is_started_until_there_is_a_ct(self, a_clean_host: Any) -> None:
        from opening import close_widget, open_widget

        widget = open_widget(a_clean_host)
        assert not widget.panel.workbench.busy
        assert not widget.panel.ui.addPointButton.enabled
        assert not widget.panel.ui.runButton.enabled
        close_widget(a_clean_host, widget)

    def test_the_shown_ct_is_chosen_and_the_model_loaded(self, a_panel: Any, a_shown_ct: Any) -> None:
        assert a_panel.workbench.volume is a_shown_ct
        assert a_panel.ui.volumeSelector.currentNode() is a_shown_ct
        assert "Ready: VISTA3D mini on CPU" in a_panel.ui.readyText.text
        assert "GiB free" in a_panel.ui.readyText.text

    def test_defaults_are_sensible(self, a_panel: Any) -> None:
        ui = a_panel.ui
        assert ui.modelSelector.currentText == "VISTA3D mini"
        assert ui.deviceSelector.currentText == "Automatic"
        assert ui.liveCheckBox.checked
        assert not ui.previewCheckBox.checked
        assert ui.policySelector.currentText.startswith("Keep them")
        assert not ui.installButton.visible
        assert not ui.downloadButton.visible

    def test_all_official_models_are_offered(self, a_panel: Any) -> None:
        from VISTA3DLib.weights import WeightsCatalogue

        offered = {a_panel.ui.modelSelector.itemData(i) for i in range(a_panel.ui.modelSelector.count)}
        assert set(WeightsCatalogue.load().ids) <= offered

    def test_weights_that_are_not_here_are_downloaded_after_their_licence_was_shown(
        self, a_clean_host: Any, a_panel: Any
    ) -> None:
        selector = a_panel.ui.modelSelector
        index = selector.findData("vista3d-ct")
        selector.setCurrentIndex(index)
        a_panel.setup.onModelActivated(index)
        assert a_panel.ui.downloadButton.visible
        assert "not on this computer" in a_panel.ui.readyText.text
        a_panel.ui.downloadButton.click()
        assert "NVIDIA Open Model License" in a_clean_host.dialogs[-1]
        assert "872 MB" in a_clean_host.dialogs[-1]
        a_clean_host.process(lambda: "MB/s" in a_panel.ui.progressBar.text)
        a_panel.ui.cancelButton.click()
        a_clean_host.process(lambda: not a_panel.workbench.busy)
        assert a_panel.ui.downloadButton.enabled

    def test_a_click_with_weights_that_are_not_here_says_what_to_do(self, a_panel: Any) -> None:
        a_panel.preferences.set("Model", "vista3d-ct")
        a_panel.refresh()
        a_panel.ui.addPointButton.click()
        assert "Download weights" in a_panel.ui.messageText.text
        assert not a_panel.ui.addPointButton.checked

    def test_a_file_without_weights_is_refused(self, a_clean_host: Any, a_panel: Any, tmp_path: Path) -> None:
        import qt_modules

        path = tmp_path / "broken.safetensors"
        path.write_bytes(b"nothing")
        qt_modules.dialogs.answer = str(path)
        a_panel.ui.modelFileButton.click()
        qt_modules.dialogs.answer = ""
        assert "broken.safetensors" in a_panel.ui.messageText.text
        assert a_panel.setup.weights == "vista3d-mini"

    def test_devices_are_listed_on_request(self, a_clean_host: Any, a_panel: Any) -> None:
        a_panel.ui.findDevicesButton.click()
        selector = a_panel.ui.deviceSelector
        a_clean_host.process(lambda: selector.findText("CPU of the test") >= 0)
        assert selector.currentText == "Automatic"

    def test_findings_about_the_ct_are_shown(self, a_clean_host: Any, a_panel: Any) -> None:
        from vista3d_case import makeVolume

        a_panel.ui.volumeSelector.setCurrentNode(makeVolume("slab", (8, 50, 60)))
        a_clean_host.process(lambda: a_panel.ui.findingsText.visible)
        assert "field of view is small" in a_panel.ui.findingsText.text

    def test_choices_survive_a_restart(self, a_clean_host: Any, a_widget: Any) -> None:
        from opening import close_widget, open_widget

        a_widget.panel.ui.liveCheckBox.checked = False
        a_widget.panel.ui.policySelector.setCurrentIndex(2)
        a_widget.panel.segments.onPolicy(2)
        close_widget(a_clean_host, a_widget)
        widget = open_widget(a_clean_host)
        assert not widget.panel.workbench.live
        assert widget.panel.workbench.policy.name == "OVERWRITE_OTHERS"
        close_widget(a_clean_host, widget)


class TestPackages:
    @pytest.fixture
    def a_bare_slicer(self, a_panel: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
        """Slicer's own Python, without what the network needs."""
        import importlib.util

        real = importlib.util.find_spec
        gone = {"monai", "cc3d"}
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in gone else real(name, *a))
        a_panel.ui.pythonEdit.text = ""
        a_panel.settings.onPython()
        return a_panel

    def test_missing_packages_are_named_and_nothing_is_started(self, a_bare_slicer: Any) -> None:
        assert "monai, cc3d" in a_bare_slicer.ui.readyText.text
        assert a_bare_slicer.ui.installButton.visible
        a_bare_slicer.setup.onLoad()
        assert "Install packages" in a_bare_slicer.ui.messageText.text

    def test_they_are_installed_only_on_request(self, a_clean_host: Any, a_bare_slicer: Any) -> None:
        assert not a_clean_host.packaging.asked
        a_bare_slicer.ui.installButton.click()
        requirements, options = a_clean_host.packaging.asked[-1]
        assert any(line.startswith("monai") for line in requirements)
        assert "torch" in options["skip_packages"]
        assert options["requester"] == "VISTA3D"

    @pytest.mark.skipif(os.name == "nt", reason="shell scripts")
    def test_a_python_of_ones_own_is_asked_and_told_how_to_get_them(
        self, a_clean_host: Any, a_panel: Any, tmp_path: Path
    ) -> None:
        python = name_python(a_panel, tmp_path, 'echo \'["monai", "torch"]\'')
        a_clean_host.process(lambda: "torch, monai" in a_panel.ui.readyText.text)
        assert str(python) in a_panel.ui.readyText.text
        assert not a_panel.ui.installButton.visible  # that is for Slicer's own
        a_panel.setup.onLoad()
        assert f"{python} -m pip install torch -r " in a_panel.ui.messageText.text

    @pytest.mark.skipif(os.name == "nt", reason="shell scripts")
    def test_a_program_that_is_no_python_is_said_to_be_unable_to_start(
        self, a_clean_host: Any, a_panel: Any, tmp_path: Path
    ) -> None:
        name_python(a_panel, tmp_path, "exit 3")
        a_clean_host.process(lambda: "cannot be started (status 3)" in a_panel.ui.messageText.text)
        assert not a_panel.workbench.busy

    def test_declining_leaves_the_panel_usable(self, a_clean_host: Any, a_bare_slicer: Any) -> None:
        a_clean_host.packaging.refuse = True
        a_bare_slicer.ui.installButton.click()
        assert "declined" in a_bare_slicer.ui.messageText.text
        assert a_bare_slicer.ui.installButton.enabled


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

        roi = a_panel.ui.roiSelector.addNode()
        bounds, box = [0.0] * 6, [0.0] * 6
        a_panel.workbench.volume.GetRASBounds(bounds)
        roi.GetBounds(box)
        low, high = np.array(bounds[::2]), np.array(bounds[1::2])
        assert (low < np.array(box[::2])).all()
        assert (np.array(box[1::2]) < high).all()
        assert a_panel.ui.roiSelector.currentNode() is roi

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


class TestSegments:
    def test_a_class_is_picked_by_name(self, a_panel: Any) -> None:
        a_panel.ui.classSelector.currentText = "spleen"
        a_panel.ui.newSegmentButton.click()
        (info,) = a_panel.workbench.segments
        assert (info.name, info.class_id) == ("spleen", SPLEEN)

    def test_another_text_names_a_new_structure(self, a_panel: Any) -> None:
        a_panel.ui.classSelector.currentText = "lesion A"
        a_panel.ui.newSegmentButton.click()
        (info,) = a_panel.workbench.segments
        assert (info.name, info.class_id) == ("lesion A", None)

    def test_next_goes_around(self, a_panel: Any) -> None:
        for name in ("a", "b"):
            a_panel.workbench.new_segment(name=name)
        ids = [info.id for info in a_panel.workbench.segments]
        a_panel.ui.nextSegmentButton.click()
        assert a_panel.workbench.selected == ids[0]
        assert list(a_panel.ui.segmentsTable.selectedSegmentIDs()) == [ids[0]]
        a_panel.ui.previousSegmentButton.click()
        assert a_panel.workbench.selected == ids[1]

    def test_a_segment_that_is_removed_comes_back(self, a_panel: Any) -> None:
        a_panel.workbench.new_segment(name="a")
        a_panel.ui.removeSegmentButton.click()
        assert not a_panel.workbench.segments
        a_panel.ui.undoButton.click()
        assert [info.name for info in a_panel.workbench.segments] == ["a"]

    def test_opacity_follows_the_slider(self, a_panel: Any) -> None:
        a_panel.workbench.new_segment(name="a")
        a_panel.ui.opacitySlider.value = 40
        assert a_panel.workbench.segments[0].opacity == pytest.approx(0.4)

    def test_3d_is_shown_on_request(self, a_clean_host: Any, a_panel: Any) -> None:
        choose(a_panel, LIVER)
        a_panel.ui.runButton.click()
        a_clean_host.process(lambda: a_panel.workbench.segments and not a_panel.workbench.busy)
        inner = a_panel.workbench.segmentation.GetSegmentation()
        assert not inner.ContainsRepresentation("Closed surface")
        a_panel.ui.show3DButton.click()
        assert inner.ContainsRepresentation("Closed surface")
        a_panel.ui.show3DButton.click()
        assert not inner.ContainsRepresentation("Closed surface")

    def test_any_segmentation_can_be_chosen(self, a_panel: Any) -> None:
        import slicer

        other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "from elsewhere")
        other.CreateDefaultDisplayNodes()
        other.GetSegmentation().AddEmptySegment("s", "lesion")
        a_panel.ui.segmentationSelector.setCurrentNode(other)
        assert [info.name for info in a_panel.workbench.segments] == ["lesion"]
        assert a_panel.ui.segmentsTable.segmentationNode() is other


class TestShortcuts:
    def test_they_work_only_while_the_module_is_open(self, a_clean_host: Any, a_widget: Any, a_panel: Any) -> None:
        a_panel.workbench.new_segment(name="a")
        a_widget.exit()
        press(a_clean_host, "Ctrl+Z")
        assert len(a_panel.workbench.segments) == 1
        a_widget.enter()
        press(a_clean_host, "Ctrl+Z")
        assert not a_panel.workbench.segments
        press(a_clean_host, "Ctrl+Y")
        assert len(a_panel.workbench.segments) == 1

    def test_letters_start_placing_and_escape_stops_it(self, a_clean_host: Any, a_panel: Any) -> None:
        press(a_clean_host, "P")
        assert a_panel.ui.addPointButton.checked
        press(a_clean_host, "N")
        assert a_panel.ui.removePointButton.checked
        press(a_clean_host, "Esc")
        assert not a_panel.ui.removePointButton.checked

    def test_enter_keeps_and_escape_drops_a_preview(self, a_clean_host: Any, a_panel: Any) -> None:
        from vista3d_case import rasOf

        workbench = a_panel.workbench
        workbench.preview_enabled = True
        workbench.new_segment(name="a")
        for key, kept in (("Esc", 0), ("Return", 1)):
            workbench.add_point(rasOf(workbench.volume, (30, 25, 20)), True)
            a_clean_host.process(lambda: workbench.preview is not None)
            press(a_clean_host, key)
            assert workbench.preview is None
            assert len(workbench.points) == kept
        workbench.preview_enabled = False

    def test_escape_cancels_a_run(self, a_clean_host: Any, a_panel: Any) -> None:
        choose(a_panel, LIVER, SPLEEN)
        press(a_clean_host, "R")
        a_clean_host.process(lambda: a_panel.ui.runButton.text == "Cancel")
        press(a_clean_host, "Esc")
        a_clean_host.process(lambda: not a_panel.workbench.busy)
        assert not a_panel.workbench.segments

    def test_every_shortcut_is_listed_and_does_something(self, a_panel: Any) -> None:
        from VISTA3DScene.shortcuts import SHORTCUTS

        tree = a_panel.ui.shortcutTree
        rows = {tree.topLevelItem(i).text(1): tree.topLevelItem(i).text(0) for i in range(tree.topLevelItemCount)}
        assert rows == {shortcut.text: shortcut.keys for shortcut in SHORTCUTS}
        assert set(a_panel.shortcuts._actions) == {shortcut.action for shortcut in SHORTCUTS}

    def test_keys_can_be_changed_and_restored(self, a_clean_host: Any, a_panel: Any) -> None:
        item = a_panel.ui.shortcutTree.topLevelItem(0)
        item.setText(0, "ctrl+p")
        assert a_panel.shortcuts.keysOf("place_positive") == "Ctrl+P"
        press(a_clean_host, "P")
        assert not a_panel.ui.addPointButton.checked
        press(a_clean_host, "Ctrl+P")
        assert a_panel.ui.addPointButton.checked
        a_panel.ui.restoreShortcutsButton.click()
        assert a_panel.shortcuts.keysOf("place_positive") == "P"

    def test_a_key_that_is_taken_is_refused(self, a_panel: Any) -> None:
        a_panel.ui.shortcutTree.topLevelItem(0).setText(0, "N")
        assert "N is taken" in a_panel.ui.messageText.text
        assert a_panel.shortcuts.keysOf("place_positive") == "P"
        assert a_panel.ui.shortcutTree.topLevelItem(0).text(0) == "P"

    def test_typing_in_a_field_is_typing(self, a_clean_host: Any, a_panel: Any) -> None:
        import wrap
        from PySide6.QtTest import QTest

        box = wrap.unwrap(a_panel.ui.searchBox)
        a_clean_host.window.activateWindow()
        box.setFocus()
        QTest.keyClicks(box, "pn")
        assert a_panel.ui.searchBox.text == "pn"
        assert not a_panel.ui.addPointButton.checked


class TestWhatItSurvives:
    def test_a_fault_in_a_slot_leaves_the_panel_usable(
        self, a_clean_host: Any, a_panel: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import wrap

        a_panel.workbench.new_segment(name="a")

        def broken() -> None:
            raise RuntimeError("a fault")

        monkeypatch.setattr(a_panel.workbench, "undo", broken)
        a_panel.ui.undoButton.click()
        assert "a fault" in a_clean_host.dialogs[-1]
        assert "a fault" in wrap.failures.pop()
        monkeypatch.undo()
        a_panel.ui.undoButton.click()
        assert not a_panel.workbench.segments

    def test_the_worker_is_killed_in_the_middle_of_a_run(self, a_clean_host: Any, a_panel: Any) -> None:
        choose(a_panel, LIVER, SPLEEN)
        a_panel.ui.runButton.click()
        a_clean_host.process(lambda: "left" in a_panel.ui.progressBar.text)
        a_panel.transport._process.kill()
        a_clean_host.process(lambda: "started again" in a_panel.ui.messageText.text)
        a_clean_host.process(lambda: len(a_panel.workbench.segments) == 2 and not a_panel.workbench.busy)

    def test_a_python_that_does_not_exist_is_told(self, a_clean_host: Any, a_panel: Any) -> None:
        a_panel.ui.pythonEdit.text = "/no/such/python"
        a_panel.settings.onPython()
        message = "There is no Python program '/no/such/python'"
        a_clean_host.process(lambda: message in a_panel.ui.logView.plainText)
        a_clean_host.process(lambda: not a_panel.workbench.busy)
        assert a_panel.ui.addPointButton.enabled

    def test_the_ct_is_deleted_while_a_run_goes_on(self, a_clean_host: Any, a_panel: Any, a_shown_ct: Any) -> None:
        choose(a_panel, LIVER, SPLEEN)
        a_panel.ui.runButton.click()
        a_clean_host.process(lambda: a_panel.ui.runButton.text == "Cancel")
        a_clean_host.scene.RemoveNode(a_shown_ct)
        a_clean_host.process(lambda: not a_panel.workbench.busy)
        assert a_panel.ui.volumeSelector.currentNode() is None
        assert not a_panel.ui.runButton.enabled

    def test_the_selected_segment_is_deleted_elsewhere(self, a_clean_host: Any, a_panel: Any) -> None:
        first = a_panel.workbench.new_segment(name="a")
        a_panel.workbench.segmentation.GetSegmentation().RemoveSegment(first)
        a_clean_host.process(lambda: not a_panel.ui.removeSegmentButton.enabled)
        assert a_panel.workbench.selected is None

    def test_the_scene_closes_while_points_are_placed(self, a_clean_host: Any, a_panel: Any) -> None:
        a_panel.ui.addPointButton.click()
        a_clean_host.scene.Clear(0)
        a_clean_host.process()
        interaction = a_clean_host.logic.GetInteractionNode()
        assert interaction.GetCurrentInteractionMode() != interaction.Place
        assert not a_panel.ui.addPointButton.checked
        assert a_panel.ui.volumeSelector.currentNode() is None

    def test_after_a_scene_was_closed_everything_works_again(self, a_clean_host: Any, a_widget: Any) -> None:
        import slicer
        from vista3d_case import makeVolume, rasOf

        a_clean_host.scene.Clear(0)
        volume = makeVolume("next")
        slicer.util.setSliceViewerLayers(background=volume)
        a_widget.enter()
        panel = a_widget.panel
        panel.workbench.new_segment(name="a")
        panel.workbench.add_point(rasOf(volume, (30, 25, 20)), True)
        a_clean_host.process(lambda: not panel.workbench.busy and not panel.workbench.points_pending)
        assert panel.workbench.volume_ml(panel.workbench.selected) > 0.0


class TestNothingIsLeftBehind:
    def test_cleanup_removes_nodes_files_process_and_shortcuts(self, a_clean_host: Any, a_shown_ct: Any) -> None:
        import wrap
        from opening import close_widget, open_widget
        from PySide6.QtGui import QShortcut

        nodes = node_ids(a_clean_host.scene)
        shortcuts = len(a_clean_host.window.findChildren(QShortcut))
        widget = open_widget(a_clean_host)
        panel = widget.panel
        a_clean_host.process(lambda: panel.workbench.model is not None and not panel.workbench.busy)
        panel.ui.addPointButton.click()
        folder, process = Path(panel._folder.path()), wrap.unwrap(panel.transport._process)
        assert folder.is_dir()
        assert len(a_clean_host.window.findChildren(QShortcut)) > shortcuts
        close_widget(a_clean_host, widget)
        assert process.state().value == 0
        assert not folder.exists()
        a_clean_host.process(lambda: len(a_clean_host.window.findChildren(QShortcut)) == shortcuts)
        left = {i for i in node_ids(a_clean_host.scene) - nodes if not i.startswith("vtkMRMLScriptedModuleNode")}
        assert not left

    def test_cleanup_lets_go_of_the_panel(self, a_clean_host: Any, a_shown_ct: Any) -> None:
        from opening import close_widget, open_widget

        widget = open_widget(a_clean_host)
        panel = weakref.ref(widget.panel)
        close_widget(a_clean_host, widget)
        del widget
        a_clean_host.process()
        gc.collect()
        assert panel() is None

    def test_cleanup_in_the_middle_of_a_run(self, a_clean_host: Any, a_shown_ct: Any) -> None:
        from opening import close_widget, open_widget

        widget = open_widget(a_clean_host)
        panel = widget.panel
        choose(panel, LIVER, SPLEEN)
        panel.ui.runButton.click()
        a_clean_host.process(lambda: "left" in panel.ui.progressBar.text)
        folder = Path(panel._folder.path())
        close_widget(a_clean_host, widget)
        for _ in range(20):
            a_clean_host.process()
        assert not folder.exists()

    def test_reload_ends_the_panel_and_forgets_its_modules(self, a_clean_host: Any, a_widget: Any) -> None:
        import sys

        before = {name: module for name, module in sys.modules.items() if name.startswith("VISTA3D") and "." in name}
        a_widget.onReload()
        assert a_widget.panel is None
        assert a_clean_host.dialogs[-1] == "reload: VISTA3D"
        assert not any(name.startswith(("VISTA3DWidgets", "VISTA3DScene", "VISTA3DLib")) for name in sys.modules)
        sys.modules.update(before)


def node_ids(scene: Any) -> set[str]:
    return {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())}
