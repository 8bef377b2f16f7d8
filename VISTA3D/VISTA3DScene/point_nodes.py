"""The two point lists in the views: the positive and the negative points of the selected segment.

A person places, drags and deletes control points in them by Slicer's own means. The lists only mirror the prompts of
the segment, so they are not saved with the scene.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import slicer

from VISTA3DLib.geometry import Vector3
from VISTA3DScene.signals import Observers, remove_from_scene

_SAME_MM = 1e-6
_DEFINED = 2  # vtkMRMLMarkupsNode.PositionDefined; in place mode the point under the cursor is a preview
_LOOK = {True: ("VISTA3D +", (0.15, 0.85, 0.35)), False: ("VISTA3D -", (0.95, 0.25, 0.2))}


@dataclass(frozen=True, kw_only=True)
class ShownPoint:
    """A defined control point: world RAS, sign, and the number of the point that it mirrors (None: it is new)."""

    ras: Vector3
    positive: bool
    number: int | None


class PointNodes:
    """Owns the two nodes. ``edited`` is called when somebody else changed them (often: it must be quick)."""

    def __init__(self, scene: Any, edited: Callable[[], None]) -> None:
        self._scene, self._edited = scene, edited
        self._observers = Observers()
        self._nodes: dict[bool, Any] = {}
        self._numbers: dict[tuple[bool, str], int] = {}
        self._showing = self._dragging = False
        self.open()

    @property
    def positive(self) -> Any:
        """The node of the positive points; None while the scene is being closed."""
        return self._nodes.get(True)

    @property
    def negative(self) -> Any:
        """The node of the negative points; None while the scene is being closed."""
        return self._nodes.get(False)

    @property
    def dragging(self) -> bool:
        """Whether a person holds a point."""
        return self._dragging

    @property
    def there(self) -> bool:
        """Whether both nodes are in the scene."""
        return all(self._present(sign) for sign in (True, False))

    def owns(self, node: Any) -> bool:
        """Whether a node is one of the two."""
        return any(node is own for own in self._nodes.values())

    def open(self) -> None:
        """Make the nodes again, those that are not in the scene (after it was closed, or when one was deleted)."""
        if self.there:
            return
        self._observers.close()
        self._numbers.clear()
        self._dragging = False
        for sign in (True, False):
            if not self._present(sign):
                self._nodes[sign] = self._made(sign)
            self._observe(self._nodes[sign])

    def forget(self) -> None:
        """Let go of the nodes: the scene is being closed."""
        self._observers.close()
        self._numbers.clear()
        self._nodes.clear()

    def close(self) -> None:
        """Remove the nodes from the scene."""
        nodes = list(self._nodes.values())
        self.forget()
        for node in nodes:
            remove_from_scene(self._scene, node)

    def show(self, points: Sequence[tuple[Vector3, bool]]) -> None:
        """Make the nodes show these points; control points that a person is placing are left alone."""
        self._showing = True
        try:
            self._numbers.clear()
            for sign in (True, False):
                wanted = [(n, ras) for n, (ras, positive) in enumerate(points) if positive is sign]
                self._fill(sign, wanted)
        finally:
            self._showing = False

    def read(self) -> list[ShownPoint]:
        """What the nodes hold now: points that mirror prompts in the order of these, then new ones."""
        found = []
        for sign, node in self._nodes.items():
            for n in _defined(node):
                number = self._numbers.get((sign, str(node.GetNthControlPointID(n))))
                found.append(ShownPoint(ras=_world(node, n), positive=sign, number=number))
        return sorted(found, key=lambda p: math.inf if p.number is None else p.number)

    def _present(self, sign: bool) -> bool:
        node = self._nodes.get(sign)
        return node is not None and node.GetScene() is self._scene

    def _made(self, sign: bool) -> Any:
        name, color = _LOOK[sign]
        node = slicer.vtkMRMLMarkupsFiducialNode()
        node.SetName(name)
        node.SetSaveWithScene(False)
        node.SetControlPointLabelFormat("%d")
        self._scene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        if display is not None:
            display.SetSaveWithScene(False)
            for paint in (display.SetColor, display.SetSelectedColor, display.SetActiveColor):
                paint(*color)
            display.SetGlyphScale(2.0)
            display.SetTextScale(2.5)
        return node

    def _observe(self, node: Any) -> None:
        for event in (
            node.PointPositionDefinedEvent,
            node.PointPositionUndefinedEvent,
            node.PointRemovedEvent,
            node.PointModifiedEvent,
        ):
            self._observers.add(node, event, self._changed)
        self._observers.add(node, node.PointStartInteractionEvent, self._drag_started)
        self._observers.add(node, node.PointEndInteractionEvent, self._drag_ended)

    def _changed(self, _node: Any, _event: str) -> None:
        if not self._showing and not self._dragging:
            self._edited()

    def _drag_started(self, _node: Any, _event: str) -> None:
        self._dragging = True

    def _drag_ended(self, _node: Any, _event: str) -> None:
        self._dragging = False
        self._edited()

    def _fill(self, sign: bool, wanted: list[tuple[int, Vector3]]) -> None:
        node = self._nodes[sign]
        there = _defined(node)
        for n in reversed(there[len(wanted) :]):
            node.RemoveNthControlPoint(n)
        for n, (_, ras) in zip(there, wanted, strict=False):
            if math.dist(_world(node, n), ras) > _SAME_MM:
                node.SetNthControlPointPositionWorld(n, *ras)
        for _, ras in wanted[len(there) :]:
            node.AddControlPointWorld(*ras)
        for n, (number, _) in zip(_defined(node), wanted, strict=True):
            self._numbers[sign, str(node.GetNthControlPointID(n))] = number
            if node.GetNthControlPointLabel(n) != str(number + 1):
                node.SetNthControlPointLabel(n, str(number + 1))


def _defined(node: Any) -> list[int]:
    return [n for n in range(node.GetNumberOfControlPoints()) if node.GetNthControlPointPositionStatus(n) == _DEFINED]


def _world(node: Any, n: int) -> Vector3:
    r, a, s = node.GetNthControlPointPositionWorld(n)
    return r, a, s
