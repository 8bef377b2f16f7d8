"""Which Python runs the segmentation process, and in which environment."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import qt
import slicer

import VISTA3DLib
from VISTA3DLib.errors import SettingsError

LIBRARY_ROOT = Path(VISTA3DLib.__file__).resolve().parent.parent


def findPython(chosen: str) -> Path:
    """The program to start: the person's choice, else Slicer's own Python.

    Raises ``SettingsError`` when there is none.
    """
    if chosen:
        found = shutil.which(chosen)
        if found is None:
            raise SettingsError(f"There is no Python program '{chosen}'.", "Correct or empty it in the settings.")
        return Path(found)
    onPath = shutil.which("PythonSlicer")
    beside = Path(slicer.app.slicerHome) / "bin" / ("PythonSlicer.exe" if os.name == "nt" else "PythonSlicer")
    if onPath is not None:
        return Path(onPath)
    for python in (beside, interpreter()):
        if python.is_file():
            return python
    raise SettingsError(
        f"Slicer's Python was found neither on PATH nor at {beside}.", "Name a Python program in the settings."
    )


def interpreter() -> Path:
    """Where the interpreter of the Python inside Slicer would be: a Slicer that was built without its launcher has no
    other program."""
    prefix = Path(sys.base_prefix)
    if os.name == "nt":
        return prefix / "python.exe"
    return prefix / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"


def isSlicersOwn(python: Path) -> bool:
    """Whether packages that are installed in Slicer are there for this Python."""
    return python.name.startswith("PythonSlicer") or python == interpreter()


def workerEnvironment(python: Path) -> qt.QProcessEnvironment:
    """The variables of the process: the library on ``PYTHONPATH``, and for a foreign Python nothing of Slicer's.

    The bare interpreter is told where the Python inside Slicer finds its packages; the launcher knows. Modules are
    never taken from the folder that Slicer was started in.
    """
    if isSlicersOwn(python):
        environment = qt.QProcessEnvironment.systemEnvironment()
        before = sys.path if python == interpreter() else [environment.value("PYTHONPATH")]
        parts = [str(LIBRARY_ROOT), *(part for part in before if part)]
        environment.insert("PYTHONPATH", os.pathsep.join(parts))
    else:
        environment = slicer.app.startupEnvironment()
        environment.insert("PYTHONPATH", str(LIBRARY_ROOT))
        environment.remove("PYTHONHOME")
    environment.insert("PYTHONSAFEPATH", "1")
    return environment
