"""Shortcuts: active only while the module is open, listed and changed in the settings section."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import qt
import slicer
from VISTA3DScene.shortcuts import SHORTCUTS

from VISTA3DWidgets.part import Part
from VISTA3DWidgets.rivals import OURS, Rivals

if TYPE_CHECKING:
    from VISTA3DWidgets.panel import Panel

KEYPAD = {"Return": "Enter"}  # Qt's names of two keys that are one for a person


class Shortcuts(Part):
    """The keys of :data:`VISTA3DScene.shortcuts.SHORTCUTS`, as the person changed them."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._enabled = False
        self._keys: list[Key] = []
        self._window = slicer.util.mainWindow() or panel.root
        self._rivals = Rivals(self._window)
        self._actions: dict[str, Callable[[], None]] = {
            "place_positive": panel.points.placePositive,
            "place_negative": panel.points.placeNegative,
            "run_points": panel.points.runPoints,
            "live": self._toggleLive,
            "preview": self._togglePreview,
            "accept": panel.points.keep,
            "escape": self.escape,
            "delete_last_point": panel.points.deleteLastPoint,
            "clear_points": panel.points.clearPoints,
            "next_segment": panel.segments.nextSegment,
            "new_segment": panel.segments.newSegment,
            "visibility": panel.segments.toggleVisibility,
            "run_automatic": panel.automatic.runOrCancel,
            "undo": panel.status.undo,
            "redo": panel.status.redo,
            "help": self.showHelp,
        }
        self._make()

    @property
    def enabled(self) -> bool:
        """Whether the module is open."""
        return self._enabled

    @enabled.setter
    def enabled(self, on: bool) -> None:
        self._enabled = on
        self._mindRivals()
        self.refresh()

    def keysOf(self, action: str) -> str:
        """The keys of an action as a text; empty when it has none."""
        default = next(shortcut.keys for shortcut in SHORTCUTS if shortcut.action == action)
        return str(self.panel.preferences.text(f"Shortcuts/{action}", default))

    def setKeys(self, action: str, keys: str) -> None:
        """Change the keys of an action; several are separated by a comma and a space."""
        self.panel.preferences.set(f"Shortcuts/{action}", keys)
        self._make()

    def restore(self) -> None:
        """Take the keys that the module came with."""
        self.panel.preferences.forget("Shortcuts")
        self._make()

    def escape(self) -> None:
        """Drop the preview; else cancel what runs; else stop placing."""
        with self.usable():
            if self.workbench.preview is not None:
                self.workbench.drop()
            elif self.workbench.busy:
                self.workbench.cancel()
            else:
                self.panel.points.placeMode.stop()

    def showHelp(self) -> None:
        """Open the list of shortcuts."""
        with self.usable():
            self.ui.settingsButton.collapsed = False
            self.ui.shortcutTree.setFocus()

    def refresh(self) -> None:
        """Keys that would get in the way of typing work only when there is something for them to do."""
        waiting = self.workbench.preview is not None
        for key in self._keys:
            key.shortcut.setEnabled(self._enabled and (waiting or key.action != "accept"))

    def close(self) -> None:
        """Remove all of them, and give their keys back."""
        self._rivals.restore()
        for key in self._keys:
            key.close()
        self._keys.clear()
        super().close()

    def _make(self) -> None:
        for key in self._keys:
            key.close()
        self._keys = [
            Key(action, keys, function, self._window)
            for action, function in self._actions.items()
            for keys in self._typed(action)
        ]
        self._mindRivals()
        self.refresh()

    def _typed(self, action: str) -> Iterator[str]:
        """The keys of an action one by one, with their twins on the keypad."""
        for keys in self.keysOf(action).split(", "):
            yield from (each for each in (keys, KEYPAD.get(keys, "")) if each.strip())

    def _mindRivals(self) -> None:
        if self._enabled:
            self._rivals.silence({key.text for key in self._keys})
        else:
            self._rivals.restore()

    def _toggleLive(self) -> None:
        self.ui.liveCheckBox.toggle()

    def _togglePreview(self) -> None:
        self.ui.previewCheckBox.toggle()


class Key:
    """One key of one action. Where a part of the program claims the same key later on, ours acts too."""

    def __init__(self, action: str, keys: str, function: Callable[[], None], window: Any) -> None:
        self.action = action
        self._function = function
        sequence = qt.QKeySequence(keys)
        self.text = str(sequence.toString())
        self.shortcut: Any = qt.QShortcut(sequence, window)
        self.shortcut.setObjectName(OURS)
        self.shortcut.setAutoRepeat(False)
        self.shortcut.setEnabled(False)
        self.shortcut.connect("activated()", self.onActivated)
        self.shortcut.connect("activatedAmbiguously()", self.onActivated)

    def onActivated(self) -> None:
        """The key was pressed."""
        self._function()

    def close(self) -> None:
        """Remove the key, unless it went with the window."""
        if not self.shortcut:
            return
        self.shortcut.setEnabled(False)
        self.shortcut.disconnect("activated()", self.onActivated)
        self.shortcut.disconnect("activatedAmbiguously()", self.onActivated)
        self.shortcut.setParent(None)
        self.shortcut.deleteLater()
