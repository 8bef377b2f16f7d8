"""The stand-in for Slicer's selector of nodes. It watches the scene as the real one does."""

from __future__ import annotations

from typing import Any

import vtk
from PySide6.QtCore import Property, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QWidget
from standin_mrml import Observing

NODE = "vtkMRMLNode*"


class qMRMLNodeComboBox(QWidget):  # noqa: N801 - the name of the real class
    """Chooses a node of some classes.

    As in Slicer: it tells of another node when the *text* that it shows changes; a node that is set by the program
    counts as activated, too; the next node is chosen when the current one is deleted; it is emptied and filled again
    at the end of an import and of closing, and stays without a node then.
    """

    nodeChanged = Signal(object)
    validChanged = Signal(bool)
    idChanged = Signal(str)
    activatedSignal = Signal(object)
    addedSignal = Signal(object)
    addedByUser = Signal(object)
    addedByAction = Signal(object)
    removedSignal = Signal(object)
    signals_by_signature = {  # noqa: RUF012
        f"currentNodeChanged({NODE})": "nodeChanged",
        "currentNodeChanged(bool)": "validChanged",
        "currentNodeIDChanged(QString)": "idChanged",
        f"nodeActivated({NODE})": "activatedSignal",
        f"nodeAdded({NODE})": "addedSignal",
        f"nodeAddedByUser({NODE})": "addedByUser",
        f"nodeAddedByUserAction({NODE})": "addedByAction",
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
        self._current = self._text = ""
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

            @vtk.calldata_type(vtk.VTK_OBJECT)  # type: ignore[untyped-decorator]
            def leaves(_scene: Any, _event: str, node: Any) -> None:
                self._node_leaves(node)

            self._observing.observe(scene, scene.NodeAboutToBeRemovedEvent, leaves, -10.0)
            self._observing.observe(scene, scene.NodeAddedEvent, self._node_added, 10.0)
            for event in (scene.EndCloseEvent, scene.EndImportEvent):
                self._observing.observe(scene, event, self._scene_changed)
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
        self._choose(node_id)
        if node_id:
            self.activatedSignal.emit(self.currentNode())

    def nodeCount(self) -> int:
        return len(self._ids)

    def nodeFromIndex(self, index: int) -> Any:
        return self._scene.GetNodeByID(self._ids[index])

    def addNode(self) -> Any:
        node = self._scene.AddNewNodeByClass(self._types[0], self._base_name or self._types[0][len("vtkMRML") : -4])
        self.setCurrentNode(node)
        self.addedByUser.emit(node)
        return node

    def _node_added(self, _caller: Any, _event: str) -> None:
        if not self._scene.IsImporting():
            self._fill()

    def _node_leaves(self, node: Any) -> None:
        if not self._scene.IsClosing():
            self._fill(leaving=node)

    def _scene_changed(self, _caller: Any, _event: str) -> None:
        self._ids.clear()
        self._choose("")
        self._fill()

    def _nodes(self, leaving: Any) -> list[Any]:
        if self._scene is None:
            return []
        found = []
        for index in range(self._scene.GetNumberOfNodes()):
            node = self._scene.GetNthNode(index)
            fits = any(node.IsA(t) if self._flags["children"] else node.GetClassName() == t for t in self._types)
            if fits and node is not leaving and (self._flags["hidden"] or not node.GetHideFromEditors()):
                found.append(node)
        return found

    def _fill(self, *, leaving: Any = None) -> None:
        before, nodes = self._ids, self._nodes(leaving)
        self._ids = [node.GetID() for node in nodes]
        self._box.clear()
        if self._flags["none"]:
            self._box.addItem(self._none, "")
        for node in nodes:
            self._box.addItem(node.GetName(), node.GetID())
        if self._flags["add"] and self._types:
            self._box.addItem("Create new", "+")
        self._choose(self._current if self._current in self._ids else self._neighbour(before))

    def _neighbour(self, before: list[str]) -> str:
        """What is chosen where the current node is gone: the next one, else the one before it, else none."""
        if not self._ids:
            return ""
        if self._current not in before:
            return "" if self._flags["none"] else self._ids[0]
        return self._ids[min(before.index(self._current), len(self._ids) - 1)]

    def _choose(self, node_id: str) -> None:
        self._current = node_id
        self._box.setCurrentIndex(max(self._box.findData(node_id), 0) if self._box.count() else -1)
        node = self.currentNode()
        text = self._none if node is None else node.GetName()
        if text != self._text:
            self._text = text
            self.nodeChanged.emit(node)
            self.validChanged.emit(node is not None)
            self.idChanged.emit(node_id)

    def _chosen(self, index: int) -> None:
        """A person chose an entry."""
        data = self._box.itemData(index)
        if data == "+":
            self.addedByAction.emit(self.addNode())
            return
        self._choose(data)
        self.activatedSignal.emit(self.currentNode())
