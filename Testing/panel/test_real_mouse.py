"""The panel under a real X server, with real mouse clicks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

SCRIPT = Path(__file__).resolve().parents[1] / "host" / "real_clicks.py"


def test_clicks_of_xdotool_make_a_segment_and_undo_it(tmp_path: Path) -> None:
    for program in ("xvfb-run", "xdotool"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    command = ["xvfb-run", "-a", "-s", "-screen 0 1400x1000x24", sys.executable, str(SCRIPT), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    if "could not load the Qt platform plugin" in done.stderr.lower():
        pytest.skip("Qt's plugin for X11 cannot be loaded here")
    assert done.returncode == 0, done.stderr[-3000:]
