"""Overlapping segments in as few label maps as possible, as Slicer keeps them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from VISTA3DLib.files.segments import SegmentToWrite, WrittenSegment, check_segments
from VISTA3DLib.geometry import Box, Grid


@dataclass(frozen=True, kw_only=True, eq=False)
class Placed:
    """A segment (its mask dropped) and the layer that it went to."""

    segment: SegmentToWrite
    layer: int
    voxels: int

    @property
    def written(self) -> WrittenSegment:
        """What to report about it."""
        return WrittenSegment(id=self.segment.id, name=self.segment.name, voxels=self.voxels)


@dataclass(frozen=True, kw_only=True, eq=False)
class Layers:
    """Label maps ``[i, j, k]`` (uint8 or uint16, Fortran order), the segments in them, the ids without a voxel."""

    arrays: tuple[npt.NDArray[Any], ...]
    placed: tuple[Placed, ...]
    empty: tuple[int, ...]

    def extent(self, layer: int) -> Box:
        """The box around all segments of a layer."""
        box = Box(start=(0, 0, 0), stop=(0, 0, 0))
        for placed in self.placed:
            if placed.layer == layer:
                box |= placed.segment.box
        return box


def packed(segments: Iterable[SegmentToWrite], grid: Grid) -> Layers:
    """Put each segment into the first layer where it touches no other; its label value is its id.

    Takes one segment at a time, so that masks made on the way never exist together. There is always one layer.
    """
    arrays = [np.zeros(grid.shape, dtype=np.uint8, order="F")]
    occupied: list[list[Box]] = [[]]
    placed: list[Placed] = []
    empty: list[int] = []
    nothing = Box(start=(0, 0, 0), stop=(0, 0, 0))
    for segment in check_segments(segments, grid):
        voxels = int(np.count_nonzero(segment.mask))
        if not voxels:
            empty.append(segment.id)
            continue
        if segment.id > np.iinfo(arrays[0].dtype).max:
            arrays = [array.astype(np.uint16, order="F") for array in arrays]
        layer = next((n for n in range(len(arrays)) if _fits(arrays[n], occupied[n], segment)), len(arrays))
        if layer == len(arrays):
            arrays.append(np.zeros(grid.shape, dtype=arrays[0].dtype, order="F"))
            occupied.append([])
        np.copyto(arrays[layer][segment.box.slices], segment.id, where=segment.mask)
        occupied[layer].append(segment.box)
        light = replace(segment, mask=np.zeros(nothing.shape, dtype=bool))
        placed.append(Placed(segment=light, layer=layer, voxels=voxels))
    return Layers(arrays=tuple(arrays), placed=tuple(placed), empty=tuple(empty))


def _fits(array: npt.NDArray[Any], boxes: list[Box], segment: SegmentToWrite) -> bool:
    """Whether no voxel of the segment is taken; only where boxes of the layer reach, and there once."""
    reached = Box(start=(0, 0, 0), stop=(0, 0, 0))
    for box in boxes:
        reached |= box & segment.box
    if not reached.size:
        return True
    taken = array[reached.slices] != 0
    return not bool(np.any(taken & segment.mask[reached.shifted(_minus(segment.box)).slices]))


def _minus(box: Box) -> tuple[int, int, int]:
    i, j, k = box.start
    return -i, -j, -k
