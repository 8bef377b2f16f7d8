"""What the panel survives, and what it leaves behind: nothing."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from person import choose

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

LIVER, SPLEEN = 1, 3


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

    @pytest.fixture
    def these_modules(self) -> Iterator[None]:
        """After the test the modules are those that other tests know."""
        before = {name: module for name, module in sys.modules.items() if name.startswith("VISTA3D")}
        yield
        for name in [name for name in sys.modules if name.startswith("VISTA3D")]:
            del sys.modules[name]
        sys.modules.update(before)

    @pytest.mark.usefixtures("these_modules")
    def test_reload_makes_a_new_panel_of_new_modules(
        self, a_clean_host: Any, a_panel: Any, a_widget: Any, a_shown_ct: Any
    ) -> None:
        import slicer
        from PySide6.QtGui import QShortcut
        from vista3d_case import rasOf

        shortcuts, nodes = len(a_clean_host.window.findChildren(QShortcut)), len(node_ids(a_clean_host.scene))
        a_widget.onReload()
        widget = slicer.modules.VISTA3DWidget
        panel = widget.panel
        assert a_widget.panel is None
        assert a_panel.closed
        assert type(panel) is not type(a_panel)
        assert type(panel.workbench) is not type(a_panel.workbench)
        assert panel.shortcuts.enabled  # the module is still open
        assert panel.workbench.volume is a_shown_ct
        assert len(a_clean_host.window.findChildren(QShortcut)) == shortcuts
        assert len(node_ids(a_clean_host.scene)) == nodes
        panel.workbench.add_point(rasOf(a_shown_ct, (30, 25, 20)), True)
        a_clean_host.process(lambda: not panel.workbench.busy and not panel.workbench.points_pending)
        assert panel.workbench.volume_ml(panel.workbench.selected) > 0.0
        widget.exit()
        assert not panel.shortcuts.enabled
        widget.cleanup()


def node_ids(scene: Any) -> set[str]:
    return {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())}
