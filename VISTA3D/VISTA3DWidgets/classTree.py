"""The tree of structures with check boxes, over a ``QTreeWidget``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import qt

from VISTA3DLib.classes import ClassCatalogue, TreeNode
from VISTA3DLib.structure import ClassStatus


class ClassTree:
    """Shows the structures of a catalogue; ``changed`` is called when a person checks or unchecks something.

    Branches check and uncheck all that is in them. Structures that the model cannot segment are left out.
    """

    def __init__(self, tree: Any, changed: Callable[[], None]) -> None:
        self._tree, self._changed = tree, changed
        self._catalogue: ClassCatalogue | None = None
        self._items: dict[int, Any] = {}
        self._branches: list[Any] = []
        self._chosen: tuple[int, ...] | None = None
        self._timer = qt.QTimer()  # a branch that is checked changes every item in it: tell of them once
        self._timer.setSingleShot(True)
        self._timer.connect("timeout()", self.onTimeout)
        tree.connect("itemChanged(QTreeWidgetItem*,int)", self.onItemChanged)

    def show(self, catalogue: ClassCatalogue) -> None:
        """Show the structures of a catalogue; those that were checked and are in it stay checked."""
        if catalogue is self._catalogue:
            return
        before = self.chosen()
        self._catalogue = catalogue
        self._tree.blockSignals(True)
        self._items.clear()
        self._branches.clear()
        self._chosen = None
        self._tree.clear()
        for branch in catalogue.tree(hide_unsupported=True).children:
            item = self._branch(branch)
            if item is not None:
                self._tree.addTopLevelItem(item)
        self._tree.blockSignals(False)
        self.choose(before)

    def chosen(self) -> tuple[int, ...]:
        """The ids that are checked, in reading order."""
        if self._chosen is None:
            checked = qt.Qt.Checked
            self._chosen = tuple(classId for classId, item in self._items.items() if item.checkState(0) == checked)
        return self._chosen

    def choose(self, ids: Iterable[int]) -> None:
        """Check exactly these; ids that the catalogue does not have are left out."""
        wanted = set(ids)
        self._tree.blockSignals(True)
        for classId, item in self._items.items():
            item.setCheckState(0, qt.Qt.Checked if classId in wanted else qt.Qt.Unchecked)
        self._tree.blockSignals(False)
        self._chosen = None

    def filter(self, text: str) -> None:
        """Show only structures that match a text; an empty text shows all."""
        if self._catalogue is None:
            return
        found = {item.id for item in self._catalogue.search(text, hide_unsupported=True)}
        for classId, item in self._items.items():
            item.setHidden(classId not in found)
        for branch in reversed(self._branches):  # inner ones first
            branch.setHidden(all(child.isHidden() for child in children(branch)))
            branch.setExpanded(bool(text.strip()))

    def onItemChanged(self, _item: Any, _column: int) -> None:
        """Something was checked or unchecked."""
        self._chosen = None
        self._timer.start(0)

    def onTimeout(self) -> None:
        """What a person did is done."""
        self._changed()

    def close(self) -> None:
        """Stop listening."""
        self._timer.stop()
        self._timer.disconnect("timeout()", self.onTimeout)
        if self._tree:
            self._tree.disconnect("itemChanged(QTreeWidgetItem*,int)", self.onItemChanged)
        self._items.clear()
        self._branches.clear()

    def _branch(self, node: TreeNode) -> Any:
        """The item of a branch with all below it; None when nothing in it can be segmented."""
        item = checkable(node.name, qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsAutoTristate)
        self._branches.append(item)
        for child in node.children:
            below = self._branch(child)
            if below is not None:
                item.addChild(below)
        for classId in node.class_ids:
            structure = self._catalogue[classId]  # type: ignore[index]
            if structure.status is ClassStatus.SUPPORTED:
                leaf = checkable(structure.name, qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable)
                self._items[classId] = leaf
                item.addChild(leaf)
        if item.childCount() == 0:
            self._branches.remove(item)
            return None
        return item


def checkable(text: str, flags: Any) -> Any:
    """An unchecked item."""
    item = qt.QTreeWidgetItem()
    item.setText(0, text)
    item.setFlags(flags)
    item.setCheckState(0, qt.Qt.Unchecked)
    return item


def children(item: Any) -> Iterator[Any]:
    """The items directly below one."""
    for index in range(item.childCount()):
        yield item.child(index)
