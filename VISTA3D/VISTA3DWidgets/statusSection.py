"""What always can be seen: undo and redo, progress with cancel, and one line about what happened."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import qt

from VISTA3DWidgets.part import Part

if TYPE_CHECKING:
    from VISTA3DLib.progress import Progress
    from VISTA3DWidgets.panel import Panel

STEPS = 1000  # of the progress bar


class StatusSection(Part):
    """Undo, redo, progress, cancel and messages."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._hasProgress = False
        self.ui.undoButton.setIcon(qt.QIcon(panel.resourcePath("Icons/Undo.png")))
        self.ui.redoButton.setIcon(qt.QIcon(panel.resourcePath("Icons/Redo.png")))
        self.ui.cancelButton.setIcon(qt.QIcon(panel.resourcePath("Icons/Cancel.png")))
        self.connect(self.ui.undoButton, "clicked()", self.undo)
        self.connect(self.ui.redoButton, "clicked()", self.redo)
        self.connect(self.ui.cancelButton, "clicked()", self.cancel)

    def undo(self) -> None:
        """Undo the last action."""
        with self.usable():
            self.workbench.undo()

    def redo(self) -> None:
        """Do again what was undone."""
        with self.usable():
            self.workbench.redo()

    def cancel(self) -> None:
        """Stop what runs."""
        with self.usable():
            self.workbench.cancel()

    def say(self, text: str) -> None:
        """Show one line."""
        self.ui.messageText.setText(html.escape(text, quote=False))
        self.panel.log(text)

    def showFailure(self, message: str, fix: str) -> None:
        """Show what went wrong and what to do."""
        self.ui.messageText.setText(f"<b>{html.escape(message, quote=False)}</b> {html.escape(fix, quote=False)}")

    def showProgress(self, progress: Progress) -> None:
        """Show how far a run is and how long it will take."""
        self._hasProgress = True
        self.ui.progressBar.setRange(0, STEPS)
        self.ui.progressBar.setValue(round(progress.fraction * STEPS))
        self.ui.progressBar.setFormat(progressText(progress))

    def refresh(self) -> None:
        """Show which actions can be undone, and whether something runs."""
        workbench, ui = self.workbench, self.ui
        for button, verb, name in (
            (ui.undoButton, "Undo", workbench.undo_name),
            (ui.redoButton, "Redo", workbench.redo_name),
        ):
            button.setEnabled(bool(name))
            button.setText(f"{verb}: {shortened(name)}" if name else verb)
            button.setToolTip(f"{verb}: {name}" if name else f"Nothing to {verb.lower()}.")
        busy = bool(workbench.busy)
        if not busy:
            self._hasProgress = False
        elif not self._hasProgress:
            ui.progressBar.setRange(0, 0)  # moves, and promises nothing
            ui.progressBar.setFormat("")
        ui.progressBar.setVisible(busy)
        ui.cancelButton.setVisible(busy)


def progressText(progress: Progress) -> str:
    """``windows: 12 of 80, 25 s left``."""
    unit = progress.total > 10 * 2**20  # bytes
    done, total = (
        (f"{progress.done / 1e6:.0f}", f"{progress.total / 1e6:.0f} MB")
        if unit
        else (str(progress.done), str(progress.total))
    )
    parts = [f"{progress.stage}: {done} of {total}"]
    if progress.seconds_left is not None:
        parts.append(f"{durationText(progress.seconds_left)} left")
    if progress.note:
        parts.append(progress.note)
    return ", ".join(parts)


def durationText(seconds: float) -> str:
    """``25 s`` or ``3 min``."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def shortened(text: str) -> str:
    """A text that fits on a button."""
    return text if len(text) <= 24 else f"{text[:22]}..."
