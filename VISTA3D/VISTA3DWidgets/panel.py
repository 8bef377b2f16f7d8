"""The panel: one ``Workbench`` and the sections that show it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import qt
import slicer
from VISTA3DScene.signals import Observers
from VISTA3DScene.workbench import Workbench

from VISTA3DLib.errors import VISTA3DError
from VISTA3DWidgets.automaticSection import AutomaticSection
from VISTA3DWidgets.evaluateSection import EvaluateSection
from VISTA3DWidgets.finetuneSection import FinetuneSection
from VISTA3DWidgets.panelState import REGION, SEGMENTATION, VOLUME, PanelState, RunChoice
from VISTA3DWidgets.pointsSection import PointsSection
from VISTA3DWidgets.preferences import Preferences
from VISTA3DWidgets.processTransport import ProcessTransport, workerArguments
from VISTA3DWidgets.segmentsSection import SegmentsSection
from VISTA3DWidgets.settingsSection import SettingsSection
from VISTA3DWidgets.setupSection import SetupSection
from VISTA3DWidgets.shortcuts import Shortcuts
from VISTA3DWidgets.sideWorker import SideWorker
from VISTA3DWidgets.statusSection import StatusSection

AFTER_SELECTORS = -1.0  # a priority: Slicer's selectors of nodes fill themselves at the same events


class Panel:
    """Builds the sections over the widgets of the ``.ui`` file ``root``; ``logic`` gives the parameter node.

    ``refresh`` shows what is true now in every section; it is called after each slot and each change of the scene
    layer, and is cheap when nothing changed.
    """

    def __init__(self, root: Any, scene: Any, logic: Any, resourcePath: Callable[[str], str]) -> None:
        self.root, self.scene = root, scene
        self.ui = slicer.util.childWidgetVariables(root)
        self.resourcePath = resourcePath
        self.preferences = Preferences()
        self.state = PanelState(logic)
        self.refreshing, self.closed = False, False
        self.loading = False  # a scene: what it says was chosen counts, nothing else
        self.leaving: list[SideWorker] = []  # those that are about to be closed
        self._folder = qt.QTemporaryDir()
        folder = Path(self._folder.path())
        self.transport = ProcessTransport(workerArguments(folder), self.chosenPython, self.log, self.faults)
        self.workbench = Workbench(scene, self.transport, folder, log=self.log)
        self._makeSections()
        self._observeScene()
        self.workbench.changed.connect(self._onChanged)
        self.workbench.said.connect(self.status.say)
        self.workbench.failed.connect(self.showFailure)
        self.workbench.progressed.connect(self.status.showProgress)
        self.refresh()

    def _makeSections(self) -> None:
        self.status = StatusSection(self)
        self.setup = SetupSection(self)
        self.segments = SegmentsSection(self)
        self.points = PointsSection(self)
        self.automatic = AutomaticSection(self)
        self.finetune = FinetuneSection(self)
        self.evaluate = EvaluateSection(self)
        self.shortcuts = Shortcuts(self)
        self.settings = SettingsSection(self)
        self.parts = (
            self.setup,
            self.status,
            self.segments,
            self.points,
            self.automatic,
            self.finetune,
            self.evaluate,
            self.shortcuts,
            self.settings,
        )

    def _observeScene(self) -> None:
        self._choiceBefore: RunChoice | None = None  # before a scene is added
        self._observers = Observers()
        self._observers.add(self.scene, self.scene.StartCloseEvent, self._onSceneStartsClosing)
        self._observers.add(self.scene, self.scene.StartImportEvent, self._onSceneStartsLoading)
        for event in (self.scene.EndCloseEvent, self.scene.EndImportEvent):
            self._observers.add(self.scene, event, self._onSceneChanged, AFTER_SELECTORS)

    def enter(self) -> None:
        """The module is opened."""
        self.shortcuts.enabled = True
        self.restore()
        self.setup.lookAgain()
        self.setup.chooseShownVolume()
        self.setup.loadIfPossible()
        self.refresh()

    def exit(self) -> None:
        """Another module is opened."""
        self.shortcuts.enabled = False
        self.points.placeMode.stop()

    def restore(self) -> None:
        """Take over what the scene says was chosen."""
        volume, segmentation = self.state.reference(VOLUME), self.state.reference(SEGMENTATION)
        segment = self.state.segment  # each choice below is remembered, and with it which segment is selected
        if volume is not None and self.workbench.volume is None:
            self.workbench.set_volume(volume)
        if segmentation is not None and self.workbench.segmentation is None:
            self.workbench.set_segmentation(segmentation)
            if segment in {info.id for info in self.workbench.segments}:
                self.workbench.select_segment(segment)
        self.automatic.restore(self.state.reference(REGION))

    def close(self) -> None:
        """Leave nothing behind: no process, node, observer, shortcut or file."""
        if self.closed:
            return
        self.points.placeMode.stop()
        self.closed = True
        with contextlib.ExitStack() as closing:  # last in, first out; each runs, whatever happens in the others
            closing.callback(self._folder.remove)
            closing.callback(self.transport.close)
            closing.callback(self.workbench.close)
            for worker in list(self.leaving):
                closing.callback(worker.close)
            for part in self.parts:
                closing.callback(part.close)
            closing.callback(self._observers.close)

    def refresh(self) -> None:
        """Show what is true now."""
        if self.refreshing or self.closed or self.scene.IsClosing():
            return
        self.refreshing = True
        try:
            for part in self.parts:
                part.refresh()
        finally:
            self.refreshing = False

    @contextlib.contextmanager
    def faults(self) -> Iterator[None]:
        """Errors that a person can act on are shown in the panel, faults of the program as Slicer shows them."""
        with slicer.util.tryWithErrorDisplay("VISTA3D ran into a fault of its own; see the log.", waitCursor=False):
            try:
                yield
            except VISTA3DError as error:
                self.showFailure(error.kind, error.message, error.fix)

    def showFailure(self, kind: str, message: str, fix: str) -> None:
        """Show an error in the panel, and write it to the log."""
        self.log(f"{kind}: {message} {fix}")
        self.status.showFailure(message, fix)

    def log(self, text: str) -> None:
        """A line for the log."""
        if not self.closed:
            self.ui.logView.appendPlainText(text)

    def chosenPython(self) -> str:
        """The program that the person named for the segmentation process, or an empty text."""
        return self.preferences.text("Python").strip()

    def _onChanged(self) -> None:
        if self.closed:
            return
        self._remember()
        self.refresh()

    def _remember(self) -> None:
        """Keep what is chosen now with the scene."""
        if self.scene.IsClosing() or self.loading:
            return
        for role, node in ((VOLUME, self.workbench.volume), (SEGMENTATION, self.workbench.segmentation)):
            if self.state.reference(role) is not node:
                self.state.setReference(role, node)
        self.state.segment = self.workbench.selected or ""

    def _onSceneStartsClosing(self, _caller: Any, _event: str) -> None:
        self.points.placeMode.stop()

    def _onSceneStartsLoading(self, _caller: Any, _event: str) -> None:
        self.loading = True
        self._choiceBefore = self.state.runChoice()

    def _onSceneChanged(self, _caller: Any, _event: str) -> None:
        self.loading = False
        before, self._choiceBefore = self._choiceBefore, None
        if before is not None:
            self.state.putBack(before)
        self.restore()
        self._remember()
        self.refresh()
