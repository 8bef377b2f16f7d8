"""Where windows lie: the lattice of the automatic branch and the windows around clicks (spec 2.2, 3.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from VISTA3DLib.geometry import Box, Index3

SHARED_REACH = 0.25  # of the window: a click this near to a window's centre (per axis) needs no window of its own


@dataclass(frozen=True, kw_only=True)
class WindowLattice:
    """Windows that cover an image of ``image_shape``, as MONAI's sliding window lays them.

    ``before`` and ``after`` are the voxels of padding per axis (half before, the rest after) where the image is
    smaller than the window; ``starts`` the first voxel of the windows per axis, in the padded image.
    """

    image_shape: Index3
    window: Index3
    before: Index3
    after: Index3
    starts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]

    @property
    def padded_shape(self) -> Index3:
        """Shape of the image with its padding."""
        i, j, k = (n + a + b for n, a, b in zip(self.image_shape, self.before, self.after, strict=True))
        return i, j, k

    @property
    def count(self) -> int:
        """Number of windows."""
        return int(np.prod([len(s) for s in self.starts]))

    def ordered(self, axes: Index3) -> Iterator[Index3]:
        """First voxels (in i, j, k) of all windows, ``axes[0]`` advancing slowest."""
        for a in self.starts[axes[0]]:
            for b in self.starts[axes[1]]:
                for c in self.starts[axes[2]]:
                    start = [0, 0, 0]
                    start[axes[0]], start[axes[1]], start[axes[2]] = a, b, c
                    yield start[0], start[1], start[2]


def window_lattice(image_shape: Index3, window: Index3, overlap: float) -> WindowLattice:
    """Lay windows over an image; the last one on each axis is shifted back to end at the border."""
    before, after, starts = [], [], []
    for size, side in zip(image_shape, window, strict=True):
        lacking = max(side - size, 0)
        before.append(lacking // 2)
        after.append(lacking - lacking // 2)
        starts.append(_starts(size + lacking, side, overlap))
    return WindowLattice(
        image_shape=image_shape,
        window=window,
        before=(before[0], before[1], before[2]),
        after=(after[0], after[1], after[2]),
        starts=(starts[0], starts[1], starts[2]),
    )


def click_window(point: Sequence[float], bounds: Box, window: Index3) -> Box:
    """The window centred on a click, kept inside ``bounds`` (spec 3.4 a).

    Where ``bounds`` is smaller than the window, the window sticks out on both sides (half before, the rest after).
    """
    starts = []
    for p, first, stop, side in zip(point, bounds.start, bounds.stop, window, strict=True):
        size, local = stop - first, p - first
        if size < side:
            start = -((side - size) // 2)
        elif local - side // 2 < 0:
            start = 0
        elif local + side // 2 > size:
            start = size - side
        else:
            start = int(local) - side // 2
        starts.append(first + start)
    i, j, k = starts
    return Box(start=(i, j, k), stop=(i + window[0], j + window[1], k + window[2]))


def belongs_to(box: Box, bounds: Box) -> bool:
    """Whether a window could come from a click inside ``bounds``: it lies in them, or sticks out evenly (see above)."""
    for start, stop, first, last in zip(box.start, box.stop, bounds.start, bounds.stop, strict=True):
        lacking = (stop - start) - (last - first)
        if lacking <= 0 and not (first <= start and stop <= last):
            return False
        if lacking > 0 and start != first - lacking // 2:
            return False
    return True


def click_windows(
    points: Sequence[Sequence[float]], bounds: Sequence[Box], window: Index3, *, shared: bool
) -> tuple[Box, ...]:
    """The windows that a list of clicks needs, in the order in which they are first needed.

    ``shared=False``: one centred window a click, as the reference. ``shared=True``: a click that lies in the inner
    half of an earlier click's window uses that one. A click that is added never moves the windows of those before
    it, so nothing is encoded twice, and the windows depend on nothing but the points.
    """
    windows: list[Box] = []
    for point, bound in zip(points, bounds, strict=True):
        if shared and any(_in_inner_half(point, w) for w in windows):
            continue
        box = click_window(point, bound, window)
        if box not in windows:
            windows.append(box)
    return tuple(windows)


def connected_groups(boxes: Sequence[Box]) -> list[list[int]]:
    """Group boxes (by index) that overlap, directly or through others."""
    groups: list[list[int]] = []
    for index, box in enumerate(boxes):
        touching = [g for g in groups if any((boxes[i] & box).size for i in g)]
        merged = sorted({index, *(i for g in touching for i in g)})
        groups = [g for g in groups if g not in touching] + [merged]
    return sorted(groups)


def _in_inner_half(point: Sequence[float], box: Box) -> bool:
    return all(
        abs(p - (a + b - 1) / 2.0) <= SHARED_REACH * (b - a) for p, a, b in zip(point, box.start, box.stop, strict=True)
    )


def _starts(size: int, side: int, overlap: float) -> tuple[int, ...]:
    if size == side:
        return (0,)
    step = max(int(side * (1.0 - overlap)), 1)
    count = -(-(size - side) // step) + 1
    return tuple(min(n * step, size - side) for n in range(count))
