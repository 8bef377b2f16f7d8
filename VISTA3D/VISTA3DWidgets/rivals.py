"""Shortcuts of the rest of Slicer that have a key of ours: silent while the module is open.

Where a window has two shortcuts of one key that are both enabled, Qt calls them in turn, one a press. Other modules and
extensions may leave theirs behind when they are left (undo, above all), and so may actions of the main window.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import qt

OURS = "VISTA3DKey"  # the name of the objects of our own keys
IN_WINDOW = (qt.Qt.WindowShortcut, qt.Qt.ApplicationShortcut)  # others need the focus on their widget


class Rivals:
    """What else in ``window`` answers to keys of ours."""

    def __init__(self, window: Any) -> None:
        self._window = window
        self._shortcuts: list[Any] = []
        self._actions: list[tuple[Any, Any]] = []  # with their contexts

    def silence(self, keys: Collection[str]) -> None:
        """Let nothing else answer to these keys until ``restore``. Menus still show the keys of their actions."""
        self.restore()
        for shortcut in self._window.findChildren(qt.QShortcut):
            free = shortcut.objectName == OURS or not shortcut.enabled or shortcut.context not in IN_WINDOW
            if not free and str(shortcut.key.toString()) in keys:
                shortcut.setEnabled(False)
                self._shortcuts.append(shortcut)
        for action in self._window.findChildren(qt.QAction):
            context = action.shortcutContext
            if context in IN_WINDOW and str(action.shortcut.toString()) in keys:
                action.setShortcutContext(qt.Qt.WidgetShortcut)
                self._actions.append((action, context))

    def restore(self) -> None:
        """Let them answer again, those that are still there."""
        for shortcut in self._shortcuts:
            if shortcut:
                shortcut.setEnabled(True)
        for action, context in self._actions:
            if action:
                action.setShortcutContext(context)
        self._shortcuts.clear()
        self._actions.clear()
