"""Evaluate: two segmentations compared segment by segment, in a table and a plot."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from VISTA3DLib.client import Handlers
from VISTA3DLib.errors import VolumeError
from VISTA3DLib.protocol import Failure
from VISTA3DWidgets.comparison import COLUMNS, Question, questions, rows, summary
from VISTA3DWidgets.part import Part
from VISTA3DWidgets.sideWorker import SideWorker
from VISTA3DWidgets.tables import Plot, fillTable

if TYPE_CHECKING:
    from VISTA3DLib.progress import Progress
    from VISTA3DWidgets.panel import Panel

TABLE = "Comparison"


class EvaluateSection(Part):
    """Reference, compared segmentation, and the button that compares or cancels."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._names: list[str] = []
        self._waiting: list[Question] = []
        self._answers: list[Mapping[str, Any]] = []
        self._worker: SideWorker | None = None
        self.connect(self.ui.compareButton, "clicked()", self.compareOrCancel)
        for selector in (self.ui.referenceSelector, self.ui.comparedSelector):
            self.connect(selector, "currentNodeChanged(vtkMRMLNode*)", self.onChosen)

    @property
    def running(self) -> bool:
        """Whether a comparison goes on."""
        return self._worker is not None

    def onChosen(self, _node: Any) -> None:
        """Another segmentation was chosen."""
        if self.listening:
            self.panel.refresh()

    def compareOrCancel(self) -> None:
        """Compare; while that goes on, cancel."""
        with self.usable():
            if self.running:
                self._stop("Cancelled.")
            else:
                self._start()

    def refresh(self) -> None:
        """Show whether there is something to compare."""
        ui = self.ui
        reference, compared = ui.referenceSelector.currentNode(), ui.comparedSelector.currentNode()
        possible = reference is not None and compared is not None and reference is not compared
        ui.compareButton.setEnabled(self.running or (possible and self.workbench.volume is not None))
        ui.compareButton.setText("Cancel" if self.running else "Compare")

    def close(self) -> None:
        """Disconnect, and forget what runs."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None
        super().close()

    def _start(self) -> None:
        reference, compared = self.ui.referenceSelector.currentNode(), self.ui.comparedSelector.currentNode()
        volume = self.workbench.volume
        if volume is None or reference is None or compared is None:
            raise VolumeError("There is nothing to compare.", "Choose a CT and two segmentations.")
        if self.panel.setup.missing():
            raise VolumeError("Python packages are missing.", "Press 'Install packages...' in the section 'Set up'.")
        self._names, self._waiting = questions(reference, compared, volume)
        self._answers = []
        self._worker = SideWorker(self.panel)
        self._ask()

    def _ask(self) -> None:
        """Send the next question, or show the result when all are answered."""
        worker = self._worker
        if worker is None:
            return
        if not self._waiting:
            self._stop("")
            self._show()
            return
        question = self._waiting.pop(0)
        self.ui.evaluateText.setText("Comparing...")
        worker.ask(
            "compare_segmentations",
            {
                "truth": worker.save("truth", question.truth),
                "predicted": worker.save("predicted", question.predicted),
                "affine": question.affine,
                "pairs": [[label, label] for label in question.labels],
            },
            Handlers(result=self._onAnswer, error=self._onError, progress=self._onProgress),
        )

    def _onAnswer(self, values: Mapping[str, Any]) -> None:
        with self.usable():
            self._answers.append(values)
            self._ask()

    def _onError(self, failure: Failure) -> None:
        with self.usable():
            self._stop("")
            self.panel.showFailure(failure.kind, failure.message, failure.fix)

    def _onProgress(self, progress: Progress) -> None:
        if not self.panel.closed:
            self.ui.evaluateText.setText(f"Comparing: {progress.done} of {progress.total} segments.")

    def _stop(self, text: str) -> None:
        if self._worker is not None:
            self._worker.closeSoon()
        self._worker = None
        self._waiting = []
        self.ui.evaluateText.setText(text)

    def _show(self) -> None:
        """A table and a chart of the Dice of each segment."""
        found = rows(self._names, self._answers)
        scene = self.panel.scene
        table = scene.AddNewNodeByClass("vtkMRMLTableNode", scene.GenerateUniqueName(TABLE))
        fillTable(table, COLUMNS, found)
        plot = Plot(scene, table.GetName(), "Segment", "Dice")
        plot.bars(table, "Dice", "Segment")
        plot.show(table)
        text = f"{summary(found)} The table '{table.GetName()}' has the details."
        self.ui.evaluateText.setText(html.escape(text, quote=False))
