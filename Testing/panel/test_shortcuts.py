"""Keys: what they do, when they work, how they are changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from person import choose, press

shiboken6 = pytest.importorskip("shiboken6")
pytest.importorskip("slicer")

LIVER, SPLEEN = 1, 3


class TestShortcuts:
    def test_they_work_only_while_the_module_is_open(self, a_clean_host: Any, a_widget: Any, a_panel: Any) -> None:
        a_panel.workbench.new_segment(name="a")
        a_widget.exit()
        press(a_clean_host, "Ctrl+Z")
        assert len(a_panel.workbench.segments) == 1
        a_widget.enter()
        press(a_clean_host, "Ctrl+Z")
        assert not a_panel.workbench.segments
        press(a_clean_host, "Ctrl+Y")
        assert len(a_panel.workbench.segments) == 1

    def test_letters_start_placing_and_escape_stops_it(self, a_clean_host: Any, a_panel: Any) -> None:
        press(a_clean_host, "P")
        assert a_panel.ui.addPointButton.checked
        press(a_clean_host, "N")
        assert a_panel.ui.removePointButton.checked
        press(a_clean_host, "Esc")
        assert not a_panel.ui.removePointButton.checked

    def test_enter_keeps_and_escape_drops_a_preview(self, a_clean_host: Any, a_panel: Any) -> None:
        from vista3d_case import rasOf

        workbench = a_panel.workbench
        workbench.preview_enabled = True
        workbench.new_segment(name="a")
        for number, (key, kept) in enumerate((("Esc", 0), ("Return", 1), ("Enter", 2))):
            workbench.add_point(rasOf(workbench.volume, (30 - 6 * number, 25, 20)), True)
            a_clean_host.process(lambda: workbench.preview is not None)
            press(a_clean_host, key)
            assert workbench.preview is None
            assert len(workbench.points) == kept
        workbench.preview_enabled = False

    def test_escape_cancels_a_run(self, a_clean_host: Any, a_panel: Any) -> None:
        choose(a_panel, LIVER, SPLEEN)
        press(a_clean_host, "R")
        a_clean_host.process(lambda: a_panel.ui.runButton.text == "Cancel")
        press(a_clean_host, "Esc")
        a_clean_host.process(lambda: not a_panel.workbench.busy)
        assert not a_panel.workbench.segments

    def test_every_shortcut_is_listed_and_does_something(self, a_panel: Any) -> None:
        from VISTA3DScene.shortcuts import SHORTCUTS

        tree = a_panel.ui.shortcutTree
        rows = {tree.topLevelItem(i).text(1): tree.topLevelItem(i).text(0) for i in range(tree.topLevelItemCount)}
        assert rows == {shortcut.text: shortcut.keys for shortcut in SHORTCUTS}
        assert set(a_panel.shortcuts._actions) == {shortcut.action for shortcut in SHORTCUTS}

    def test_keys_can_be_changed_and_restored(self, a_clean_host: Any, a_panel: Any) -> None:
        item = a_panel.ui.shortcutTree.topLevelItem(0)
        item.setText(0, "ctrl+p")
        assert a_panel.shortcuts.keysOf("place_positive") == "Ctrl+P"
        press(a_clean_host, "P")
        assert not a_panel.ui.addPointButton.checked
        press(a_clean_host, "Ctrl+P")
        assert a_panel.ui.addPointButton.checked
        a_panel.ui.restoreShortcutsButton.click()
        assert a_panel.shortcuts.keysOf("place_positive") == "P"

    def test_a_key_that_is_taken_is_refused(self, a_panel: Any) -> None:
        a_panel.ui.shortcutTree.topLevelItem(0).setText(0, "N")
        assert "N is taken" in a_panel.ui.messageText.text
        assert a_panel.shortcuts.keysOf("place_positive") == "P"
        assert a_panel.ui.shortcutTree.topLevelItem(0).text(0) == "P"

    def test_typing_in_a_field_is_typing(self, a_clean_host: Any, a_panel: Any) -> None:
        import wrap
        from PySide6.QtTest import QTest

        box = wrap.unwrap(a_panel.ui.searchBox)
        a_clean_host.window.activateWindow()
        box.setFocus()
        QTest.keyClicks(box, "pn")
        assert a_panel.ui.searchBox.text == "pn"
        assert not a_panel.ui.addPointButton.checked


class TestRivals:
    """Where Slicer's window has two enabled shortcuts of one key, Qt calls them in turn."""

    @pytest.fixture
    def heard(self, a_clean_host: Any) -> Iterator[list[str]]:
        """What a shortcut and an action of somebody else, with the keys of undo and redo, heard."""
        from PySide6.QtGui import QAction, QKeySequence, QShortcut

        heard: list[str] = []
        shortcut = QShortcut(QKeySequence("Ctrl+Z"), a_clean_host.window)
        action = QAction("Redo", a_clean_host.window)
        action.setShortcut(QKeySequence("Ctrl+Y"))
        a_clean_host.window.addAction(action)
        shortcut.activated.connect(lambda: heard.append("undo"))
        shortcut.activatedAmbiguously.connect(lambda: heard.append("undo"))
        action.triggered.connect(lambda: heard.append("redo"))
        yield heard
        a_clean_host.window.removeAction(action)
        for rival in (shortcut, action):
            shiboken6.delete(rival)

    def test_they_are_silent_while_the_module_is_open(
        self, heard: list[str], a_clean_host: Any, a_panel: Any, a_widget: Any
    ) -> None:
        for name in ("a", "b"):
            a_panel.workbench.new_segment(name=name)
        for count in (1, 0):
            press(a_clean_host, "Ctrl+Z")
            assert len(a_panel.workbench.segments) == count
        for count in (1, 2):
            press(a_clean_host, "Ctrl+Y")
            assert len(a_panel.workbench.segments) == count
        assert heard == []
        a_widget.exit()
        for keys in ("Ctrl+Z", "Ctrl+Y"):
            press(a_clean_host, keys)
        assert heard == ["undo", "redo"]
        assert len(a_panel.workbench.segments) == 2

    def test_a_key_that_is_given_up_is_theirs_again(self, heard: list[str], a_clean_host: Any, a_panel: Any) -> None:
        a_panel.shortcuts.setKeys("undo", "Ctrl+U")
        press(a_clean_host, "Ctrl+Z")
        assert heard == ["undo"]

    def test_they_answer_again_after_the_cleanup(self, heard: list[str], a_clean_host: Any, a_widget: Any) -> None:
        a_widget.cleanup()
        press(a_clean_host, "Ctrl+Z")
        assert heard == ["undo"]

    def test_one_that_is_gone_is_not_missed(self, a_clean_host: Any, a_widget: Any) -> None:
        from PySide6.QtGui import QKeySequence, QShortcut

        a_widget.exit()
        rival = QShortcut(QKeySequence("P"), a_clean_host.window)
        a_widget.enter()
        assert not rival.isEnabled()
        shiboken6.delete(rival)
        a_widget.exit()
