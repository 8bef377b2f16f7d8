"""Draws the icons' PNG files from their SVG sources: ``python Testing/host/draw_icons.py``."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QImage, QPainter
from PySide6.QtSvg import QSvgRenderer

ICONS = Path(__file__).resolve().parents[2] / "VISTA3D" / "Resources" / "Icons"


def draw(source: Path, size: int) -> None:
    """Render one SVG file to a square PNG beside it."""
    image = QImage(size, size, QImage.Format.Format_ARGB32)
    image.fill(Qt.GlobalColor.transparent)
    painter = QPainter(image)
    QSvgRenderer(str(source)).render(painter)
    painter.end()
    if not image.save(str(source.with_suffix(".png"))):
        raise OSError(f"{source.with_suffix('.png')} cannot be written.")


if __name__ == "__main__":
    app = QGuiApplication(["draw_icons", "-platform", "offscreen"])
    for source in sorted(ICONS.glob("*.svg")):
        draw(source, 128 if source.stem == "VISTA3D" else 48)
