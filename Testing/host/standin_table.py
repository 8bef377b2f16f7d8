"""The stand-in for Slicer's table of segments. It watches the segmentation as the real one does."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6.QtCore import Property, QAbstractItemModel, QItemSelection, QItemSelectionModel, Signal
from PySide6.QtGui import QColor, QIcon, QPixmap
from PySide6.QtWidgets import QAbstractItemView, QHBoxLayout, QHeaderView, QTableWidget, QTableWidgetItem, QWidget
from standin_mrml import Observing


class qMRMLSegmentsTableView(QWidget):  # noqa: N801 - the name of the real class
    """The segments of a segmentation."""

    selectionSignal = Signal(QItemSelection, QItemSelection)
    aboutToModify = Signal(str)
    signals_by_signature = {  # noqa: RUF012
        "selectionChanged(QItemSelection,QItemSelection)": "selectionSignal",
        "segmentAboutToBeModified(QString)": "aboutToModify",
    }

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._node: Any = None
        self._observing = Observing()
        self._ids: list[str] = []
        self._flags = dict.fromkeys(("header", "visibility", "color", "opacity", "status", "layer", "filter"), True)
        self._flags |= {"status": False, "layer": False, "filter": False, "readOnly": False}
        self._mode = QAbstractItemView.SelectionMode.ExtendedSelection.value
        self._table = QTableWidget(0, 4, self)
        self._table.setHorizontalHeaderLabels(["", "", "Opacity", "Name"])
        self._table.horizontalHeader().setSectionResizeMode(3, QHeaderView.ResizeMode.Stretch)
        for column, width in ((0, 28), (1, 28), (2, 60)):
            self._table.setColumnWidth(column, width)
        self._table.verticalHeader().setVisible(False)
        self._table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._table)
        self._table.selectionModel().selectionChanged.connect(self.selectionSignal.emit)
        self.destroyed.connect(self._observing.forget)

    def _flag(name: str) -> Any:  # type: ignore[misc]  # noqa: N805
        def read(self: Any) -> bool:
            return bool(self._flags[name])

        def write(self: Any, value: bool) -> None:
            self._flags[name] = value
            self._apply()

        return Property(bool, read, write)

    headerVisible, visibilityColumnVisible, colorColumnVisible = _flag("header"), _flag("visibility"), _flag("color")
    opacityColumnVisible, statusColumnVisible, layerColumnVisible = _flag("opacity"), _flag("status"), _flag("layer")
    filterBarVisible, readOnly = _flag("filter"), _flag("readOnly")

    def _get_mode(self) -> int:
        return int(self._mode)

    def setSelectionMode(self, mode: int) -> None:
        self._mode = int(mode)
        self._table.setSelectionMode(QAbstractItemView.SelectionMode(self._mode))

    selectionMode = Property(int, _get_mode, setSelectionMode)

    def _get_count(self) -> int:
        return len(self._ids)

    segmentCount = Property(int, _get_count)

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene

    def segmentationNode(self) -> Any:
        return self._node

    def setSegmentationNode(self, node: Any) -> None:
        self._observing.forget()
        self._node = node
        if node is not None:
            inner = slicer.vtkSegmentation
            for event in (inner.SegmentAdded, inner.SegmentRemoved, inner.SegmentModified, inner.SegmentsOrderModified):
                self._observing.observe(node, event, self._changed)
        self._rebuild()

    def selectedSegmentIDs(self) -> list[str]:
        rows = sorted({index.row() for index in self._table.selectedIndexes()})
        return [self._ids[row] for row in rows if row < len(self._ids)]

    def setSelectedSegmentIDs(self, ids: list[str]) -> None:
        if not set(ids) <= set(self._ids):
            raise ValueError(f"{ids} are not all in the table.")
        selection = QItemSelection()
        model: QAbstractItemModel = self._table.model()
        for segment_id in ids:
            row = self._ids.index(segment_id)
            selection.select(model.index(row, 0), model.index(row, 3))
        self._table.selectionModel().select(selection, QItemSelectionModel.SelectionFlag.ClearAndSelect)

    def clearSelection(self) -> None:
        self._table.clearSelection()

    def rowForSegmentID(self, segment_id: str) -> int:
        return self._ids.index(segment_id) if segment_id in self._ids else -1

    def segmentIDForRow(self, row: int) -> str:
        return self._ids[row] if 0 <= row < len(self._ids) else ""

    def _present(self) -> list[str]:
        return [] if self._node is None else list(self._node.GetSegmentation().GetSegmentIDs())

    def _changed(self, _caller: Any, _event: str) -> None:
        """Rows go and come one by one, as in Slicer; when the current one goes, Qt chooses another, and tells."""
        present = self._present()
        for row in reversed(range(len(self._ids))):
            if self._ids[row] not in present:
                self._table.removeRow(row)
                del self._ids[row]
        for row, segment_id in enumerate(present):
            if segment_id not in self._ids:
                self._table.insertRow(row)
                self._ids.insert(row, segment_id)
        if self._ids != present:
            self._rebuild()
        for row, segment_id in enumerate(present):
            self._fill_row(row, segment_id, self._node.GetSegmentation().GetSegment(segment_id))

    def _rebuild(self) -> None:
        """Show the segments anew, without a word; the selection stays on those that are still there."""
        selected = self.selectedSegmentIDs()
        self._ids = self._present()
        self._table.selectionModel().blockSignals(True)
        self._table.setRowCount(0)
        self._table.setRowCount(len(self._ids))
        for row, segment_id in enumerate(self._ids):
            self._fill_row(row, segment_id, self._node.GetSegmentation().GetSegment(segment_id))
        self.setSelectedSegmentIDs([i for i in selected if i in self._ids])
        self._table.selectionModel().blockSignals(False)
        self._table.viewport().update()

    def _apply(self) -> None:
        self._table.horizontalHeader().setVisible(self._flags["header"])
        for column, name in enumerate(("visibility", "color", "opacity")):
            self._table.setColumnHidden(column, not self._flags[name])

    def _fill_row(self, row: int, segment_id: str, segment: Any) -> None:
        display = self._node.GetDisplayNode()
        shown = display is None or display.GetSegmentVisibility(segment_id)
        opacity = 1.0 if display is None else display.GetSegmentOpacity3D(segment_id)
        pixmap = QPixmap(16, 16)
        pixmap.fill(QColor.fromRgbF(*segment.GetColor()))
        color = QTableWidgetItem()
        color.setIcon(QIcon(pixmap))
        items = [QTableWidgetItem("x" if shown else ""), color, QTableWidgetItem(f"{opacity:.2f}")]
        for column, item in enumerate([*items, QTableWidgetItem(segment.GetName())]):
            self._table.setItem(row, column, item)
