"""What the tests inside Slicer share: a small CT, waiting with a running event loop, and a fast segmentation process.

Nothing here needs more than Slicer and the module: no network, no PyTorch, no main window. With the variable
``VISTA3D_TEST_PYTHON`` set to a Python that has PyTorch (or to ``PythonSlicer`` after the packages were installed) the
real process and network run instead. Where no process can be started (Windows without that variable, a Slicer without
a Python program) the tests are skipped and say why. No wait is longer than ``VISTA3D_TEST_SECONDS``.
"""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
import unittest
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import qt
import slicer

HERE = Path(__file__).resolve().parent
VARIABLES = ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
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


def slicersPython() -> Path:
    """Slicer's own Python program, else any."""
    from VISTA3DWidgets.workerEnvironment import findPython

    from VISTA3DLib.errors import SettingsError

    try:
        return Path(findPython(""))
    except SettingsError:
        return Path(shutil.which("python3") or "python3")


def variables(python: Path) -> dict[str, str]:
    """What the module tells this Python about where its packages and libraries are."""
    from VISTA3DWidgets.workerEnvironment import workerEnvironment

    environment = workerEnvironment(python)
    return {name: str(environment.value(name)) for name in VARIABLES if environment.value(name)}


@functools.cache
def checkedPython() -> Path:
    """A Python with NumPy; skips the test where none can be started."""
    if os.name == "nt":
        raise unittest.SkipTest("needs a shell: set VISTA3D_TEST_PYTHON to a Python with PyTorch")
    python = slicersPython()
    command, environment = [str(python), "-c", "import numpy"], {**os.environ, **variables(python)}
    try:
        tried = subprocess.run(command, env=environment, capture_output=True, timeout=WORKER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise unittest.SkipTest(f"{python} cannot be started: {error}") from error
    if tried.returncode != 0:
        raise unittest.SkipTest(f"{python} does not find NumPy: {tried.stderr.decode(errors='replace')[-300:]}")
    return python


def fastPython(folder: Path) -> str:
    """A program, written to a folder, that runs the worker of the tests in place of the real one."""
    python = checkedPython()
    program = folder / "fast-worker"
    lines = [
        "#!/bin/sh",
        'if [ "$1" = "-c" ]; then echo "[]"; exit; fi',  # which packages are missing: none
        *(f"export {name}={shlex.quote(value)}" for name, value in variables(python).items()),
        "for folder; do :; done",  # the last argument
        f'exec {shlex.quote(str(python))} -u {shlex.quote(str(HERE / "numpy_worker.py"))} "$folder"',
    ]
    program.write_text("\n".join(lines) + "\n", encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


class VISTA3DCase(unittest.TestCase):
    """One test: an empty scene, the module opened, a CT chosen; afterwards the module is left and all is as before."""

    seen: ClassVar[Callable[[], Any]] = staticmethod(lambda: None)  # the panel of the last test, while it is there

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="vista3d-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.failures: list[str] = []
        python = os.environ.get("VISTA3D_TEST_PYTHON", "") or fastPython(self.folder)
        self._set({"Python": python, "Model": "vista3d-mini", "Live": None, "Preview": None})
        slicer.mrmlScene.Clear(0)
        self.widget = slicer.util.getModuleWidget("VISTA3D")
        self.panel = self.widget.panel
        self._useDefaults(self.panel.workbench)
        self._endOtherProcess(self.panel)
        self.panel.setup.lookAgain()
        self.volume = makeVolume()
        slicer.util.setSliceViewerLayers(background=self.volume)
        self.widget.enter()
        self.workbench = self.panel.workbench
        self.workbench.failed.connect(self._onFailed)

    def tearDown(self) -> None:
        self.workbench.failed.disconnect(self._onFailed)
        self.workbench.cancel()
        self.widget.exit()
        slicer.mrmlScene.Clear(0)
        if getattr(self.widget.parent, "isEntered", False):  # a person runs the tests from the open module
            self.widget.enter()

    def waitUntilIdle(self) -> None:
        """Until the segmentation process has answered everything; an answer may wait as a preview."""
        waitFor(lambda: bool(self.failures) or self._answered())
        assert not self.failures, self.failures

    def _answered(self) -> bool:
        workbench = self.workbench
        return not workbench.busy and (workbench.preview is not None or not workbench.points_pending)

    def _onFailed(self, kind: str, message: str, fix: str) -> None:
        self.failures.append(f"{kind}: {message} {fix}")

    def _useDefaults(self, workbench: Any) -> None:
        """What a person may have switched on in the panel is off, and on again after the test."""
        from VISTA3DScene.overwrite import Overwrite

        defaults = {"live": True, "preview_enabled": False, "smooth": False, "policy": Overwrite.KEEP_OTHERS}
        for name, value in defaults.items():
            self.addCleanup(setattr, workbench, name, getattr(workbench, name))
            setattr(workbench, name, value)

    def _endOtherProcess(self, panel: Any) -> None:
        """A panel that was there before the tests may have the real process: it is replaced by that of the tests."""
        if VISTA3DCase.seen() is not panel:
            VISTA3DCase.seen = weakref.ref(panel)
            panel.transport.kill()

    def _set(self, values: dict[str, str | None]) -> None:
        """Write settings (None: remove); the person's own come back after the test."""
        settings = qt.QSettings()
        for name, value in values.items():
            key = f"VISTA3D/{name}"
            if settings.contains(key):
                self.addCleanup(settings.setValue, key, settings.value(key))
            else:
                self.addCleanup(settings.remove, key)
            if value is None:
                settings.remove(key)
            else:
                settings.setValue(key, value)
