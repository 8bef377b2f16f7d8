"""Takes the pictures of the panel: ``python Testing/host/screenshots.py CT FOLDER [--segments FILE --labels FILE]``.

Opens a CT on the host, clicks and runs as a person does, and writes PNG files of the window. The real segmentation
process runs. With ``--segments`` (a label map on the CT's grid) and ``--labels`` (JSON: label -> name) the pictures of
points show segments that came from that file, with points that wait; without, what the chosen model answers.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("OMP_NUM_THREADS", "2")
ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "VISTA3D", ROOT / "Testing" / "host"):
    sys.path.insert(0, str(folder))

import boot  # noqa: E402 - after the paths
import numpy as np  # noqa: E402
import opening  # noqa: E402
import slicer  # noqa: E402
from PIL import Image  # noqa: E402
from PySide6.QtCore import QSettings, Qt  # noqa: E402
from PySide6.QtTest import QTest  # noqa: E402

SECONDS = 900.0
SECTIONS = (
    "setupButton", "segmentsButton", "pointsButton", "automaticButton", "finetuneButton", "evaluateButton",
    "settingsButton",
)  # fmt: skip
Point = tuple[float, float, float]


class Photographer:
    """One CT, one panel, pictures of it."""

    def __init__(self, ct: Path, folder: Path, python: str) -> None:
        self.folder = folder
        self.host = boot.the_host()
        QSettings().setValue("VISTA3D/Python", python or sys.executable)
        self.volume = load_volume(ct)
        slicer.util.setSliceViewerLayers(background=self.volume)
        self.widget = opening.open_widget(self.host)
        self.panel = self.widget.panel
        slicer.util.resetSliceViews()
        self.wait(lambda: self.panel.workbench.model is not None and not self.panel.workbench.busy)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until something holds."""
        self.host.process(condition, SECONDS)

    def idle(self) -> None:
        """Until nothing runs."""
        workbench = self.panel.workbench
        self.wait(lambda: not workbench.busy and (workbench.preview is not None or not workbench.points_pending))

    def show(self, *names: str) -> None:
        """Open these sections and close the others."""
        for name in SECTIONS:
            getattr(self.panel.ui, name).collapsed = name not in names
        self.host.process()

    def picture(self, name: str) -> None:
        """Write a picture of the window."""
        for _ in range(3):
            self.host.process()
        path = self.folder / f"{name}.png"
        self.host.window.grab().save(str(path))
        with Image.open(path) as picture:
            small = picture.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        small.save(path, optimize=True)

    def click(self, ras: Point, positive: bool = True, *, wait: bool = True) -> None:
        """A click in the axial view."""
        view = self.host.views["Red"]
        for each in self.host.views.values():
            each.jump_to(ras)
        button = self.panel.ui.addPointButton if positive else self.panel.ui.removePointButton
        if not button.checked:
            button.click()
        self.host.process()
        pixel = view.pixel_of(ras)
        QTest.mouseMove(view, pixel)
        QTest.mouseClick(view, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, pixel)
        view.interactor.InvokeEvent("LeaveEvent")
        self.host.process()
        if wait:
            self.idle()

    def close(self) -> None:
        """Leave nothing behind."""
        opening.close_widget(self.host, self.widget)
        boot.close_the_host()


def load_volume(path: Path) -> Any:
    """A CT file as a volume node."""
    from VISTA3DLib.files.read import read_volume

    ct = read_volume(path)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(np.asarray(ct.array).transpose(2, 1, 0)))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(ct.affine))
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(400, 40)
    return node


def load_segments(path: Path, labels: Path) -> Any:
    """A label map with names as a segmentation node, in the colours of the class catalogue."""
    from VISTA3DLib.classes import ClassCatalogue
    from VISTA3DLib.files.read import read_volume

    catalogue = ClassCatalogue.load()
    image = read_volume(path)
    names = {int(key): value for key, value in json.loads(labels.read_text(encoding="utf-8")).items()}
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "From a file")
    node.CreateDefaultDisplayNodes()
    volume = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    values = np.asarray(image.array).transpose(2, 1, 0)
    for label in sorted(int(v) for v in np.unique(values) if v):
        text = names[label]["name"] if isinstance(names[label], dict) else str(names[label])
        color = [c / 255.0 for c in catalogue[label].color] if label in catalogue else [0.7, 0.7, 0.7]
        segment_id = node.GetSegmentation().AddEmptySegment("", text, color)
        mask = np.ascontiguousarray(values == label).astype(np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segment_id, volume)
    return node


def take_segments_of_a_file(camera: Photographer, node: Any, plus: Point, minus: Point) -> None:
    """Points on a segment that came from a file; they wait for *Run points*."""
    ui, workbench = camera.panel.ui, camera.panel.workbench
    ui.segmentationSelector.setCurrentNode(node)
    workbench.select_segment(workbench.segments[0].id)
    ui.liveCheckBox.checked = False
    camera.show("segmentsButton", "pointsButton")
    camera.click(plus, wait=False)
    camera.click(minus, positive=False, wait=False)
    camera.picture("points")


def take_answers_of_the_model(camera: Photographer, plus: Point, minus: Point) -> None:
    """An automatic run, a click, and a repair that waits as a preview."""
    ui = camera.panel.ui
    ui.runButton.click()
    camera.idle()
    camera.show("segmentsButton", "pointsButton")
    camera.picture("segments")
    ui.classSelector.setCurrentIndex(ui.classSelector.findText("liver"))
    ui.newSegmentButton.click()
    camera.click(plus)
    camera.picture("points")
    ui.previewCheckBox.checked = True
    camera.click(minus, positive=False)
    camera.picture("preview")
    ui.previewCheckBox.checked = False


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ct", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="", help="the program that runs the network; this Python if not given")
    parser.add_argument("--segments", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--plus", type=float, nargs=3, default=(80.0, 152.0, 427.0), help="a point in the liver, RAS")
    parser.add_argument("--minus", type=float, nargs=3, default=(80.0, 100.0, 427.0), help="a point beside it, RAS")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    plus, minus = tuple(arguments.plus), tuple(arguments.minus)
    camera = Photographer(arguments.ct, arguments.folder, arguments.python)
    try:
        camera.show("setupButton", "segmentsButton", "pointsButton")
        camera.picture("start")
        camera.show("automaticButton")
        camera.panel.automatic.tree.choose(camera.panel.automatic.catalogue().sets["organs"])
        camera.panel.automatic.onChoiceChanged()
        camera.panel.ui.classTree.topLevelItem(0).setExpanded(True)
        camera.wait(lambda: bool(camera.panel.ui.estimateText.text))
        camera.picture("automatic")
        if arguments.segments is not None:
            node = load_segments(arguments.segments, arguments.labels)
            take_segments_of_a_file(camera, node, plus, minus)
        else:
            take_answers_of_the_model(camera, plus, minus)
        camera.show("finetuneButton")
        camera.picture("finetune")
        camera.panel.ui.pythonEdit.text = ""  # as on a computer where nothing was set
        camera.show("settingsButton")
        camera.picture("settings")
    finally:
        camera.close()


if __name__ == "__main__":
    main()
