"""Labels at the CT's own resolution: features are interpolated to the CT's grid before they are classified.

The reference classifies on the model's grid and copies the nearest label, which leaves steps of the model's spacing on
a finer CT. Interpolation and the class table are both linear, so interpolated features give interpolated logits, and
the border between two classes lies where they are equal. Not what the reference does, so optional.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from VISTA3DLib.automatic import FeatureSlab
from VISTA3DLib.geometry import AxisMap, Box, Grid, Index3, axis_maps, nearest_index
from VISTA3DLib.labelling import ClassTable, unpack_masks
from VISTA3DLib.preprocess import covering_box
from VISTA3DLib.resample import interpolated_slabs, lerp_axis, linear_taps, resample_nearest


class SmoothReader:
    """Classifies on the volume's grid while slabs of model features stream by.

    ``region`` is the box of model voxels that the features cover; volume voxels whose nearest model voxel lies outside
    it stay background. Needs separable grids (``axis_maps`` is not None); sheared ones take ``classify_sheared``.
    """

    def __init__(self, table: ClassTable, volume: Grid, model: Grid, region: Box, *, overlapping: bool) -> None:
        maps = axis_maps(volume, model)
        if maps is None:
            raise ValueError("The grids are sheared to each other.")
        self._table, self._overlapping = table, overlapping
        self._axes = {m.source: _RegionAxis(axis, m, volume, model, region) for axis, m in enumerate(maps)}
        self._out = _output(table, volume.shape, overlapping)
        self._last: torch.Tensor | None = None  # the plane before the current slab, normalised
        self._next = 0  # planes of the volume that are done, in stream order

    def read(self, slab: FeatureSlab) -> None:
        """Classify every plane of the volume that lies between planes seen so far."""
        stream, *inner = (self._axes[a] for a in slab.axes)
        rows = [linear_taps(a.coordinates, a.count, slab.features.device) for a in inner]
        order = np.argsort(stream.coordinates, kind="stable")
        while self._next < len(order):
            position = stream.coordinates[order[self._next]].clip(0.0, stream.count - 1.0)
            if np.ceil(position) >= slab.stop:
                break
            plane = self._between(slab, float(position))
            plane = lerp_axis(lerp_axis(plane, 1, *rows[0]), 2, *rows[1])
            self._write(int(order[self._next]), stream, inner, plane)
            self._next += 1
        self._last = _plane(slab, slab.stop - 1)

    @property
    def labels(self) -> npt.NDArray[Any]:
        """Class ids on the volume's grid (not overlapping)."""
        return self._out

    def masks(self) -> Iterator[tuple[int, Box, npt.NDArray[np.bool_]]]:
        """For each class: its id, the box on the volume's grid, and the mask in it (overlapping)."""
        yield from unpack_masks(self._out, self._table.class_ids)

    def _between(self, slab: FeatureSlab, position: float) -> torch.Tensor:
        low = int(np.floor(position))
        below = _plane(slab, low) if self._last is None or low >= slab.start else self._last
        weight = position - low
        return below if weight == 0.0 else torch.lerp(below, _plane(slab, low + 1), weight)

    def _write(self, index: int, stream: _RegionAxis, inner: list[_RegionAxis], plane: torch.Tensor) -> None:
        values = self._table.bits(plane) if self._overlapping else self._table.labels(plane)
        lead = 1 if self._overlapping else 0
        where: list[Any] = [slice(None)] * (3 + lead)
        where[stream.volume_axis + lead] = stream.first + index
        for axis in inner:
            where[axis.volume_axis + lead] = slice(axis.first, axis.first + len(axis.coordinates))
        if inner[0].volume_axis > inner[1].volume_axis:
            values = values.swapaxes(lead, lead + 1)
        self._out[tuple(where)] = values


class _RegionAxis:
    """One model axis inside the region, seen from the volume: which volume indices lie on it, and where."""

    def __init__(self, volume_axis: int, axis_map: AxisMap, volume: Grid, model: Grid, region: Box) -> None:
        axis = axis_map.source
        everywhere = axis_map.coordinates(0, volume.shape[volume_axis])
        nearest = nearest_index(everywhere).clip(0, model.shape[axis] - 1)
        inside = np.flatnonzero((nearest >= region.start[axis]) & (nearest < region.stop[axis]))
        self.volume_axis = volume_axis
        self.count = region.shape[axis]
        self.first = int(inside[0]) if inside.size else 0
        self.coordinates = everywhere[inside] - region.start[axis]


def classify_sheared(
    table: ClassTable,
    features: Callable[[Box], torch.Tensor],
    volume: Grid,
    model: Grid,
    region: Box,
    *,
    overlapping: bool,
) -> npt.NDArray[Any]:
    """Labels (or packed bits) on a volume whose axes are sheared to the model's.

    ``features`` hands out the normalised features (C, *box.shape) of a box inside ``region``.
    """
    out = _output(table, volume.shape, overlapping)
    grid = model.cropped(region)
    covered = covering_box(grid.box, grid, volume)
    target = volume.cropped(covered)
    view = out[(..., *covered.slices)]
    for start, stop, values in interpolated_slabs(features, grid, target, torch.float32):
        if overlapping:
            view[:, start:stop] = table.bits(values)
        else:
            view[start:stop] = table.labels(values)
    known = resample_nearest(np.ones(region.shape, dtype=bool), model, target, inside=region)
    view[..., ~known] = 0
    return out


def _plane(slab: FeatureSlab, index: int) -> torch.Tensor:
    n = index - slab.start
    return slab.features[:, n].float() / slab.weights[n].float()


def _output(table: ClassTable, shape: Index3, overlapping: bool) -> npt.NDArray[Any]:
    if overlapping:
        return np.zeros((-(-len(table.class_ids) // 8), *shape), dtype=np.uint8)
    return np.zeros(shape, dtype=table.dtype)
