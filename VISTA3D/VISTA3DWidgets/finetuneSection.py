"""Fine-tune: segmentations of the scene teach the chosen weights; loss and Dice are plotted while it goes on."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import qt

from VISTA3DLib.errors import SettingsError
from VISTA3DWidgets.sideWorker import SideWorker
from VISTA3DWidgets.statusSection import progressText
from VISTA3DWidgets.tables import Plot, fillTable
from VISTA3DWidgets.trainingCases import (
    Chosen,
    Labels,
    caseArrays,
    caseName,
    checkCases,
    checkName,
    suggestedClass,
    volumeOf,
)
from VISTA3DWidgets.workerSection import WorkerSection

if TYPE_CHECKING:
    from VISTA3DLib.progress import Progress
    from VISTA3DWidgets.panel import Panel

SEGMENT, CLASS = 0, 1  # columns
COLUMNS = (("Epoch", "epoch"), ("Loss", "loss"), ("Dice", "dice"))
COLORS = {"Loss": (0.85, 0.33, 0.31), "Dice": (0.2, 0.6, 0.35)}


class FinetuneSection(WorkerSection):
    """Which segments teach which classes, and the button that trains or cancels."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._shown: tuple[Any, ...] = ()
        self._rows: list[dict[str, float]] = []
        self._table: Any = None
        self.ui.finetuneTree.setColumnWidth(SEGMENT, 220)
        self.connect(self.ui.finetuneRunButton, "clicked()", self.startOrCancel)
        self.connect(self.ui.finetuneButton, "contentsCollapsed(bool)", self.onCollapsed)

    def onCollapsed(self, _collapsed: bool) -> None:
        """The section was opened or closed."""
        if self.listening:
            self.panel.refresh()

    def chosen(self) -> list[Chosen]:
        """The segmentations with checked segments."""
        found = []
        tree = self.ui.finetuneTree
        for number in range(tree.topLevelItemCount):
            top = tree.topLevelItem(number)
            node = self.panel.scene.GetNodeByID(str(top.data(SEGMENT, qt.Qt.UserRole)))
            classes = {
                str(item.data(SEGMENT, qt.Qt.UserRole)): str(item.text(CLASS))
                for item in (top.child(n) for n in range(top.childCount()))
                if item.checkState(SEGMENT) == qt.Qt.Checked
            }
            if node is not None and classes:
                volume = volumeOf(node, self.workbench.volume)
                found.append(Chosen(segmentation=node, volume=volume, classes=classes))
        return found

    def refresh(self) -> None:
        """Show the segmentations of the scene, while the section is open, and whether it trains."""
        ui = self.ui
        if not ui.finetuneButton.collapsed:
            self._fill()
        ui.finetuneRunButton.setEnabled(self.running or ui.finetuneTree.topLevelItemCount > 0)
        ui.finetuneRunButton.setText("Cancel" if self.running else "Train")

    def showText(self, text: str) -> None:
        """Show a line."""
        self.ui.finetuneText.setText(html.escape(text, quote=False))

    def cancelledText(self) -> str:
        """Nothing of a training is lost."""
        return "Cancelled. Train again with the same name to go on from there."

    def start(self) -> None:
        """Train."""
        setup, cases = self.panel.setup, self.chosen()
        checkCases(cases)
        name = checkName(self.ui.finetuneNameEdit.text.strip() or "my-model")
        if setup.missing() or not setup.weightsAreHere():
            raise SettingsError("The chosen model is not ready.", "See the section 'Set up'.")
        labels = Labels(catalogue=self.panel.automatic.catalogue())
        self.worker = worker = SideWorker(self.panel)
        self._rows, self._table = [], None
        arguments = {
            "cases": [self._handOver(worker, number, case, labels) for number, case in enumerate(cases, start=1)],
            "mapping": labels.mapping,
            "classes": {str(number): text for number, text in labels.names.items()},
            "name": name,
            "weights": setup.weights,
            "single_piece": labels.classIds if self.ui.finetuneSinglePiece.checked else [],
            "epochs": int(self.ui.finetuneEpochs.value),
            "device": setup.device,
        }
        worker.ask("finetune", arguments, self.handlers())
        self.showText("Starting...")

    def onProgress(self, progress: Progress) -> None:
        """Show how far it is, and plot an epoch that is over."""
        self.showText(progressText(progress))
        if "epoch" in progress.values:
            self._rows.append(dict(progress.values))
            self._plot()

    def onAnswer(self, values: Mapping[str, Any]) -> None:
        """Choose the new weights."""
        self.stop(resultText(values))
        self.panel.setup.useWeights(str(values["name"]))

    def _handOver(self, worker: SideWorker, number: int, case: Chosen, labels: Labels) -> dict[str, Any]:
        image, label, affine = caseArrays(case, labels)
        return {
            "id": caseName(number, case),
            "image": worker.save(f"image{number}", image),
            "label": worker.save(f"label{number}", label),
            "affine": affine,
        }

    def _plot(self) -> None:
        """The epochs so far as a table; a chart of them is shown with the first one."""
        scene, first = self.panel.scene, self._table is None or not self.panel.scene.IsNodePresent(self._table)
        if first:
            self._table = scene.AddNewNodeByClass("vtkMRMLTableNode", scene.GenerateUniqueName("Fine-tuning"))
        fillTable(self._table, COLUMNS, self._rows)
        if first:
            plot = Plot(scene, self._table.GetName(), "Epoch", "Loss, Dice")
            for column, color in COLORS.items():
                plot.line(self._table, "Epoch", column, color)
            plot.show(self._table)

    def _fill(self) -> None:
        """Segmentations and their segments; what was checked and written stays."""
        scene = self.panel.scene
        count = scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
        nodes = [scene.GetNthNodeByClass(n, "vtkMRMLSegmentationNode") for n in range(count)]
        nodes = [node for node in nodes if not node.GetHideFromEditors()]
        present = tuple(
            (node.GetID(), node.GetName(), tuple(segmentNames(node)), self.panel.automatic.catalogue().id)
            for node in nodes
        )
        if present == self._shown:
            return
        self._shown = present
        before = {(case.segmentation.GetID(), i): text for case in self.chosen() for i, text in case.classes.items()}
        tree = self.ui.finetuneTree
        tree.clear()
        for node in nodes:
            tree.addTopLevelItem(self._item(node, before))
        tree.expandAll()

    def _item(self, node: Any, before: Mapping[tuple[str, str], str]) -> Any:
        catalogue, inner = self.panel.automatic.catalogue(), node.GetSegmentation()
        volume = volumeOf(node, self.workbench.volume)
        top = qt.QTreeWidgetItem()
        top.setText(SEGMENT, node.GetName())
        top.setText(CLASS, "" if volume is None else f"on {volume.GetName()}")
        top.setData(SEGMENT, qt.Qt.UserRole, node.GetID())
        top.setFlags(qt.Qt.ItemIsEnabled)
        for segmentId in inner.GetSegmentIDs():
            item, key = qt.QTreeWidgetItem(), (node.GetID(), segmentId)
            item.setText(SEGMENT, inner.GetSegment(segmentId).GetName())
            item.setText(CLASS, before.get(key) or suggestedClass(inner.GetSegment(segmentId), catalogue))
            item.setData(SEGMENT, qt.Qt.UserRole, segmentId)
            item.setFlags(
                qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsEditable
            )
            item.setCheckState(SEGMENT, qt.Qt.Checked if key in before else qt.Qt.Unchecked)
            top.addChild(item)
        return top


def segmentNames(node: Any) -> list[str]:
    """Ids and names of the segments, to see whether they changed."""
    inner = node.GetSegmentation()
    return [f"{segmentId} {inner.GetSegment(segmentId).GetName()}" for segmentId in inner.GetSegmentIDs()]


def resultText(values: Mapping[str, Any]) -> str:
    """What the training came to: Dice before and after, and on what it was measured."""
    before, after = values["before"].get("mean"), values["after"].get("mean")
    scores = "" if before is None or after is None else f" Mean Dice {before:.3f} before, {after:.3f} after."
    where = " Measured on the cases that it learned from." if values.get("measured_on_training") else ""
    return " ".join([f"'{values['name']}' is trained and chosen now.{scores}{where}", *values.get("notes", ())])
