"""Evaluate: two segmentations compared segment by segment, in a table and a plot."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from VISTA3DLib.errors import VolumeError
from VISTA3DWidgets.comparison import COLUMNS, Question, questions, rows, summary
from VISTA3DWidgets.part import CHOSEN
from VISTA3DWidgets.sideWorker import SideWorker
from VISTA3DWidgets.tables import Plot, fillTable
from VISTA3DWidgets.workerSection import WorkerSection

if TYPE_CHECKING:
    from VISTA3DLib.progress import Progress
    from VISTA3DWidgets.panel import Panel

TABLE = "Comparison"


class EvaluateSection(WorkerSection):
    """Reference, compared segmentation, and the button that compares or cancels."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._names: list[str] = []
        self._waiting: list[Question] = []
        self._answers: list[Mapping[str, Any]] = []
        self.connect(self.ui.compareButton, "clicked()", self.startOrCancel)
        for selector in (self.ui.referenceSelector, self.ui.comparedSelector):
            for signal in CHOSEN:
                self.connect(selector, signal, self.onChosen)

    def onChosen(self, _node: Any) -> None:
        """Another segmentation was chosen."""
        if self.listening:
            self.panel.refresh()

    def refresh(self) -> None:
        """Show whether there is something to compare."""
        ui = self.ui
        reference, compared = ui.referenceSelector.currentNode(), ui.comparedSelector.currentNode()
        possible = reference is not None and compared is not None and reference is not compared
        ui.compareButton.setEnabled(self.running or (possible and self.workbench.volume is not None))
        ui.compareButton.setText("Cancel" if self.running else "Compare")

    def showText(self, text: str) -> None:
        """Show a line."""
        self.ui.evaluateText.setText(html.escape(text, quote=False))

    def start(self) -> None:
        """Compare."""
        reference, compared = self.ui.referenceSelector.currentNode(), self.ui.comparedSelector.currentNode()
        volume = self.workbench.volume
        if volume is None or reference is None or compared is None:
            raise VolumeError("There is nothing to compare.", "Choose a CT and two segmentations.")
        if self.panel.setup.missing():
            raise VolumeError("Python packages are missing.", self.panel.setup.howToInstall())
        self._names, self._waiting = questions(reference, compared, volume)
        self._answers = []
        self.worker = SideWorker(self.panel)
        self._ask(self.worker)

    def onAnswer(self, values: Mapping[str, Any]) -> None:
        """Send the next question, or show the result when all are answered."""
        self._answers.append(values)
        if self._waiting and self.worker is not None:
            self._ask(self.worker)
        else:
            self.stop("")
            self._show()

    def onProgress(self, progress: Progress) -> None:
        """Count the segments."""
        self.showText(f"Comparing: {progress.done} of {progress.total} segments.")

    def _ask(self, worker: SideWorker) -> None:
        question = self._waiting.pop(0)
        self.showText("Comparing...")
        worker.ask(
            "compare_segmentations",
            {
                "truth": worker.save("truth", question.truth),
                "predicted": worker.save("predicted", question.predicted),
                "affine": question.affine,
                "pairs": [[label, label] for label in question.labels],
            },
            self.handlers(),
        )

    def _show(self) -> None:
        """A table and a chart of the Dice of each segment."""
        found = rows(self._names, self._answers)
        scene = self.panel.scene
        table = scene.AddNewNodeByClass("vtkMRMLTableNode", scene.GenerateUniqueName(TABLE))
        fillTable(table, COLUMNS, found)
        plot = Plot(scene, table.GetName(), "Segment", "Dice")
        plot.bars(table, "Dice", "Segment")
        plot.show(table)
        self.showText(f"{summary(found)} The table '{table.GetName()}' has the details.")
