"""Change of grid: linear for images, nearest for labels, one axis at a time wherever the axes allow it.

A CT and its model grid nearly always share their directions, up to a permutation and flips. Then the change of grid
is three one-dimensional ones, and the flips are nothing but reversed indices: no sampling grid, no float64 pass, no
full-size temporary. Only sheared volumes (a tilted gantry) take the general path, slab by slab.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from VISTA3DLib.geometry import Box, Grid, Index3, axis_maps, nearest_index, voxel_map

_CHUNK_BYTES = 4 * 2**20  # of float32 source planes in work at once: what stays in a core's cache

ChunkHook = Callable[[torch.Tensor], torch.Tensor]


def resample_linear(
    array: npt.NDArray[Any],
    source: Grid,
    target: Grid,
    *,
    before: ChunkHook | None = None,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Interpolate ``array`` (int16 or float32, on ``source``) at the voxel centres of ``target``.

    Trilinear; outside the source the border value continues. ``before`` is applied to float32 source values before
    they are interpolated (the research code clips first). Returns float32 of ``target.shape`` on ``device``, in the
    memory order of ``array`` (so not always contiguous).
    """
    maps = axis_maps(target, source)
    if maps is None:
        return _linear_general(array, source, target, before, torch.device(device))
    order = memory_order(array)
    planes = array.transpose(order)
    by_source = {m.source: (axis, m) for axis, m in enumerate(maps)}
    steps = [by_source[s] for s in order]  # (target axis, map) for the source axes, slowest in memory first
    taps = [linear_taps(m.coordinates(0, target.shape[axis]), array.shape[m.source], device) for axis, m in steps]
    # Written in the source's memory order: a permuted write would touch one cache line per voxel.
    out = torch.empty([target.shape[axis] for axis, _ in steps], dtype=torch.float32, device=device)
    low, high, weight = taps[0]
    for start, stop in _chunks(low.tolist(), high.tolist(), planes[0].size):
        first, last = int(low[start:stop].min()), int(high[start:stop].max())
        slab = torch.from_numpy(planes[first : last + 1].astype(np.float32)).to(device)
        if before is not None:
            slab = before(slab)
        slab = lerp_axis(slab, 0, low[start:stop] - first, high[start:stop] - first, weight[start:stop])
        slab = lerp_axis(slab, 1, *taps[1])
        out[start:stop] = lerp_axis(slab, 2, *taps[2])
    axes = [axis for axis, _ in steps]
    return out.permute([axes.index(axis) for axis in range(3)])


def resample_nearest(
    array: npt.NDArray[Any], source: Grid, target: Grid, *, inside: Box | None = None, like: Index3 = (0, 1, 2)
) -> npt.NDArray[Any]:
    """Give each voxel of ``target`` the value of the nearest voxel of ``array`` (on ``source``); no arithmetic.

    Voxels beyond the source take the border's value. With ``inside`` (a box on ``source``), ``array`` covers that box
    only and everything outside it is 0. ``like`` is the memory order of the result, slowest axis first.
    """
    box = inside or source.box
    maps = axis_maps(target, source)
    if maps is None:
        return _nearest_general(array, source, target, box)
    taken, spans = [], []
    for axis, m in enumerate(maps):
        index = nearest_index(m.coordinates(0, target.shape[axis])).clip(0, source.shape[m.source] - 1)
        index -= box.start[m.source]
        valid = np.flatnonzero((index >= 0) & (index < box.shape[m.source]))
        spans.append(slice(int(valid[0]), int(valid[-1]) + 1) if valid.size else slice(0, 0))
        taken.append(index[spans[-1]])
    out = _empty_like_order(target.shape, array.dtype, like)
    _clear_outside(out, spans)
    _gather(array.transpose([m.source for m in maps]), taken, out[tuple(spans)], like)
    return out


def sample_nearest(array: npt.NDArray[Any], source: Grid, target: Grid) -> npt.NDArray[Any]:
    """Like ``resample_nearest``, but 0 where ``target`` has voxels outside ``source`` (for masks)."""
    maps = axis_maps(target, source)
    if maps is None:
        padded = np.pad(array, 1)
        grown = source.cropped(source.box.grown(1))
        return _nearest_general(padded, grown, target, grown.box)
    out = np.zeros(target.shape, dtype=array.dtype)
    taken, spans = [], []
    for axis, m in enumerate(maps):
        index = nearest_index(m.coordinates(0, target.shape[axis]))
        valid = np.flatnonzero((index >= 0) & (index < source.shape[m.source]))
        spans.append(slice(int(valid[0]), int(valid[-1]) + 1) if valid.size else slice(0, 0))
        taken.append(index[spans[-1]])
    _gather(array.transpose([m.source for m in maps]), taken, out[tuple(spans)], (0, 1, 2))
    return out


def linear_taps(
    coordinates: npt.NDArray[np.float64], source_count: int, device: torch.device | str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For each fractional source index: the index below, the one above, and the weight of the one above."""
    coordinates = coordinates.clip(0.0, source_count - 1.0)
    low = np.minimum(np.floor(coordinates), max(source_count - 2, 0)).astype(np.int64)
    high = np.minimum(low + 1, source_count - 1)
    weight = (coordinates - low).astype(np.float32)
    return tuple(torch.from_numpy(a).to(device) for a in (low, high, weight))  # type: ignore[return-value]


def lerp_axis(x: torch.Tensor, axis: int, low: torch.Tensor, high: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Interpolate ``x`` along one axis between the planes ``low`` and ``high`` (indices) by ``weight``."""
    shape = [1] * x.ndim
    shape[axis] = -1
    below = x.index_select(axis, low)
    return below.lerp_(x.index_select(axis, high), weight.view(shape))


def _chunks(low: list[int], high: list[int], plane_voxels: int) -> list[tuple[int, int]]:
    """Cut the target planes into runs whose source planes fit into the chunk's memory (two planes at the least)."""
    most = max(2, _CHUNK_BYTES // (4 * plane_voxels))
    runs, start = [], 0
    for i in range(1, len(low) + 1):
        if i == len(low) or max(high[i] - low[start], high[start] - low[i]) + 1 > most:
            runs.append((start, i))
            start = i
    return runs


def memory_order(array: npt.NDArray[Any]) -> Index3:
    """Axes of a 3D array from the slowest to the fastest in memory: (0, 1, 2) for C order, (2, 1, 0) for Fortran."""
    i, j, k = sorted(range(3), key=lambda a: -abs(array.strides[a]))
    return i, j, k


def _empty_like_order(shape: Index3, dtype: npt.DTypeLike, order: Index3) -> npt.NDArray[Any]:
    storage = np.empty([shape[a] for a in order], dtype=dtype)
    return storage.transpose(np.argsort(order))


def _clear_outside(out: npt.NDArray[Any], spans: list[slice]) -> None:
    for axis, span in enumerate(spans):
        before: list[slice] = [slice(None)] * 3
        before[axis] = slice(0, span.start)
        out[tuple(before)] = 0
        before[axis] = slice(span.stop, None)
        out[tuple(before)] = 0


def _gather(array: npt.NDArray[Any], taken: list[npt.NDArray[np.int64]], out: npt.NDArray[Any], order: Index3) -> None:
    """``out[a, b, c] = array[ia[a], ib[b], ic[c]]``, plane by plane along the slowest axis of ``out``."""
    if out.size == 0:
        return
    slow, middle, fast = order
    first = [int(index.min()) for index in taken]
    needed = tuple(slice(a, int(index.max()) + 1) for a, index in zip(first, taken, strict=True))
    taken = [index - a for a, index in zip(first, taken, strict=True)]
    planes = np.ascontiguousarray(np.moveaxis(array[needed], order, (0, 1, 2)))
    target = np.moveaxis(out, order, (0, 1, 2))
    previous = -1
    for n, plane in enumerate(taken[slow]):
        if plane == previous:  # finer than the source along this axis: the plane is there already
            target[n] = target[n - 1]
        else:
            np.take(np.take(planes[plane], taken[fast], axis=1), taken[middle], axis=0, out=target[n], mode="clip")
        previous = plane


def interpolated_slabs(
    channels: Callable[[Box], torch.Tensor], source: Grid, target: Grid, exact: torch.dtype = torch.float64
) -> Iterator[tuple[int, int, torch.Tensor]]:
    """Trilinear values of (C, ...) images on ``source`` at the voxels of any ``target`` grid, slab by slab along i.

    ``channels`` hands out the part (C, *box.shape) of the images that a slab needs. Yields (start, stop, values) with
    values (C, stop - start, J, K) float32. For sheared grids; torch's ``grid_sample`` does the work.
    """
    matrix = voxel_map(target, source)
    last_voxel = np.asarray(source.shape) - 1.0
    for start, stop in _slabs(target.shape):
        index = _slab_coordinates(matrix, target.shape, start, stop).clip(0.0, last_voxel)
        low = np.floor(index.min(axis=(0, 1, 2))).astype(int)
        high = np.ceil(index.max(axis=(0, 1, 2))).astype(int) + 1
        part = channels(Box(start=(low[0], low[1], low[2]), stop=(high[0], high[1], high[2])))
        span = np.maximum(np.asarray(part.shape[1:]) - 1, 1)
        place = torch.from_numpy((index - low) * 2.0 / span - 1.0).to(part.device, exact).flip(-1)
        values = F.grid_sample(part[None].to(exact), place[None], padding_mode="border", align_corners=True)
        yield start, stop, values[0].float()


def _linear_general(
    array: npt.NDArray[Any], source: Grid, target: Grid, before: ChunkHook | None, device: torch.device
) -> torch.Tensor:
    def part(box: Box) -> torch.Tensor:
        values = torch.from_numpy(array[box.slices].astype(np.float32)).to(device)
        return (before(values) if before is not None else values)[None]

    exact = torch.float32 if device.type == "mps" else torch.float64  # MPS has no float64
    out = torch.empty(target.shape, dtype=torch.float32, device=device)
    for start, stop, values in interpolated_slabs(part, source, target, exact):
        out[start:stop] = values[0]
    return out


def _nearest_general(array: npt.NDArray[Any], source: Grid, target: Grid, box: Box) -> npt.NDArray[Any]:
    matrix = voxel_map(target, source)
    out = np.zeros(target.shape, dtype=array.dtype)
    for start, stop in _slabs(target.shape):
        index = nearest_index(_slab_coordinates(matrix, target.shape, start, stop))
        index = index.clip(0, np.asarray(source.shape) - 1) - np.asarray(box.start)
        inside = np.all((index >= 0) & (index < np.asarray(box.shape)), axis=-1)
        i, j, k = index[inside].T
        out[start:stop][inside] = array[i, j, k]
    return out


def _slab_coordinates(matrix: npt.NDArray[np.float64], shape: Index3, start: int, stop: int) -> npt.NDArray[np.float64]:
    """Source coordinates, (n, J, K, 3), of the target planes ``start`` to ``stop``."""
    i = np.arange(start, stop)[:, None, None, None] * matrix[:3, 0]
    j = np.arange(shape[1])[None, :, None, None] * matrix[:3, 1]
    k = np.arange(shape[2])[None, None, :, None] * matrix[:3, 2]
    return np.asarray(i + j + k + matrix[:3, 3])


def _slabs(shape: Index3) -> list[tuple[int, int]]:
    planes = max(1, _CHUNK_BYTES // (24 * shape[1] * shape[2]))
    return [(a, min(a + planes, shape[0])) for a in range(0, shape[0], planes)]
