"""The table that the person lies on; it stays level in the world however the person leans."""

from __future__ import annotations

import numpy as np

from VISTA3DLib.phantom.appearance import Tissues
from VISTA3DLib.phantom.canvas import Grid, box_points
from VISTA3DLib.phantom.shapes import Array
from VISTA3DLib.phantom.trunk import Trunk

_HALF_WIDTH = 192.0
_HOLLOW = 22.0  # mm by which the table's edges are higher than its middle
# depth below the mattress's surface (mm) at which each layer ends, and its tissue
_LAYERS = ((9.0, "mattress"), (12.0, "table shell"), (34.0, "table core"), (37.0, "table shell"))


def table_height(trunk: Trunk) -> float:
    """World A (mm) of the lowest point of the back, where the mattress is."""
    levels = np.arange(-290.0, 300.0, 10.0)
    back = [trunk.skin.point(degrees, z, 0.0) for z in levels for degrees in (0.0, 15.0, 30.0)]
    both_sides = np.concatenate([back, np.array(back) * [-1, 1, 1]])
    return float(trunk.person.to_world(both_sides)[:, 1].min())


def paint_table(hu: Array, grid: Grid, trunk: Trunk, tissues: Tissues) -> None:
    """Mattress, shell and core; the person is painted over them."""
    height = table_height(trunk) + 1.5
    ends = grid.affine[:3, 3] + box_points((0, 0, 0), np.subtract(grid.shape, 1), 2) @ grid.affine[:3, :3].T
    low, high = ends.min(axis=0), ends.max(axis=0)
    thick = _LAYERS[-1][0]
    where = grid.box(box_points((-_HALF_WIDTH, height - thick, low[2]), (_HALF_WIDTH, height + _HOLLOW, high[2]), 2))
    if where is None:
        return
    x, y = grid.world(0, where), grid.world(1, where)
    depth = np.float32(height) + np.float32(_HOLLOW) * np.square(x / np.float32(_HALF_WIDTH)) - y
    on = np.abs(x) < _HALF_WIDTH
    above = 0.0
    for below, tissue in _LAYERS:
        np.copyto(hu[where], np.float32(tissues[tissue]), where=on & (depth > above) & (depth <= below))
        above = below
