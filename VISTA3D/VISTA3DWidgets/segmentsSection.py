"""The segments: making, choosing, removing them, how they look, and what results do to their neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from VISTA3DScene.overwrite import Overwrite

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.structure import ClassStatus
from VISTA3DWidgets.part import Part

if TYPE_CHECKING:
    from VISTA3DWidgets.panel import Panel

NEW_STRUCTURE = "New structure"
POLICIES = (
    (Overwrite.KEEP_OTHERS, "Keep them (segments may overlap)"),
    (Overwrite.ONLY_EMPTY, "Grow only where no other segment is"),
    (Overwrite.OVERWRITE_OTHERS, "Take voxels away from them"),
)
SINGLE_SELECTION = 1  # QAbstractItemView::SingleSelection; the property is an int


class SegmentsSection(Part):
    """The table of segments and what can be done with the selected one."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        ui = self.ui
        self._catalogue: ClassCatalogue | None = None
        ui.segmentsTable.selectionMode = SINGLE_SELECTION
        for policy, text in POLICIES:
            ui.policySelector.addItem(text, policy.name)
        names = [policy.name for policy, _ in POLICIES]
        stored = panel.preferences.text("Overwrite", names[0])
        self.workbench.policy = Overwrite[stored if stored in names else names[0]]
        self.connect(ui.newSegmentButton, "clicked()", self.newSegment)
        self.connect(ui.previousSegmentButton, "clicked()", self.previousSegment)
        self.connect(ui.nextSegmentButton, "clicked()", self.nextSegment)
        self.connect(ui.removeSegmentButton, "clicked()", self.removeSegment)
        self.connect(ui.show3DButton, "toggled(bool)", self.onShow3D)
        self.connect(ui.opacitySlider, "valueChanged(int)", self.onOpacity)
        self.connect(ui.policySelector, "activated(int)", self.onPolicy)
        self.connect(ui.segmentsTable, "selectionChanged(QItemSelection,QItemSelection)", self.onSelectionChanged)

    def newSegment(self) -> None:
        """Make a segment of the class that is named, or a new structure with that name."""
        with self.usable():
            text = self.ui.classSelector.currentText.strip()
            index = self.ui.classSelector.findText(text)
            classId = int(self.ui.classSelector.itemData(index)) if index >= 0 else 0
            if classId:
                self.workbench.new_segment(class_id=classId)
            else:
                self.workbench.new_segment(name="" if text == NEW_STRUCTURE else text)

    def nextSegment(self) -> None:
        """Select the segment below."""
        with self.usable():
            self.workbench.next_segment(1)

    def previousSegment(self) -> None:
        """Select the segment above."""
        with self.usable():
            self.workbench.next_segment(-1)

    def removeSegment(self) -> None:
        """Remove the selected segment."""
        with self.usable():
            if self.workbench.selected is not None:
                self.workbench.remove_segment(self.workbench.selected)

    def toggleVisibility(self) -> None:
        """Hide all segments, or show them if all are hidden."""
        with self.usable():
            segments = self.workbench.segments
            shown = any(info.visible for info in segments)
            for info in segments:
                self.workbench.show_segment(info.id, not shown)

    def onShow3D(self, shown: bool) -> None:
        """Surfaces on or off."""
        if self.listening:
            with self.usable():
                self.workbench.show_surface(bool(shown))

    def onOpacity(self, value: int) -> None:
        """Draw the selected segment more or less opaque."""
        if self.listening and self.workbench.selected is not None:
            with self.usable():
                self.workbench.set_opacity(self.workbench.selected, value / 100.0)

    def onPolicy(self, index: int) -> None:
        """Another policy for overlaps was chosen."""
        if self.listening:
            with self.usable():
                self.workbench.policy = POLICIES[index][0]
                self.panel.preferences.set("Overwrite", POLICIES[index][0].name)

    def onSelectionChanged(self) -> None:
        """Another row of the table was chosen. While a segment is removed here, the table does that by itself."""
        if self.listening and not self.workbench.writing:
            with self.usable():
                chosen = list(self.ui.segmentsTable.selectedSegmentIDs())
                if chosen and chosen[0] != self.workbench.selected:
                    self.workbench.select_segment(chosen[0])

    def refresh(self) -> None:
        """Show the segments and the selected one."""
        ui, workbench = self.ui, self.workbench
        self._fillClasses()
        if ui.segmentsTable.segmentationNode() is not workbench.segmentation:
            ui.segmentsTable.setSegmentationNode(workbench.segmentation)
        selected = workbench.selected
        wanted = [] if selected is None else [selected]
        if list(ui.segmentsTable.selectedSegmentIDs()) != wanted:
            if wanted:
                ui.segmentsTable.setSelectedSegmentIDs(wanted)
            else:
                ui.segmentsTable.clearSelection()
        segments = {info.id: info for info in workbench.segments}
        for button in (ui.nextSegmentButton, ui.previousSegmentButton):
            button.setEnabled(bool(segments))
        for widget in (ui.removeSegmentButton, ui.opacitySlider):
            widget.setEnabled(selected in segments)
        ui.newSegmentButton.setEnabled(workbench.volume is not None)
        ui.show3DButton.setEnabled(bool(segments))
        ui.show3DButton.setChecked(hasSurface(workbench.segmentation))
        if selected in segments:
            ui.opacitySlider.setValue(round(segments[selected].opacity * 100))
        ui.policySelector.setCurrentIndex(ui.policySelector.findData(workbench.policy.name))

    def _fillClasses(self) -> None:
        """Offer what the model knows, and a new structure."""
        catalogue = self.panel.automatic.catalogue()
        if catalogue is self._catalogue:
            return
        self._catalogue = catalogue
        selector = self.ui.classSelector
        selector.clear()
        selector.addItem(NEW_STRUCTURE, 0)
        names = [(item.name, item.id) for item in catalogue.classes if item.status is ClassStatus.SUPPORTED]
        for name, classId in names:
            selector.addItem(name, classId)


def hasSurface(segmentation: object) -> bool:
    """Whether a segmentation is shown in 3D."""
    if segmentation is None:
        return False
    inner = segmentation.GetSegmentation()  # type: ignore[attr-defined]
    return bool(inner.ContainsRepresentation("Closed surface"))
