"""Stand-ins for Slicer's own widgets: what they share, and the widget that hands its scene on."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget


class Observing:
    """Remembers what is observed, and gives it back when the widget dies."""

    def __init__(self) -> None:
        self._tags: list[tuple[Any, int]] = []

    def observe(self, subject: Any, event: Any, callback: Any, priority: float = 0.0) -> None:
        self._tags.append((subject, subject.AddObserver(event, callback, priority)))

    def forget(self) -> None:
        for subject, tag in self._tags:
            subject.RemoveObserver(tag)
        self._tags.clear()


class qMRMLWidget(QWidget):  # noqa: N801 - the names of the real classes
    """A widget that hands its scene on."""

    sceneSignal = Signal(object)
    signals_by_signature = {"mrmlSceneChanged(vtkMRMLScene*)": "sceneSignal"}  # noqa: RUF012

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.sceneSignal.emit(scene)

    def mrmlScene(self) -> Any:
        return self._scene
