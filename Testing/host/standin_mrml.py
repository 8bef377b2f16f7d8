"""Stand-ins for Slicer's own widgets. They watch the scene as the real ones do."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6.QtCore import Property, QAbstractItemModel, QItemSelection, QItemSelectionModel, Signal
from PySide6.QtGui import QColor, QIcon, QPixmap
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

NODE = "vtkMRMLNode*"


class Observing:
    """Remembers what is observed, and gives it back when the widget dies."""

    def __init__(self) -> None:
        self._tags: list[tuple[Any, int]] = []

    def observe(self, subject: Any, event: Any, callback: Any) -> None:
        self._tags.append((subject, subject.AddObserver(event, callback)))

    def forget(self) -> None:
        for subject, tag in self._tags:
            subject.RemoveObserver(tag)
        self._tags.clear()


class qMRMLWidget(QWidget):  # noqa: N801 - the names of the real classes
    """A widget that hands its scene on."""

    sceneSignal = Signal(object)
    signals_by_signature = {"mrmlSceneChanged(vtkMRMLScene*)": "sceneSignal"}  # noqa: RUF012

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.sceneSignal.emit(scene)

    def mrmlScene(self) -> Any:
        return self._scene


class qMRMLNodeComboBox(QWidget):  # noqa: N801
    """Chooses a node of some classes."""

    nodeChanged = Signal(object)
    validChanged = Signal(bool)
    idChanged = Signal(str)
    activatedSignal = Signal(object)
    addedSignal = Signal(object)
    addedByUser = Signal(object)
    removedSignal = Signal(object)
    signals_by_signature = {  # noqa: RUF012
        f"currentNodeChanged({NODE})": "nodeChanged",
        "currentNodeChanged(bool)": "validChanged",
        "currentNodeIDChanged(QString)": "idChanged",
        f"nodeActivated({NODE})": "activatedSignal",
        f"nodeAdded({NODE})": "addedSignal",
        f"nodeAddedByUserAction({NODE})": "addedByUser",
        f"nodeAboutToBeRemoved({NODE})": "removedSignal",
    }

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._observing = Observing()
        self._types: list[str] = []
        self._flags = {"none": False, "add": True, "remove": True, "edit": False, "rename": False, "hidden": False}
        self._flags |= {"children": True, "select": True}
        self._none, self._base_name = "None", ""
        self._ids: list[str] = []
        self._current = ""
        self._box = QComboBox(self)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self._box.activated.connect(self._chosen)
        self.destroyed.connect(self._observing.forget)
        self._fill()

    def _flag(name: str) -> Any:  # type: ignore[misc]  # noqa: N805
        def read(self: Any) -> bool:
            return bool(self._flags[name])

        def write(self: Any, value: bool) -> None:
            self._flags[name] = value
            self._fill()

        return Property(bool, read, write)

    noneEnabled, addEnabled, removeEnabled, editEnabled = _flag("none"), _flag("add"), _flag("remove"), _flag("edit")
    renameEnabled, showHidden, showChildNodeTypes = _flag("rename"), _flag("hidden"), _flag("children")
    selectNodeUponCreation = _flag("select")

    def _get_types(self) -> list[str]:
        return self._types

    def _set_types(self, types: list[str]) -> None:
        self._types = list(types)
        self._fill()

    nodeTypes = Property("QStringList", _get_types, _set_types)

    def _get_none(self) -> str:
        return self._none

    def _set_none(self, text: str) -> None:
        self._none = text
        self._fill()

    noneDisplay = Property(str, _get_none, _set_none)

    def _get_base(self) -> str:
        return self._base_name

    def _set_base(self, text: str) -> None:
        self._base_name = text

    baseName = Property(str, _get_base, _set_base)

    def _get_id(self) -> str:
        return self._current

    currentNodeID = Property(str, _get_id, lambda self, node_id: self.setCurrentNodeID(node_id))

    def setMRMLScene(self, scene: Any) -> None:
        self._observing.forget()
        self._scene = scene
        if scene is not None:
            for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent, scene.EndImportEvent):
                self._observing.observe(scene, event, self._scene_changed)
            self._observing.observe(scene, scene.NodeAboutToBeRemovedEvent, self._scene_changed)
        self._fill()

    def mrmlScene(self) -> Any:
        return self._scene

    def currentNode(self) -> Any:
        return self._scene.GetNodeByID(self._current) if self._scene is not None and self._current else None

    def setCurrentNode(self, node: Any) -> None:
        self.setCurrentNodeID(node if isinstance(node, str) else node.GetID() if node is not None else "")

    def setCurrentNodeID(self, node_id: str) -> None:
        node_id = node_id if node_id in self._ids else ""
        if node_id == self._current:
            return
        self._current = node_id
        self._show()
        self._tell()

    def nodeCount(self) -> int:
        return len(self._ids)

    def nodeFromIndex(self, index: int) -> Any:
        return self._scene.GetNodeByID(self._ids[index])

    def addNode(self) -> Any:
        node = self._scene.AddNewNodeByClass(self._types[0], self._base_name or self._types[0][len("vtkMRML") : -4])
        self.setCurrentNode(node)
        self.addedByUser.emit(node)
        return node

    def _scene_changed(self, _caller: Any, _event: str) -> None:
        self._fill()

    def _nodes(self) -> list[Any]:
        if self._scene is None:
            return []
        found = []
        for index in range(self._scene.GetNumberOfNodes()):
            node = self._scene.GetNthNode(index)
            fits = any(node.IsA(t) if self._flags["children"] else node.GetClassName() == t for t in self._types)
            if fits and (self._flags["hidden"] or not node.GetHideFromEditors()):
                found.append(node)
        return found

    def _fill(self) -> None:
        nodes = self._nodes()
        self._ids = [node.GetID() for node in nodes]
        self._box.clear()
        if self._flags["none"]:
            self._box.addItem(self._none, "")
        for node in nodes:
            self._box.addItem(node.GetName(), node.GetID())
        if self._flags["add"] and self._types:
            self._box.addItem("Create new", "+")
        before = self._current
        if self._current not in self._ids:
            self._current = "" if self._flags["none"] or not self._ids else self._ids[0]
        self._show()
        if self._current != before:
            self._tell()

    def _show(self) -> None:
        self._box.setCurrentIndex(max(self._box.findData(self._current), 0) if self._box.count() else -1)

    def _tell(self) -> None:
        node = self.currentNode()
        self.nodeChanged.emit(node)
        self.validChanged.emit(node is not None)
        self.idChanged.emit(self._current)

    def _chosen(self, index: int) -> None:
        data = self._box.itemData(index)
        if data == "+":
            self.addNode()
        else:
            self.setCurrentNodeID(data)
        self.activatedSignal.emit(self.currentNode())


class qMRMLSegmentsTableView(QWidget):  # noqa: N801
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
        self._fill()

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

    def _changed(self, _caller: Any, _event: str) -> None:
        self._fill()

    def _apply(self) -> None:
        self._table.horizontalHeader().setVisible(self._flags["header"])
        for column, name in enumerate(("visibility", "color", "opacity")):
            self._table.setColumnHidden(column, not self._flags[name])

    def _fill(self) -> None:
        """Show the segments as they are now; the selection stays on those that are still there."""
        selected = self.selectedSegmentIDs()
        inner = self._node.GetSegmentation() if self._node is not None else None
        self._ids = list(inner.GetSegmentIDs()) if inner is not None else []
        self._table.blockSignals(True)
        self._table.selectionModel().blockSignals(True)
        self._table.setRowCount(len(self._ids))
        for row, segment_id in enumerate(self._ids):
            self._fill_row(row, segment_id, inner.GetSegment(segment_id))  # type: ignore[union-attr]
        self._table.selectionModel().blockSignals(False)
        self._table.blockSignals(False)
        self.setSelectedSegmentIDs([i for i in selected if i in self._ids])
        self._apply()

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
