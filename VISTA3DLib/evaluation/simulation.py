"""A simulated person who clicks honestly: where the object is deepest, then where the result is most wrong.

The rule of the CVPR-2025 challenge on interactive segmentation (spec 7.6), with distances in millimetres and without
chance: the first click lies at the object's deepest voxel. Each further one lies at the deepest voxel of the largest
26-connected component of the error, positive if the object is missing there, negative if there is too much. Equal
components and equal depths are decided by the order of the array.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from VISTA3DLib.components import largest_component
from VISTA3DLib.evaluation.masks import BoxedMask
from VISTA3DLib.geometry import Box, Grid, Index3
from VISTA3DLib.prompts import Point
from VISTA3DLib.results import BoolArray
from VISTA3DLib.training.validation import deepest_voxel


@dataclass(frozen=True, kw_only=True)
class Click:
    """A click on a voxel of the volume's grid."""

    index: Index3
    positive: bool = True

    def on(self, grid: Grid) -> Point:
        """The click as a point in the world."""
        r, a, s = grid.to_world(self.index)
        return Point(ras=(float(r), float(a), float(s)), positive=self.positive)


def first_click(truth: BoxedMask, spacing: Sequence[float]) -> Click | None:
    """A positive click at the object's deepest voxel; None for an object without voxels. ``spacing`` in mm."""
    return Click(index=_deepest(truth.mask, truth.box, spacing)) if truth.voxels else None


def next_click(
    truth: BoxedMask, predicted: BoxedMask, spacing: Sequence[float], before: Iterable[Click] = ()
) -> Click | None:
    """The click that corrects the largest error of ``predicted``; None if there is nothing left to click on.

    Voxels that were clicked ``before`` and are still wrong count as no error: a person whose click had no effect
    clicks elsewhere in the error, and would otherwise repeat the same click for ever.
    """
    box = truth.box | predicted.box
    wanted = truth.cut(box)
    error = wanted ^ predicted.cut(box)
    for click in before:
        if box.contains(click.index):
            error[tuple(v - a for v, a in zip(click.index, box.start, strict=True))] = False
    largest = largest_component(error)
    inner = Box.of_mask(largest)
    if not inner.size:
        return None
    index = _deepest(largest[inner.slices], inner.shifted(box.start), spacing)
    local = tuple(v - a for v, a in zip(index, box.start, strict=True))
    return Click(index=index, positive=bool(wanted[local]))


def _deepest(mask: BoolArray, box: Box, spacing: Sequence[float]) -> Index3:
    """Deepest voxel of a mask that touches all sides of its box (so nothing of it lies beyond)."""
    i, j, k = (v + a for v, a in zip(deepest_voxel(mask, spacing), box.start, strict=True))
    return i, j, k
