"""Settings of this computer: shortcuts, the Python of the segmentation process, a mirror for downloads; and the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt
from VISTA3DScene.shortcuts import SHORTCUTS

from VISTA3DWidgets.part import Part

if TYPE_CHECKING:
    from VISTA3DWidgets.panel import Panel

KEYS, TEXT = 0, 1  # columns
KEYS_WIDTH = 150  # pixels
HELP = "Double-click keys to change them. They work while this module is open."


class SettingsSection(Part):
    """The list of shortcuts, and what is set once per computer."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        ui = self.ui
        ui.shortcutTree.setColumnWidth(KEYS, KEYS_WIDTH)
        self._fill()
        ui.shortcutText.setText(HELP)
        ui.pythonEdit.setText(panel.preferences.text("Python"))
        ui.mirrorEdit.setText(panel.preferences.text("Mirror"))
        self.connect(ui.shortcutTree, "itemChanged(QTreeWidgetItem*,int)", self.onShortcutChanged)
        self.connect(ui.restoreShortcutsButton, "clicked()", self.restoreShortcuts)
        self.connect(ui.pythonEdit, "editingFinished()", self.onPython)
        self.connect(ui.pythonFileButton, "clicked()", self.onPythonFile)
        self.connect(ui.mirrorEdit, "editingFinished()", self.onMirror)

    def onShortcutChanged(self, item: Any, column: int) -> None:
        """Keys were typed."""
        if not self.listening:
            return
        with self.usable():
            action = str(item.data(TEXT, qt.Qt.UserRole))
            if column == KEYS:
                self._change(action, str(item.text(KEYS)))
            self._show()

    def restoreShortcuts(self) -> None:
        """Take the shortcuts that the module came with."""
        with self.usable():
            self.panel.shortcuts.restore()
            self._show()

    def onPython(self) -> None:
        """Another Python was named."""
        if self.listening:
            with self.usable():
                chosen = self.ui.pythonEdit.text.strip()
                if chosen != self.panel.preferences.text("Python"):
                    self.panel.preferences.set("Python", chosen)
                    self.panel.setup.lookAgain()
                    self.panel.transport.kill()  # the client starts another one, with the new Python

    def onPythonFile(self) -> None:
        """Choose a Python program."""
        with self.usable():
            path = qt.QFileDialog.getOpenFileName(self.panel.root, "Python program")
            if path:
                self.ui.pythonEdit.setText(path)
                self.onPython()

    def onMirror(self) -> None:
        """Another mirror was named."""
        if self.listening:
            with self.usable():
                self.panel.preferences.set("Mirror", self.ui.mirrorEdit.text.strip())

    def _change(self, action: str, typed: str) -> None:
        """Take keys that Qt understands and that no other action has; say why where they are not taken."""
        parts = [part.strip() for part in typed.split(",") if part.strip()]
        keys = [str(qt.QKeySequence(part).toString()) for part in parts]
        for part, key in zip(parts, keys, strict=True):
            if not key:
                self.panel.showFailure("SettingsError", f"'{part}' is no key.", "Write keys such as P or Ctrl+Z.")
                return
            for other in SHORTCUTS:
                if other.action != action and key in self.panel.shortcuts.keysOf(other.action).split(", "):
                    self.panel.showFailure(
                        "SettingsError", f"{key} is taken: {other.text}.", "Choose another key, or free that one first."
                    )
                    return
        self.panel.shortcuts.setKeys(action, ", ".join(keys))

    def _fill(self) -> None:
        tree = self.ui.shortcutTree
        for shortcut in SHORTCUTS:
            item = qt.QTreeWidgetItem()
            item.setData(TEXT, qt.Qt.UserRole, shortcut.action)
            item.setToolTip(TEXT, shortcut.text)
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEditable)
            tree.addTopLevelItem(item)
        self._show()

    def _show(self) -> None:
        """Write the texts anew, those that a person typed over, too. The items stay: one may be being edited."""
        tree = self.ui.shortcutTree
        tree.blockSignals(True)
        for number, shortcut in enumerate(SHORTCUTS):
            tree.topLevelItem(number).setText(TEXT, shortcut.text)
            tree.topLevelItem(number).setText(KEYS, self.panel.shortcuts.keysOf(shortcut.action))
        tree.blockSignals(False)
