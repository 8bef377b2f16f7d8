"""The frame of every way to make supervoxels: what is air, the coarser grid to work on, and the way back from it.

The working grid has blocks of whole voxels, so that going there is a mean over each block and coming back is a
repetition, whatever the orientation or shear of the volume. With blocks of one voxel nothing changes at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from VISTA3DLib.components import largest_component
from VISTA3DLib.errors import VolumeError
from VISTA3DLib.geometry import Grid, Index3
from VISTA3DLib.results import BoolArray

AIR_BELOW = -800.0  # HU (spec 5.7)
MOST_LABELS = int(np.iinfo(np.int16).max)

FloatArray = npt.NDArray[np.float32]


def air_mask(hu: npt.NDArray[Any]) -> BoolArray:
    """The air around the body, [I, J, K]: the largest component of HU < -800, closed by 3 x 3 x 3 (spec 5.7).

    Neighbours touch by a face, an edge or a corner. In a crop without outer air the largest component may be a lung:
    that is the reference's rule, and it is kept.
    """
    below = hu < AIR_BELOW
    if not below.any():
        return below
    largest = largest_component(below)
    # Outside the volume nothing grows in, and nothing is eaten from there: the border of the air stays where it is.
    return ~_grown(~_grown(largest))


def working_blocks(grid: Grid, most_voxels: int, spacing_mm: float | None = None) -> Index3:
    """Voxels of the volume per voxel of the working grid, along each axis.

    Without ``spacing_mm`` the working grid is the volume's own as long as that has at most ``most_voxels``; beyond, the
    axis with the smallest blocks (in mm) is coarsened until it fits. ``spacing_mm`` asks for blocks of about that size.
    """
    wanted = spacing_mm or 0.0
    blocks = [min(max(1, round(wanted / s)), n) for s, n in zip(grid.spacing, grid.shape, strict=True)]
    while math.prod(working_shape(grid.shape, blocks)) > most_voxels:
        sides = [b * s if b < n else math.inf for b, s, n in zip(blocks, grid.spacing, grid.shape, strict=True)]
        blocks[sides.index(min(sides))] += 1
    return blocks[0], blocks[1], blocks[2]


def working_shape(shape: Sequence[int], blocks: Sequence[int]) -> Index3:
    """The shape of the working grid; the last block of an axis may be smaller."""
    i, j, k = (-(-n // b) for n, b in zip(shape, blocks, strict=True))
    return i, j, k


def block_mean(array: npt.NDArray[Any], blocks: Index3) -> FloatArray:
    """The mean of each block of ``array``, float32 on the working grid; slab by slab, without a full-size copy."""
    out = np.empty(working_shape(array.shape, blocks), dtype=np.float32)
    for n, slab in enumerate(_slabs_of(array, blocks)):
        out[n] = _reduced(np.add, slab.astype(np.float32).mean(axis=0), blocks[1:])
    counts = [np.minimum(b, s - np.arange(0, s, b)) for b, s in zip(blocks[1:], array.shape[1:], strict=True)]
    out /= (counts[0][:, None] * counts[1]).astype(np.float32)
    return out


def block_any(mask: BoolArray, blocks: Index3) -> BoolArray:
    """Whether any voxel of each block is set."""
    out = np.empty(working_shape(mask.shape, blocks), dtype=bool)
    for n, slab in enumerate(_slabs_of(mask, blocks)):
        out[n] = _reduced(np.logical_or, np.asarray(slab.any(axis=0)), blocks[1:])
    return out


def on_volume(labels: npt.NDArray[Any], blocks: Index3, air: BoolArray) -> npt.NDArray[np.int16]:
    """Labels of the working grid on the volume's, 0 in the air, renumbered 1, 2, 3 ... in their order.

    Raises ``VolumeError`` if more labels are left than int16 can count.
    """
    kept = np.zeros(int(labels.max()) + 1, dtype=bool)
    for part, outside in _paired_slabs(labels, air, blocks):
        kept[np.unique(part[~outside])] = True
    kept[0] = False
    if np.count_nonzero(kept) > MOST_LABELS:
        raise VolumeError(
            f"There would be {np.count_nonzero(kept):,} supervoxels; the file's int16 counts {MOST_LABELS:,}.",
            "The volume may hold noise only: look at it, or ask for larger working voxels.",
        )
    numbers = np.where(kept, np.cumsum(kept), 0).astype(np.int16)
    out = np.empty(air.shape, dtype=np.int16)
    for target, (part, outside) in zip(_slabs_of(out, blocks), _paired_slabs(labels, air, blocks), strict=True):
        target[...] = np.where(outside, np.int16(0), numbers[part])
    return out


def _grown(mask: BoolArray) -> BoolArray:
    """Dilation by 3 x 3 x 3, an axis at a time."""
    for axis in range(3):
        grown = np.moveaxis(mask.copy(), axis, 0)
        planes = np.moveaxis(mask, axis, 0)
        grown[1:] |= planes[:-1]
        grown[:-1] |= planes[1:]
        mask = np.moveaxis(grown, 0, axis)
    return mask


def _slabs_of(array: npt.NDArray[Any], blocks: Index3) -> list[npt.NDArray[Any]]:
    return [array[i : i + blocks[0]] for i in range(0, array.shape[0], blocks[0])]


def _paired_slabs(
    labels: npt.NDArray[Any], air: BoolArray, blocks: Index3
) -> Iterator[tuple[npt.NDArray[Any], BoolArray]]:
    """For each slab of blocks: the labels at the volume's voxels (one plane for all of the slab), and what is air."""
    for plane, outside in zip(labels, _slabs_of(air, blocks), strict=True):
        fine = np.repeat(np.repeat(plane, blocks[1], axis=0), blocks[2], axis=1)
        yield np.broadcast_to(fine[: air.shape[1], : air.shape[2]], outside.shape), outside


def _reduced(operation: np.ufunc, plane: npt.NDArray[Any], blocks: Sequence[int]) -> npt.NDArray[Any]:
    for axis, block in enumerate(blocks):
        if block > 1:
            plane = operation.reduceat(plane, np.arange(0, plane.shape[axis], block), axis=axis)
    return plane
