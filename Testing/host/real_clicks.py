"""A person's mouse, without the person: real X11 clicks into the panel and a slice view.

``xvfb-run python Testing/host/real_clicks.py FOLDER``. Presses *Add (+)*, clicks into the axial view, presses *Undo*,
all by ``xdotool``; exits with 0 when the point was where the cursor was, a segment came of it, and undo took both away.
FOLDER gets the program of the fast segmentation process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ["QT_QPA_PLATFORM"] = "xcb"
ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "VISTA3D", ROOT / "Testing" / "host", ROOT / "Testing" / "in_slicer"):
    sys.path.insert(0, str(folder))

import boot  # noqa: E402 - after the paths
import numpy as np  # noqa: E402
import opening  # noqa: E402
import wrap  # noqa: E402
from PySide6.QtCore import QPoint, QSettings  # noqa: E402
from PySide6.QtWidgets import QWidget  # noqa: E402


def click(host: Any, widget: QWidget, place: QPoint) -> None:
    """Move the real cursor over a widget, wait until the layout has come to rest under it, and click."""
    aimed = None
    while aimed != (point := widget.mapToGlobal(place)):
        aimed = point
        for x in (point.x() - 3, point.x()):
            run(host, ["xdotool", "mousemove", str(x), str(point.y())])
        rest = time.monotonic() + 0.3
        while time.monotonic() < rest:
            host.process()
    run(host, ["xdotool", "click", "1"])


def run(host: Any, command: list[str]) -> None:
    """Run a program while the event loop goes on."""
    process = subprocess.Popen(command)
    host.process(lambda: process.poll() is not None)
    assert process.returncode == 0, command
    for _ in range(10):
        host.process()


def main() -> None:
    """Do what the module's text says; AssertionError when something is not as it should be."""
    host = boot.the_host()
    import slicer
    from vista3d_case import fastPython, makeVolume

    QSettings().setValue("VISTA3D/Python", fastPython(Path(sys.argv[1])))
    host.window.move(0, 0)
    volume = makeVolume()
    slicer.util.setSliceViewerLayers(background=volume)
    widget = opening.open_widget(host)
    slicer.util.resetSliceViews()
    panel, view = widget.panel, host.views["Red"]
    host.process(lambda: panel.workbench.model is not None and not panel.workbench.busy)
    add, undo = (wrap.unwrap(button) for button in (panel.ui.addPointButton, panel.ui.undoButton))
    host.panel_area.ensureWidgetVisible(add)
    host.process()
    click(host, add, add.rect().center())
    host.process(lambda: panel.ui.addPointButton.checked)
    pixel = QPoint(view.width() // 2 + 9, view.height() // 2 - 14)
    click(host, view, pixel)
    host.process(lambda: panel.workbench.points and not panel.workbench.points_pending)
    distance = np.linalg.norm(np.subtract(panel.workbench.points[0].ras, view.ras_of(pixel)))
    assert distance < 0.5, f"the point lies {distance} mm from the cursor"
    assert panel.workbench.volume_ml(panel.workbench.selected) > 0.0
    host.panel_area.ensureWidgetVisible(undo)
    host.process()
    click(host, undo, undo.rect().center())
    host.process(lambda: not panel.workbench.points)
    assert not wrap.failures, wrap.failures
    opening.close_widget(host, widget)
    boot.close_the_host()


if __name__ == "__main__":
    main()
