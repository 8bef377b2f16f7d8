"""What a person does with the panel, for tests: keys, rows, entries of selectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def choose(panel: Any, *classes: int) -> None:
    """Check structures for an automatic run."""
    panel.automatic.tree.choose(classes)
    panel.automatic.onChoiceChanged()


def choose_entry(selector: Any, number: int) -> None:
    """Choose an entry of a node selector in its list; negative numbers count from the end, where *Create new* is."""
    import wrap

    box = wrap.unwrap(selector)._box
    number = number % box.count()
    box.setCurrentIndex(number)
    box.activated.emit(number)


def choose_row(table: Any, number: int) -> None:
    """Click on a row of the table of segments."""
    import wrap

    wrap.unwrap(table)._table.setCurrentCell(number, 3)


def press(host: Any, keys: str) -> None:
    """Press a key combination in the main window."""
    from PySide6.QtGui import QKeySequence
    from PySide6.QtTest import QTest

    combination = QKeySequence(keys)[0]
    host.window.activateWindow()
    QTest.keyClick(host.window, combination.key(), combination.keyboardModifiers())
    host.process()


def name_python(panel: Any, folder: Path, line: str) -> Path:
    """Name a shell script of one line as the Python of the segmentation process."""
    program = folder / "own-python"
    program.write_text(f"#!/bin/sh\n{line}\n")
    program.chmod(0o755)
    panel.ui.pythonEdit.text = str(program)
    panel.settings.onPython()
    return program
