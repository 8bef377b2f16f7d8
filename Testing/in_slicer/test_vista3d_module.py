"""The module inside Slicer: load, click, undo, automatic, save and load, close.

``Slicer --testing --additional-module-paths VISTA3D --python-code ...`` runs these; see ``docs/testing.md``.
"""

from __future__ import annotations

import slicer
from vista3d_case import VISTA3DCase, makeVolume, rasOf, voxelsOf, waitFor

SPLEEN, LIVER = 3, 1


class TestModule(VISTA3DCase):
    """What a person does from the CT to a saved scene."""

    def test_theShownVolumeIsChosen(self) -> None:
        assert self.workbench.volume is self.volume
        assert self.panel.ui.volumeSelector.currentNode() is self.volume

    def test_anotherVolumeCanBeChosen(self) -> None:
        other = makeVolume("other")
        self.panel.ui.volumeSelector.setCurrentNode(other)
        assert self.workbench.volume is other

    def test_aClickMakesASegmentUnderIt(self) -> None:
        self._click((30, 25, 20))
        selected = self.workbench.selected
        assert selected is not None
        assert voxelsOf(self.panel, selected) > 0
        array = slicer.util.arrayFromSegmentBinaryLabelmap(self.workbench.segmentation, selected, self.volume)
        assert array[20, 25, 30]

    def test_aClickIsUndoneAndRedone(self) -> None:
        self._click((30, 25, 20))
        selected = self.workbench.selected
        before = voxelsOf(self.panel, selected)
        self._click((20, 25, 20))
        after = voxelsOf(self.panel, selected)
        assert after > before
        self.panel.ui.undoButton.click()
        assert voxelsOf(self.panel, selected) == before
        assert len(self.workbench.points) == 1
        self.panel.ui.redoButton.click()
        assert voxelsOf(self.panel, selected) == after
        assert len(self.workbench.points) == 2

    def test_aNegativeClickRepairs(self) -> None:
        self._click((30, 25, 20))
        before = voxelsOf(self.panel, self.workbench.selected)
        self._click((33, 25, 20), positive=False)
        assert voxelsOf(self.panel, self.workbench.selected) < before

    def test_placeModeEndsWithTheModule(self) -> None:
        self.panel.ui.addPointButton.click()
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        assert interaction.GetCurrentInteractionMode() == interaction.Place
        self.widget.exit()
        assert interaction.GetCurrentInteractionMode() != interaction.Place
        self.widget.enter()

    def test_pointsArePlacedByTheMarkupsNode(self) -> None:
        self.workbench.new_segment(name="lesion")
        self.panel.setup.ensureModel()
        self.workbench.positive_node.AddControlPointWorld(*rasOf(self.volume, (30, 25, 20)))
        waitFor(lambda: len(self.workbench.points) == 1)
        self.waitUntilIdle()
        assert voxelsOf(self.panel, self.workbench.selected) > 0
        assert self.panel.ui.pointsTree.topLevelItemCount == 1

    def test_automaticSegmentsArriveWithNames(self) -> None:
        self._choose(LIVER, SPLEEN)
        self.panel.ui.runButton.click()
        self.waitUntilIdle()
        waitFor(lambda: len(self.workbench.segments) == 2)
        assert {info.name for info in self.workbench.segments} == {"liver", "spleen"}

    def test_runBecomesCancel(self) -> None:
        self._choose(LIVER, SPLEEN)
        self.panel.ui.runButton.click()
        waitFor(lambda: self.panel.ui.runButton.text == "Cancel")
        self.panel.ui.runButton.click()
        self.waitUntilIdle()
        assert self.panel.ui.runButton.text == "Run"
        assert not self.workbench.segments

    def test_previewIsKeptOrDropped(self) -> None:
        self._click((30, 25, 20))
        before = voxelsOf(self.panel, self.workbench.selected)
        self.panel.ui.previewCheckBox.checked = True
        try:
            self._click((20, 25, 20))
            waitFor(lambda: self.workbench.preview is not None)
            assert voxelsOf(self.panel, self.workbench.selected) == before
            self.panel.ui.dropButton.click()
            assert self.workbench.preview is None
            assert len(self.workbench.points) == 1
            self._click((20, 25, 20))
            waitFor(lambda: self.workbench.preview is not None)
            self.panel.ui.keepButton.click()
            assert voxelsOf(self.panel, self.workbench.selected) > before
        finally:
            self.workbench.preview_enabled = False

    def test_sceneRoundTripKeepsThePoints(self) -> None:
        self._click((30, 25, 20))
        count = voxelsOf(self.panel, self.workbench.selected)
        path = str(self.folder / "scene.mrb")
        assert slicer.util.saveScene(path)
        slicer.mrmlScene.Clear(0)
        assert self.workbench.volume is None
        slicer.util.loadScene(path)
        waitFor(lambda: self.workbench.segmentation is not None)
        self.workbench.select_segment(self.workbench.segments[0].id)
        assert len(self.workbench.points) == 1
        assert voxelsOf(self.panel, self.workbench.selected) == count

    def test_sceneMayCloseInTheMiddleOfARun(self) -> None:
        self._choose(LIVER, SPLEEN)
        self.panel.ui.runButton.click()
        waitFor(lambda: self.panel.ui.runButton.text == "Cancel")
        slicer.mrmlScene.Clear(0)
        self.waitUntilIdle()
        assert self.workbench.volume is None
        assert not self.workbench.segments

    def test_volumeMayBeDeletedWhileAClickRuns(self) -> None:
        self.workbench.new_segment(name="lesion")
        self.panel.setup.ensureModel()
        self.workbench.add_point(rasOf(self.volume, (30, 25, 20)), True)
        slicer.mrmlScene.RemoveNode(self.volume)
        waitFor(lambda: not self.workbench.busy)
        assert self.workbench.volume is None
        assert not self.panel.ui.addPointButton.enabled

    def _click(self, ijk: tuple[int, int, int], positive: bool = True) -> None:
        if self.workbench.selected is None:
            self.workbench.new_segment(name="lesion")
        assert self.panel.setup.ensureModel()
        self.workbench.add_point(rasOf(self.volume, ijk), positive)
        self.waitUntilIdle()

    def _choose(self, *classes: int) -> None:
        self.panel.automatic.tree.choose(classes)
        self.panel.automatic.onChoiceChanged()
