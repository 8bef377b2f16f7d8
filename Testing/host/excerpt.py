"""Makes ``slicer_api.json`` from two lists of what Python sees in Slicer: ``excerpt.py LIVE WIDGETS``.

LIVE holds ``dir()`` of each class in a running Slicer, WIDGETS what its headers declare (properties, signals, slots).
Only what the module uses is taken, so that a use of anything else fails on the host until somebody has looked it up.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).with_name("slicer_api.json")

QT_CLASSES = (
    "QAction", "QCheckBox", "QComboBox", "QFileDialog", "QFormLayout", "QIcon", "QKeySequence", "QLabel", "QLineEdit",
    "QProcess", "QProcessEnvironment", "QProgressBar", "QPushButton", "QSettings", "QShortcut", "QSlider", "QSpinBox",
    "QTemporaryDir", "QTimer", "QToolButton", "QTreeWidget", "QTreeWidgetItem", "QPlainTextEdit", "QHeaderView",
    "QHBoxLayout", "QVBoxLayout", "QGridLayout", "QDesktopServices", "QUrl", "QSize", "QColor", "QGroupBox",
)  # fmt: skip
WIDGETS = (
    "qMRMLWidget", "qMRMLNodeComboBox", "qMRMLSegmentsTableView", "ctkCollapsibleButton", "ctkSearchBox",
)  # fmt: skip
NAMESPACES = ("QObject", "QWidget", "slicer.app", "slicer.util", "slicer.packaging", "layoutManager")


def excerpt(live: dict[str, Any], headers: dict[str, Any]) -> dict[str, Any]:
    """The members of each class that the module uses: names, and for Slicer's own widgets the declarations."""
    widgets = {}
    for name in WIDGETS:
        declared = headers["classes"][name]
        widgets[name] = {
            "base": declared["base"],
            "members": live["classes"][name],
            "properties": sorted(declared["properties"]),
            "signals": declared["signals"],
            "slots": declared["slots"],
        }
    return {
        "source": "Names that Python sees in a running Slicer 5.13 (Qt 5.15, PythonQt); declarations of its headers.",
        "namespaces": {name: live[name] for name in NAMESPACES},
        "qt": {name: live["qt"][name] for name in QT_CLASSES},
        "widgets": widgets,
    }


def main() -> None:
    """Read the two lists that are named on the command line and write the excerpt."""
    live, headers = (json.loads(Path(argument).read_text(encoding="utf-8")) for argument in sys.argv[1:3])
    lines = json.dumps(excerpt(live, headers), indent=1)
    TARGET.write_text(
        lines.replace('",\n   ', '", ').replace("[\n   ", "[").replace("\n  ]", "]") + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
