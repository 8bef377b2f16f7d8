"""What the tests inside Slicer share: a small CT, waiting with a running event loop, and a fast segmentation process.

Nothing here needs more than Slicer and the module. With the variable ``VISTA3D_TEST_PYTHON`` set to a Python that has
PyTorch (or to ``PythonSlicer`` after the packages were installed) the real process and network run instead.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any

import numpy as np
import qt
import slicer

HERE = Path(__file__).resolve().parent
WORKER_SECONDS = float(os.environ.get("VISTA3D_TEST_SECONDS", "120"))


def waitFor(condition: Any, seconds: float = WORKER_SECONDS) -> None:
    """Let Slicer work until a condition holds; fails the test when that takes too long."""
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            raise AssertionError("what the test waits for did not happen")
        slicer.app.processEvents()
        time.sleep(0.005)


def makeVolume(name: str = "CT", shape: tuple[int, int, int] = (40, 50, 60)) -> Any:
    """A block of tissue in air, ``shape`` in k, j, i; oblique, anisotropic, off centre."""
    array = np.full(shape, -1000, dtype=np.int16)
    array[5:-5, 8:-8, 6:-6] = 40
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(volume, array)
    volume.SetSpacing(1.5, 2.0, 2.5)
    volume.SetOrigin(20.0, -30.0, 10.0)
    angle = 0.2
    volume.SetIJKToRASDirections(
        -np.cos(angle), np.sin(angle), 0.0, -np.sin(angle), -np.cos(angle), 0.0, 0.0, 0.0, 1.0
    )  # fmt: skip
    volume.CreateDefaultDisplayNodes()
    return volume


def rasOf(volume: Any, ijk: tuple[float, float, float]) -> tuple[float, float, float]:
    """World position of a voxel of a volume without a transform."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    r, a, s, _ = matrix.MultiplyPoint((*ijk, 1.0))
    return r, a, s


def voxelsOf(panel: Any, segmentId: str) -> int:
    """How many voxels a segment has."""
    array = slicer.util.arrayFromSegmentBinaryLabelmap(
        panel.workbench.segmentation, segmentId, panel.workbench.volume
    )  # fmt: skip
    return 0 if array is None else int(np.count_nonzero(array))


def fastPython(folder: Path) -> str:
    """A program, written to a folder, that runs the worker of the tests in place of the real one (not on Windows)."""
    from VISTA3DWidgets.workerEnvironment import LIBRARY_ROOT, findPython

    from VISTA3DLib.errors import SettingsError

    try:
        python = str(findPython(""))
    except SettingsError:  # a Slicer without its launcher: any Python with NumPy will do
        python = shutil.which("python3") or "python3"
    program = folder / "fast-worker"
    lines = [
        "#!/bin/sh",
        f'PYTHONPATH="{LIBRARY_ROOT}"; export PYTHONPATH',
        "for folder; do :; done",  # the last argument
        f'exec "{python}" -u "{HERE / "numpy_worker.py"}" "$folder"',
    ]
    program.write_text("\n".join(lines) + "\n", encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


class VISTA3DCase(unittest.TestCase):
    """One test: an empty scene, the module opened, a CT chosen; afterwards the module is left and all is as before."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="vista3d-test-"))
        self._settings = {key: qt.QSettings().value(f"VISTA3D/{key}", "") for key in ("Python", "Model", "Live")}
        qt.QSettings().setValue("VISTA3D/Python", os.environ.get("VISTA3D_TEST_PYTHON", "") or self._fastPython())
        qt.QSettings().setValue("VISTA3D/Model", "vista3d-mini")
        qt.QSettings().remove("VISTA3D/Live")
        slicer.mrmlScene.Clear(0)
        self.widget = slicer.util.getModuleWidget("VISTA3D")
        self.panel = self.widget.panel
        self.panel.setup.lookAgain()
        self.volume = makeVolume()
        slicer.util.setSliceViewerLayers(background=self.volume)
        self.widget.enter()
        self.workbench = self.panel.workbench

    def tearDown(self) -> None:
        self.workbench.cancel()
        self.widget.exit()
        slicer.mrmlScene.Clear(0)
        for key, value in self._settings.items():
            qt.QSettings().setValue(f"VISTA3D/{key}", value or "")
        shutil.rmtree(self.folder, ignore_errors=True)

    def waitUntilIdle(self) -> None:
        """Until the segmentation process has answered everything; an answer may wait as a preview."""
        workbench = self.workbench
        waitFor(lambda: not workbench.busy and (workbench.preview is not None or not workbench.points_pending))

    def _fastPython(self) -> str:
        if os.name == "nt":
            self.skipTest("set VISTA3D_TEST_PYTHON to a Python with PyTorch")
        return fastPython(self.folder)
