"""Points: placing them, what they would change, and the list of those that the selected segment has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt

from VISTA3DWidgets.part import Part
from VISTA3DWidgets.placeMode import PlaceMode

if TYPE_CHECKING:
    from VISTA3DScene.preview import Preview

    from VISTA3DWidgets.panel import Panel

COLUMN_WIDTH = 50  # pixels, of the point's number and sign


class PointsSection(Part):
    """Plus, minus, live, preview and the list of points."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        ui = self.ui
        self._shown: Any = None
        ui.addPointButton.setIcon(qt.QIcon(panel.resourcePath("Icons/PointAdd.png")))
        ui.removePointButton.setIcon(qt.QIcon(panel.resourcePath("Icons/PointRemove.png")))
        ui.keepButton.setIcon(qt.QIcon(panel.resourcePath("Icons/Keep.png")))
        ui.dropButton.setIcon(qt.QIcon(panel.resourcePath("Icons/Drop.png")))
        for column in (0, 1):
            ui.pointsTree.setColumnWidth(column, COLUMN_WIDTH)
        self.placeMode = PlaceMode(self._onPlaceModeChanged)
        workbench, preferences = self.workbench, panel.preferences
        workbench.live = preferences.flag("Live", True)
        workbench.preview_enabled = preferences.flag("Preview", False)
        workbench.smooth = preferences.flag("Smooth", False)
        self.connect(ui.addPointButton, "toggled(bool)", self.onAddToggled)
        self.connect(ui.removePointButton, "toggled(bool)", self.onRemoveToggled)
        self.connect(ui.liveCheckBox, "toggled(bool)", self.onLive)
        self.connect(ui.previewCheckBox, "toggled(bool)", self.onPreview)
        self.connect(ui.smoothCheckBox, "toggled(bool)", self.onSmooth)
        self.connect(ui.runPointsButton, "clicked()", self.runPoints)
        self.connect(ui.keepButton, "clicked()", self.keep)
        self.connect(ui.dropButton, "clicked()", self.drop)
        self.connect(ui.flipPointButton, "clicked()", self.flipPoint)
        self.connect(ui.deletePointButton, "clicked()", self.deletePoint)
        self.connect(ui.clearPointsButton, "clicked()", self.clearPoints)
        self.connect(ui.pointsTree, "itemSelectionChanged()", self.onPointChosen)

    def placePositive(self) -> None:
        """Place points on what belongs to the segment; once more stops."""
        with self.usable():
            self._place(self.workbench.positive_node)

    def placeNegative(self) -> None:
        """Place points on what does not belong to it; once more stops."""
        with self.usable():
            self._place(self.workbench.negative_node)

    def onAddToggled(self, _on: bool) -> None:
        """The button for positive points."""
        if self.listening:
            self.placePositive()

    def onRemoveToggled(self, _on: bool) -> None:
        """The button for negative points."""
        if self.listening:
            self.placeNegative()

    def onLive(self, on: bool) -> None:
        """Run each click, or wait for the button."""
        if self.listening:
            with self.usable():
                self.workbench.live = bool(on)
                self.panel.preferences.set("Live", bool(on))

    def onPreview(self, on: bool) -> None:
        """Show changes before they are kept, or keep them at once."""
        if self.listening:
            with self.usable():
                self.workbench.preview_enabled = bool(on)
                self.panel.preferences.set("Preview", bool(on))

    def onSmooth(self, on: bool) -> None:
        """Borders at the resolution of the CT."""
        if self.listening:
            with self.usable():
                self.workbench.smooth = bool(on)
                self.panel.preferences.set("Smooth", bool(on))

    def runPoints(self) -> None:
        """Run the points now."""
        with self.usable():
            if self.panel.setup.ensureModel():
                self.workbench.run_points()

    def keep(self) -> None:
        """Keep the preview."""
        with self.usable():
            self.workbench.accept()

    def drop(self) -> None:
        """Drop the preview."""
        with self.usable():
            self.workbench.drop()

    def flipPoint(self) -> None:
        """Switch the sign of the chosen point."""
        with self.usable():
            index = self._chosenPoint()
            if index is not None:
                self.workbench.flip_point(index)

    def deletePoint(self) -> None:
        """Delete the chosen point."""
        with self.usable():
            index = self._chosenPoint()
            if index is not None:
                self.workbench.remove_point(index)

    def deleteLastPoint(self) -> None:
        """Delete the point that was placed last."""
        with self.usable():
            if self.workbench.points:
                self.workbench.remove_point(len(self.workbench.points) - 1)

    def clearPoints(self) -> None:
        """Delete all points of the selected segment."""
        with self.usable():
            self.workbench.clear_points()

    def onPointChosen(self) -> None:
        """Buttons act on the chosen point."""
        if self.listening:
            self.panel.refresh()

    def refresh(self) -> None:
        """Show what is placed, what runs and what waits to be kept."""
        ui, workbench = self.ui, self.workbench
        ready = workbench.volume is not None
        ui.addPointButton.setEnabled(ready)
        ui.removePointButton.setEnabled(ready)
        adding = self.placeMode.isPlacing(workbench.positive_node)
        removing = self.placeMode.isPlacing(workbench.negative_node)
        ui.addPointButton.setChecked(adding)
        ui.removePointButton.setChecked(removing)
        ui.placeText.setText(self._hint(adding, removing))
        ui.liveCheckBox.setChecked(workbench.live)
        ui.previewCheckBox.setChecked(workbench.preview_enabled)
        ui.smoothCheckBox.setChecked(workbench.smooth)
        ui.runPointsButton.setEnabled(bool(workbench.points_pending))
        self._refreshPreview()
        self._refreshPoints()

    def close(self) -> None:
        """Disconnect, and stop watching place mode."""
        self.placeMode.close()
        super().close()

    def _place(self, node: Any) -> None:
        if self.placeMode.isPlacing(node):
            self.placeMode.stop()
        elif self.workbench.volume is not None and self.panel.setup.ensureModel():
            self.placeMode.start(node)

    def _hint(self, adding: bool, removing: bool) -> str:
        if self.workbench.volume is None:
            return "Choose a CT in the section 'Set up'."
        if adding:
            return "Click in a view on what belongs to the segment. Right-click ends placing."
        if removing:
            return "Click in a view on what does not belong to it. Right-click ends placing."
        if self.workbench.selected is None:
            return "Press Add (+) and click on a structure in a view, or make a segment first."
        return "Press Add (+) or Remove (-) and click in a view. Drag points to move them."

    def _refreshPreview(self) -> None:
        ui, preview = self.ui, self.workbench.preview
        ui.previewBox.setVisible(preview is not None)
        if preview is None:
            return
        keys = self.panel.shortcuts.keysOf("accept"), self.panel.shortcuts.keysOf("escape")
        ui.previewText.setText(f"{previewText(preview)} {keys[0]} keeps, {keys[1]} drops.")

    def _refreshPoints(self) -> None:
        ui, points = self.ui, self.workbench.points
        if points != self._shown:
            self._shown = points
            chosen = self._chosenPoint()
            ui.pointsTree.clear()
            for number, point in enumerate(points):
                item = qt.QTreeWidgetItem()
                item.setText(0, str(number + 1))
                item.setText(1, "+" if point.positive else "-")
                item.setText(2, ", ".join(f"{value:.1f}" for value in point.ras))
                ui.pointsTree.addTopLevelItem(item)
            if points and chosen is not None:
                ui.pointsTree.setCurrentItem(ui.pointsTree.topLevelItem(min(chosen, len(points) - 1)))
        some = self._chosenPoint() is not None
        ui.flipPointButton.setEnabled(some)
        ui.deletePointButton.setEnabled(some)
        ui.clearPointsButton.setEnabled(bool(points))

    def _chosenPoint(self) -> int | None:
        """Number of the point whose row is chosen, from 0."""
        rows = self.ui.pointsTree.selectedItems()
        return int(rows[0].text(0)) - 1 if rows else None

    def _onPlaceModeChanged(self) -> None:
        self.panel.refresh()


def previewText(preview: Preview) -> str:
    """What a preview would change: ml added and removed, and in how many parts."""
    if preview.added_ml == 0.0 and preview.removed_ml == 0.0:
        return "Nothing would change."
    count = len(preview.parts)
    parts = f" in {count} part{'' if count == 1 else 's'}" if count else ""
    return f"<b>+{preview.added_ml:.2f} ml</b> added, <b>-{preview.removed_ml:.2f} ml</b> removed{parts}."
