"""The region of interest of automatic runs: a box in the views that a person drags, or types in mm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
from VISTA3DScene.frames import to_world, volume_grid
from VISTA3DScene.signals import Observers
from VISTA3DScene.volumes import roi_corners

from VISTA3DWeb.volume_nodes import remove_node

_COLOR = (1.0, 0.78, 0.2)
_START = 0.5  # of the CT along each axis
_LEAST_MM = 1.0


class Region:
    """A box along the axes of the patient, at most one. ``changed`` is called when it comes, goes or is dragged."""

    def __init__(self, scene: Any, changed: Callable[[], None]) -> None:
        self._scene, self._changed = scene, changed
        self._observers = Observers()
        self._node: Any = None

    @property
    def node(self) -> Any:
        """The markups ROI node, or None: a scene that was closed has taken it along."""
        return self._node if self._node is not None and self._node.GetScene() is self._scene else None

    @property
    def bounds(self) -> list[list[float]] | None:
        """From and to (RAS, mm) along each axis; None without a region."""
        corners = None if self.node is None else roi_corners(self.node)
        if corners is None:
            return None
        return [[round(float(low), 1), round(float(high), 1)] for low, high in zip(*_ends(corners), strict=True)]

    def show(self, volume: Any) -> None:
        """Begin with a box in the middle of a volume."""
        self.remove()
        grid = volume_grid(volume)
        middle, half = (np.array(grid.shape) - 1) / 2, _START * np.array(grid.shape) / 2
        index = middle + half * (2 * np.array(list(np.ndindex(2, 2, 2))) - 1)
        points = np.array([to_world(volume, (float(r), float(a), float(s))) for r, a, s in grid.to_world(index)])
        node = slicer.vtkMRMLMarkupsROINode()
        node.SetName("Region")
        node.SetSaveWithScene(False)
        self._scene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetSaveWithScene(False)
        for paint in (display.SetColor, display.SetSelectedColor, display.SetActiveColor):
            paint(*_COLOR)
        display.SetFillOpacity(0.08)
        display.SetPropertiesLabelVisibility(False)
        display.SetHandlesInteractive(True)
        self._node = node
        self._set(*_ends(points))
        self._observers.add(node, node.PointModifiedEvent, lambda *_: self._changed())
        self._changed()

    def set_bound(self, axis: int, end: int, value: float) -> None:
        """Move one face: axis 0 to 2 (R, A, S), end 0 (from) or 1 (to), to a place in mm; it cannot pass the other."""
        corners = None if self.node is None else roi_corners(self.node)
        if corners is None:
            return
        low, high = _ends(corners)
        if end == 0:
            low[axis] = min(value, high[axis] - _LEAST_MM)
        else:
            high[axis] = max(value, low[axis] + _LEAST_MM)
        self._set(low, high)

    def remove(self) -> None:
        """Take the box away."""
        node, self._node = self.node, None
        self._observers.close()
        remove_node(self._scene, node)
        if node is not None:
            self._changed()

    def _set(self, low: Any, high: Any) -> None:
        self._node.SetCenterWorld(*((low + high) / 2))
        self._node.SetSizeWorld(*(high - low))


def _ends(corners: Any) -> tuple[Any, Any]:
    return corners.min(axis=0), corners.max(axis=0)
