"""The first section: which CT, segmentation, model and device; what is missing for them, and whether all is ready."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt
import slicer
from VISTA3DScene.workbench import State

from VISTA3DLib.consents import is_accepted
from VISTA3DLib.download import is_downloaded
from VISTA3DLib.errors import VISTA3DError
from VISTA3DLib.weights import WeightsCatalogue, WeightsEntry, find_weights
from VISTA3DWidgets.packageCheck import PackageCheck
from VISTA3DWidgets.packages import installPackages, missingPackages
from VISTA3DWidgets.part import CHOSEN, Part
from VISTA3DWidgets.workerEnvironment import findPython, isSlicersOwn

if TYPE_CHECKING:
    from VISTA3DWidgets.panel import Panel

BUILT_IN = "vista3d-mini"
FILE_FILTER = "Weights (*.safetensors *.pt *.pth)"


class SetupSection(Part):
    """CT, segmentation, model, device; packages and weights on request."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        ui = self.ui
        self._downloading = ""
        self._missing: list[str] | None = None  # in Slicer's own Python
        self._check = PackageCheck(panel.log, panel.faults, panel.refresh)
        self._found: tuple[str, WeightsEntry | None, bool] | None = None
        self._asked = ("", "")  # the model and device that were asked for last
        self._fillModels()
        self._fillDevices({"cpu": "CPU"})
        self.connect(ui.volumeSelector, "currentNodeChanged(vtkMRMLNode*)", self.onVolumeChanged)
        self.connect(ui.volumeSelector, "nodeActivated(vtkMRMLNode*)", self.onVolumeActivated)
        for signal in CHOSEN:
            self.connect(ui.segmentationSelector, signal, self.onSegmentationChanged)
        self.connect(ui.modelSelector, "activated(int)", self.onModelActivated)
        self.connect(ui.modelFileButton, "clicked()", self.onModelFile)
        self.connect(ui.deviceSelector, "activated(int)", self.onDeviceActivated)
        self.connect(ui.findDevicesButton, "clicked()", self.onFindDevices)
        self.connect(ui.installButton, "clicked()", self.onInstall)
        self.connect(ui.downloadButton, "clicked()", self.onDownload)
        self.connect(ui.loadButton, "clicked()", self.onLoad)

    @property
    def weights(self) -> str:
        """Which weights are chosen: an id of the catalogue, or a path."""
        return str(self.panel.preferences.text("Model", BUILT_IN))

    @property
    def device(self) -> str:
        """Which device is chosen."""
        return str(self.panel.preferences.text("Device", "auto"))

    def entry(self) -> WeightsEntry | None:
        """The catalogue's entry of the chosen weights; None for weights that are no longer there."""
        return self._look()[0]

    def weightsAreHere(self) -> bool:
        """Whether the chosen weights lie on this computer."""
        return self._look()[1]

    def _look(self) -> tuple[WeightsEntry | None, bool]:
        """The entry of the chosen weights, and whether they are here; looked up once until ``lookAgain``."""
        if self._found is None or self._found[0] != self.weights:
            try:
                entry = find_weights(self.weights)
            except VISTA3DError:
                self._found = (self.weights, None, False)
            else:
                self._found = (self.weights, entry, isHere(entry))
        return self._found[1], self._found[2]

    def missing(self) -> list[str]:
        """Python packages that have to be installed first; those of a Python of the person's own once it told."""
        python = self._ownPython()
        if python is not None:
            return self._check.missing(python)
        if self._missing is None:
            self._missing = missingPackages()
        return self._missing

    def howToInstall(self) -> str:
        """What a person does about missing packages."""
        python = self._ownPython()
        if python is None:
            return "Press 'Install packages...' in the section 'Set up'."
        requirements = self.panel.resourcePath("requirements.txt")
        return f"In a terminal: {python} -m pip install torch -r {requirements}"

    def _ownPython(self) -> Path | None:
        """The Python that the person named, unless it is Slicer's or is not there."""
        chosen = self.panel.chosenPython()
        try:
            python = findPython(chosen) if chosen else None
        except VISTA3DError:
            return None
        return None if python is None or isSlicersOwn(python) else python

    def lookAgain(self) -> None:
        """Forget which packages and weights are there."""
        self._missing = self._found = None
        self._check.forget()

    def canLoad(self) -> bool:
        """Whether nothing has to be installed or downloaded first."""
        return not self.missing() and self.weightsAreHere()

    def useWeights(self, weights: str) -> None:
        """Choose other weights, and load them if possible; new ones are looked for first."""
        self.panel.preferences.set("Model", weights)
        self.lookAgain()
        self._fillModels()
        self.loadIfPossible()

    def loadIfPossible(self) -> None:
        """Load the model when all is there and a CT was chosen, so that the first click need not wait for it."""
        if self.workbench.volume is not None and self.canLoad():
            self.ensureModel()

    def ensureModel(self) -> bool:
        """Load the chosen model unless it is there or on its way; False, with a message, when that is impossible."""
        wanted = (self.weights, self.device)
        if self._asked == wanted and (self.workbench.model is not None or self.workbench.busy):
            return True
        if self.missing():
            self.panel.showFailure(
                "SettingsError",
                f"Python packages are missing: {', '.join(self.missing())}.",
                self.howToInstall(),
            )
            return False
        if not self.weightsAreHere():
            self.panel.showFailure(
                "CheckpointError",
                "The weights are not on this computer.",
                "Press 'Download weights...', or choose others.",
            )
            return False
        self._asked = wanted
        self.workbench.load_model(self.weights, device=self.device)
        return True

    def chooseShownVolume(self) -> None:
        """Choose the CT that the slice views show, if none is chosen yet."""
        if self.workbench.volume is None:
            volume = shownVolume(self.panel.scene)
            if volume is not None:
                self.workbench.set_volume(volume)

    def onVolumeChanged(self, node: Any) -> None:
        """Another CT was chosen, or the chosen one went away."""
        if self.listening:
            with self.usable():
                self.workbench.set_volume(node)
                self.loadIfPossible()

    def onVolumeActivated(self, node: Any) -> None:
        """A person chose a CT by hand: show it."""
        if self.listening and node is not None:
            self.onVolumeChanged(node)
            with self.usable():
                slicer.util.setSliceViewerLayers(background=node)

    def onSegmentationChanged(self, node: Any) -> None:
        """Another segmentation was chosen, or the chosen one went away."""
        if self.listening:
            with self.usable():
                self.workbench.set_segmentation(node)

    def onModelActivated(self, index: int) -> None:
        """Another model was chosen."""
        if self.listening:
            with self.usable():
                self.panel.preferences.set("Model", str(self.ui.modelSelector.itemData(index)))
                self.loadIfPossible()

    def onModelFile(self) -> None:
        """Take weights from a file."""
        with self.usable():
            path = qt.QFileDialog.getOpenFileName(self.panel.root, "Weights", "", FILE_FILTER)
            if path:
                find_weights(path)  # complains about a file that holds no weights
                self.useWeights(path)

    def onDeviceActivated(self, index: int) -> None:
        """Another device was chosen."""
        if self.listening:
            with self.usable():
                self.panel.preferences.set("Device", str(self.ui.deviceSelector.itemData(index)))
                self.loadIfPossible()

    def onFindDevices(self) -> None:
        """Ask PyTorch for devices."""
        with self.usable():
            if not self.missing():
                self.workbench.find_devices(self._fillDevices)

    def onInstall(self) -> None:
        """Install packages; the person is asked first."""
        with self.usable():
            self.ui.installButton.setEnabled(False)
            try:
                installPackages(self.panel.resourcePath("requirements.txt"))
            finally:
                self.ui.installButton.setEnabled(True)
                self.lookAgain()
            self.loadIfPossible()

    def onDownload(self) -> None:
        """Show the licence, and download the weights when it is accepted."""
        with self.usable():
            entry = self.entry()
            if entry is None or entry.origin is None:
                return
            if not is_accepted(entry) and not askForLicence(entry):
                return
            self._downloading = entry.id
            mirror = self.panel.preferences.text("Mirror").strip() or None
            self.workbench.download(entry.id, accept_licence=True, endpoint=mirror, done=self._onDownloaded)

    def onLoad(self) -> None:
        """Load the model now."""
        with self.usable():
            self._asked = ("", "")
            self.lookAgain()
            self.ensureModel()

    def refresh(self) -> None:
        """Show the choices, what is missing, and what is ready."""
        ui, workbench = self.ui, self.workbench
        if ui.volumeSelector.currentNode() is not workbench.volume:
            ui.volumeSelector.setCurrentNode(workbench.volume)
        if ui.segmentationSelector.currentNode() is not workbench.segmentation:
            ui.segmentationSelector.setCurrentNode(workbench.segmentation)
        ui.modelSelector.setCurrentIndex(ui.modelSelector.findData(self.weights))
        ui.deviceSelector.setCurrentIndex(max(ui.deviceSelector.findData(self.device), 0))
        entry, here = self.entry(), self.weightsAreHere()
        idle = workbench.state is State.IDLE
        ui.installButton.setVisible(bool(self.missing()) and self._ownPython() is None)
        ui.downloadButton.setVisible(entry is not None and entry.origin is not None and not here)
        ui.downloadButton.setEnabled(idle and not self.missing())
        ui.loadButton.setVisible(self.canLoad() and workbench.model is None and workbench.state is not State.LOADING)
        ui.readyText.setText(html.escape(self._readyText(entry), quote=False))
        findings = [html.escape(finding.message, quote=False) for finding in workbench.findings]
        ui.findingsText.setVisible(bool(findings))
        ui.findingsText.setText("<br>".join(f"<b>Note:</b> {text}" for text in findings))

    def close(self) -> None:
        """Disconnect, and wait for no answer."""
        self._check.close()
        super().close()

    def _readyText(self, entry: WeightsEntry | None) -> str:
        """One line: what is ready and where, or what to do first."""
        workbench, model = self.workbench, self.workbench.model
        if self.missing():
            return f"Not ready: the packages {', '.join(self.missing())} are not installed. {self.howToInstall()}"
        if entry is None:
            return f"Not ready: the weights {self.weights} are gone. Choose others."
        if not self.weightsAreHere():
            return f"Not ready: {entry.title} is not on this computer. {entry.description}"
        if workbench.state is State.LOADING:
            return f"Loading {entry.title}..."
        if model is None:
            return f"{entry.title}: loaded when it is first needed. {entry.description}"
        slow = " A GPU would be much faster." if str(model.device) == "cpu" and not model.demonstration else ""
        only = "" if model.interactive else " It knows no points: automatic segmentation only."
        note = f" {model.note[0].upper()}{model.note[1:]}." if model.note else ""
        demonstration = " For trying things out, not for results." if model.demonstration else ""
        return f"Ready: {model.title} on {model.device_description}.{demonstration}{slow}{only}{note}"

    def _onDownloaded(self, _path: str) -> None:
        with self.usable():
            self.lookAgain()
            if self._downloading == self.weights:
                self.loadIfPossible()

    def _fillModels(self) -> None:
        """The catalogue, and the file that was chosen last."""
        selector = self.ui.modelSelector
        selector.clear()
        catalogue = WeightsCatalogue.load()
        for entry in catalogue:
            selector.addItem(entry.title, entry.id)
        if self.weights not in catalogue.ids and self.entry() is not None:
            selector.addItem(self.entry().title, self.weights)  # type: ignore[union-attr]
        selector.setCurrentIndex(selector.findData(self.weights))

    def _fillDevices(self, devices: dict[str, str]) -> None:
        selector = self.ui.deviceSelector
        selector.clear()
        selector.addItem("Automatic", "auto")
        for name, description in devices.items():
            selector.addItem(description if name == "cpu" else f"{name}: {description}", name)
        if selector.findData(self.device) < 0:
            selector.addItem(self.device, self.device)
        selector.setCurrentIndex(selector.findData(self.device))


def isHere(entry: WeightsEntry) -> bool:
    """Whether weights lie on this computer. The built-in ones do, whatever their file is."""
    if entry.origin is None:
        return entry.seed is not None or (entry.path is not None and entry.path.is_file())
    try:
        return bool(is_downloaded(entry))
    except VISTA3DError:  # without the hub's package nothing was ever downloaded
        return False


def askForLicence(entry: WeightsEntry) -> bool:
    """Show the licence of some weights; True when the person accepts it."""
    licence, size = entry.licence, "" if entry.size is None else f" ({entry.size / 1e6:.0f} MB)"
    text = (
        f"{entry.title}{size} is under the licence: {licence.name}\n\n{licence.summary}\n\n{licence.url}\n\n"
        "Do you accept this licence and want to download the weights?"
    )
    return bool(slicer.util.confirmYesNoDisplay(text, windowTitle="Licence of the weights"))


def shownVolume(scene: Any) -> Any:
    """The scalar volume in the background of a slice view, else the only one in the scene, else None."""
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        composite = scene.GetNthNodeByClass(index, "vtkMRMLSliceCompositeNode")
        identifier = composite.GetBackgroundVolumeID()
        node = scene.GetNodeByID(identifier) if identifier else None
        if node is not None and node.GetClassName() == "vtkMRMLScalarVolumeNode":
            return node
    if scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1:
        return scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    return None
