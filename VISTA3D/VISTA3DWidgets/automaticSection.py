"""Automatic segmentation: which structures, where, and the button that runs or cancels it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import qt
from VISTA3DScene.sequences import sequence_browser_of
from VISTA3DScene.workbench import State

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.errors import VISTA3DError
from VISTA3DLib.weights import catalogue_of
from VISTA3DWidgets.classTree import ClassTree
from VISTA3DWidgets.panelState import REGION
from VISTA3DWidgets.part import CHOSEN, Part

if TYPE_CHECKING:
    from VISTA3DWidgets.panel import Panel

RUNNING = (State.AUTOMATIC, State.SEQUENCE)
REGION_SHARE = 0.6  # of the CT's size, along each axis, that a new region begins with
ESTIMATE_MS = 400  # after the last change of the choice


class AutomaticSection(Part):
    """Class tree with search, groups and sets; region; Run and Cancel."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        ui = self.ui
        self._catalogue: tuple[str, ClassCatalogue] | None = None
        self._sets: ClassCatalogue | None = None
        self.tree = ClassTree(ui.classTree, self.onChoiceChanged)
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(ESTIMATE_MS)
        self.connect(self._timer, "timeout()", self.onEstimate)
        self.connect(ui.setSelector, "activated(int)", self.onSetActivated)
        self.connect(ui.searchBox, "textChanged(QString)", self.onSearch)
        self.connect(ui.clearChoiceButton, "clicked()", self.clearChoice)
        for signal in CHOSEN:
            self.connect(ui.roiSelector, signal, self.onRegionChanged)
        self.connect(ui.roiSelector, "nodeAddedByUserAction(vtkMRMLNode*)", self.onRegionAdded)
        self.connect(ui.overlappingCheckBox, "toggled(bool)", self.onOverlapping)
        self.connect(ui.runButton, "clicked()", self.runOrCancel)

    def catalogue(self) -> ClassCatalogue:
        """The structures of the model: the loaded one, else what the chosen weights say of themselves."""
        model = self.workbench.model
        if model is not None:
            return model.catalogue
        weights = self.panel.setup.weights
        if self._catalogue is None or self._catalogue[0] != weights:
            entry = self.panel.setup.entry()
            try:
                found = ClassCatalogue.load() if entry is None else catalogue_of(entry)
            except VISTA3DError:
                found = ClassCatalogue.load()
            self._catalogue = (weights, found)
        return self._catalogue[1]

    def restore(self, region: Any) -> None:
        """Take over what the scene says was chosen."""
        if region is not None and self.ui.roiSelector.currentNode() is None:
            self.ui.roiSelector.setCurrentNode(region)
        self.tree.show(self.catalogue())
        if self.panel.state.classes:
            self.tree.choose(self.panel.state.classes)

    def onChoiceChanged(self) -> None:
        """Structures were checked or unchecked."""
        if self.listening:
            with self.usable():
                self.panel.state.classes = self.tree.chosen()
                self._timer.start()

    def onSetActivated(self, index: int) -> None:
        """A set was chosen."""
        if self.listening and index > 0:
            with self.usable():
                self.tree.choose(self.catalogue().sets[str(self.ui.setSelector.itemData(index))])
                self.onChoiceChanged()

    def onSearch(self, text: str) -> None:
        """Show what matches."""
        if self.listening:
            with self.usable():
                self.tree.filter(text)

    def clearChoice(self) -> None:
        """Uncheck everything."""
        with self.usable():
            self.tree.choose(())
            self.onChoiceChanged()

    def onRegionChanged(self, node: Any) -> None:
        """Another region was chosen."""
        if self.listening:
            with self.usable():
                self.panel.state.setReference(REGION, node)
                self._timer.start()

    def onRegionAdded(self, node: Any) -> None:
        """A person made a region: begin with a box in the middle of the CT, to be dragged."""
        if self.listening and node is not None and self.workbench.volume is not None:
            with self.usable():
                bounds = [0.0] * 6
                self.workbench.volume.GetRASBounds(bounds)
                node.SetCenterWorld([(bounds[n] + bounds[n + 1]) / 2.0 for n in (0, 2, 4)])
                node.SetSizeWorld([REGION_SHARE * (bounds[n + 1] - bounds[n]) for n in (0, 2, 4)])

    def onOverlapping(self, _on: bool) -> None:
        """Overlaps change what a run costs."""
        if self.listening:
            self._timer.start()

    def onEstimate(self) -> None:
        """Ask what a run would cost."""
        if not self.listening:
            return
        with self.usable():
            workbench, chosen = self.workbench, self.tree.chosen()
            self.ui.estimateText.setText("")
            if (
                chosen
                and workbench.model is not None
                and workbench.volume is not None
                and workbench.state is State.IDLE
            ):
                workbench.estimate(
                    chosen,
                    self._showEstimate,
                    roi=self.ui.roiSelector.currentNode(),
                    overlapping=self.ui.overlappingCheckBox.checked,
                )

    def runOrCancel(self) -> None:
        """Run the chosen structures; while they run, cancel."""
        with self.usable():
            if self.workbench.state in RUNNING:
                self.workbench.cancel()
            elif self.tree.chosen() and self.panel.setup.ensureModel():
                self._run()

    def refresh(self) -> None:
        """Show the structures, the choice, and whether it runs."""
        ui, workbench, catalogue = self.ui, self.workbench, self.catalogue()
        self.tree.show(catalogue)
        self._fillSets(catalogue)
        count = len(self.tree.chosen())
        ui.choiceText.setText(f"{count} structure{'' if count == 1 else 's'} chosen" if count else "Nothing chosen")
        ui.clearChoiceButton.setEnabled(count > 0)
        ui.sequenceCheckBox.setVisible(self._browser() is not None)
        running = workbench.state in RUNNING
        model = workbench.model
        possible = workbench.volume is not None and count > 0 and (model is None or model.automatic)
        ui.runButton.setEnabled(running or possible)
        ui.runButton.setText("Cancel" if running else "Run")
        name = "Cancel" if running else "Run"
        ui.runButton.setIcon(qt.QIcon(self.panel.resourcePath(f"Icons/{name}.png")))

    def close(self) -> None:
        """Disconnect and stop waiting."""
        self._timer.stop()
        self.tree.close()
        super().close()

    def _run(self) -> None:
        region, chosen = self.ui.roiSelector.currentNode(), self.tree.chosen()
        browser = self._browser()
        if browser is not None and self.ui.sequenceCheckBox.checked:
            self.workbench.segment_sequence(browser, chosen, roi=region)
            return
        self.workbench.segment_classes(
            chosen,
            roi=region,
            overlapping=self.ui.overlappingCheckBox.checked,
            smooth=self.workbench.smooth,
        )

    def _browser(self) -> Any:
        volume = self.workbench.volume
        return None if volume is None else sequence_browser_of(self.panel.scene, volume)

    def _showEstimate(self, values: Mapping[str, Any]) -> None:
        warning = "" if values.get("fits", True) else " <b>It may not fit into memory: choose a region.</b>"
        if not self.panel.closed:
            self.ui.estimateText.setText(f"A run takes: {values.get('text', '')}.{warning}")

    def _fillSets(self, catalogue: ClassCatalogue) -> None:
        selector = self.ui.setSelector
        if catalogue is not self._sets:
            self._sets = catalogue
            selector.clear()
            selector.addItem("Choose a set...", "")
            for name, ids in catalogue.sets.items():
                selector.addItem(f"{name} ({len(ids)})", name)
        selector.setCurrentIndex(0)
