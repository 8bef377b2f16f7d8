"""Takes the pictures of the panel: ``python Testing/host/screenshots.py CT FOLDER [--python PROGRAM]``.

Opens a CT on the host, clicks and runs as a person does, and writes PNG files of the window. The real segmentation
process runs; the pictures show what it answers.
"""

from __future__ import annotations

import argparse
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
from PySide6.QtCore import QSettings, Qt  # noqa: E402
from PySide6.QtTest import QTest  # noqa: E402

SECONDS = 900.0


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
        for name in ("setupButton", "segmentsButton", "pointsButton", "automaticButton", "settingsButton"):
            getattr(self.panel.ui, name).collapsed = name not in names
        self.host.process()

    def picture(self, name: str) -> None:
        """Write a picture of the window."""
        for _ in range(3):
            self.host.process()
        self.host.window.grab().save(str(self.folder / f"{name}.png"))

    def click(self, ras: tuple[float, float, float], positive: bool = True) -> None:
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


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ct", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="")
    parser.add_argument("--liver", type=float, nargs=3, default=(60.0, 0.0, 0.0), help="a point in the liver, RAS")
    arguments = parser.parse_args()
    liver = tuple(arguments.liver)
    camera = Photographer(arguments.ct, arguments.folder, arguments.python)
    try:
        camera.show("setupButton", "segmentsButton", "pointsButton")
        camera.picture("start")
        camera.show("automaticButton")
        camera.panel.automatic.tree.choose(camera.panel.automatic.catalogue().sets["organs"])
        camera.panel.automatic.onChoiceChanged()
        camera.picture("automatic")
        camera.panel.ui.runButton.click()
        camera.idle()
        camera.show("segmentsButton", "pointsButton")
        camera.picture("segments")
        selector = camera.panel.ui.classSelector
        selector.setCurrentIndex(selector.findText("liver"))
        camera.panel.ui.newSegmentButton.click()
        camera.click(liver)
        camera.picture("points")
        camera.panel.ui.previewCheckBox.checked = True
        camera.click((liver[0], liver[1] - 30.0, liver[2]), positive=False)
        camera.picture("preview")
        camera.panel.ui.previewCheckBox.checked = False
        camera.show("settingsButton")
        camera.picture("settings")
    finally:
        camera.close()


if __name__ == "__main__":
    main()
