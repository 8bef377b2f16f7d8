"""Masks and label images kept small: bits or blocks, compressed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from VISTA3DLib.geometry import Box, reverse_axes
from VISTA3DScene.lattice import EMPTY_BOX, local

_LEVEL = 1  # masks are long runs: level 1 takes a tenth of the time of level 6 and half as much memory again
_BLOCK = (32, 32, 8)  # voxels along i, j, k; most blocks of a label image hold one value only

Blocks = tuple[slice, slice, slice]


@dataclass(frozen=True, kw_only=True)
class PackedMask:
    """A boolean array, one bit a voxel, compressed."""

    shape: tuple[int, int, int]
    data: bytes

    @classmethod
    def of(cls, mask: npt.NDArray[np.bool_]) -> PackedMask:
        """Pack a mask."""
        i, j, k = mask.shape
        bits = np.packbits(reverse_axes(mask).reshape(-1))
        return cls(shape=(i, j, k), data=zlib.compress(bits.tobytes(), _LEVEL))

    def unpack(self) -> npt.NDArray[np.bool_]:
        """The mask again."""
        i, j, k = self.shape
        bits = np.unpackbits(np.frombuffer(zlib.decompress(self.data), dtype=np.uint8), count=i * j * k)
        return reverse_axes(bits.astype(bool).reshape(k, j, i))

    @property
    def nbytes(self) -> int:
        """Memory that is taken."""
        return len(self.data)


class PackedImage:
    """A copy of a label image in blocks, that can be compared with the image later and brought up to date.

    Blocks of one value are kept as that value, the others compressed: looking for a difference is a matter of a few
    milliseconds where nothing or little changed.
    """

    def __init__(self, values: npt.NDArray[Any], box: Box) -> None:
        self.box, self.dtype = box, values.dtype
        whole = tuple(slice(0, n) for n in self._counts)
        self._low, self._high = _extremes(values)
        self._mixed: dict[tuple[int, int, int], bytes] = {}
        self._pack(values, (whole[0], whole[1], whole[2]))

    def fork(self) -> PackedImage:
        """A copy that goes its own way; what is equal stays shared."""
        other = PackedImage.__new__(PackedImage)
        other.box, other.dtype = self.box, self.dtype
        other._low, other._high, other._mixed = self._low.copy(), self._high.copy(), dict(self._mixed)
        return other

    @property
    def nbytes(self) -> int:
        """Memory that is taken."""
        return sum(len(b) + 150 for b in self._mixed.values()) + self._low.nbytes + self._high.nbytes

    @property
    def _counts(self) -> tuple[int, int, int]:
        i, j, k = (-(-n // b) for n, b in zip(self.box.shape, _BLOCK, strict=True))
        return i, j, k

    def update(self, values: npt.NDArray[Any], changed: Box) -> None:
        """Take in an image of the same box that differs inside ``changed`` at most."""
        inside = changed & self.box
        if inside.size:
            where = _blocks(local(inside, self.box))
            self._low[where], self._high[where] = _extremes(values[_voxels(where, self.box)])
            self._pack(values, where)

    def read(self, box: Box) -> npt.NDArray[Any]:
        """The values in ``box``; 0 outside the image."""
        out = np.zeros(box.shape, dtype=self.dtype)
        both = box & self.box
        if not both.size:
            return out
        for number in _numbers(_blocks(local(both, self.box))):
            place = self._place(number).shifted(self.box.start)
            part = place & both
            out[local(part, box).slices] = self._block(number)[local(part, place).slices]
        return out

    def values(self) -> npt.NDArray[Any]:
        """The whole image again, [i, j, k], i fastest in memory."""
        out = reverse_axes(np.zeros(self.box.shape[::-1], dtype=self.dtype))
        for number in np.ndindex(self._counts):
            if number in self._mixed or self._low[number]:
                out[self._place(number).slices] = self._block(number)
        return out

    def box_of(self, label: int) -> Box:
        """A box around every voxel with this label, whole blocks wide; empty where there is surely none."""
        found = np.argwhere((self._low <= label) & (self._high >= label))
        if not found.size:
            return EMPTY_BOX
        size = np.array(_BLOCK)
        (i0, j0, k0), (i1, j1, k1) = found.min(axis=0) * size, (found.max(axis=0) + 1) * size
        return Box(start=(i0, j0, k0), stop=(i1, j1, k1)).shifted(self.box.start) & self.box

    def difference(self, values: npt.NDArray[Any]) -> Box:
        """A box, whole blocks wide, outside of which an image of the same box is equal to the copy."""
        low, high = _extremes(values)
        unequal = (low != self._low) | (high != self._high)
        for number in self._mixed:
            if not unequal[number]:
                place = self._place(number)
                unequal[number] = not np.array_equal(values[place.slices], self._block(number))
        found = np.argwhere(unequal)
        if not found.size:
            return EMPTY_BOX
        size = np.array(_BLOCK)
        (i0, j0, k0), (i1, j1, k1) = found.min(axis=0) * size, (found.max(axis=0) + 1) * size
        return Box(start=(i0, j0, k0), stop=(i1, j1, k1)).shifted(self.box.start) & self.box

    def _place(self, number: tuple[int, ...]) -> Box:
        start = [n * b for n, b in zip(number, _BLOCK, strict=True)]
        i, j, k = (min(a + b, n) for a, b, n in zip(start, _BLOCK, self.box.shape, strict=True))
        return Box(start=(start[0], start[1], start[2]), stop=(i, j, k))

    def _block(self, number: tuple[int, ...]) -> npt.NDArray[Any]:
        shape = self._place(number).shape
        data = self._mixed.get((number[0], number[1], number[2]))
        if data is None:
            return np.full(shape, self._low[number], dtype=self.dtype)
        return reverse_axes(np.frombuffer(zlib.decompress(data), dtype=self.dtype).reshape(shape[::-1]))

    def _pack(self, values: npt.NDArray[Any], where: Blocks) -> None:
        mixed = self._low != self._high
        for number in _numbers(where):
            if mixed[number]:
                part = reverse_axes(values[self._place(number).slices])
                self._mixed[number] = zlib.compress(part.tobytes(), _LEVEL)
            else:
                self._mixed.pop(number, None)


def _extremes(values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Smallest and largest value of each block."""
    low = high = reverse_axes(values)
    for axis, size in enumerate(reversed(_BLOCK)):
        edges = np.arange(0, low.shape[axis], size)
        low, high = np.minimum.reduceat(low, edges, axis=axis), np.maximum.reduceat(high, edges, axis=axis)
    return reverse_axes(low).copy(), reverse_axes(high).copy()


def _blocks(box: Box) -> Blocks:
    """The blocks that a box of an image touches."""
    i, j, k = (slice(a // size, -(-b // size)) for a, b, size in zip(box.start, box.stop, _BLOCK, strict=True))
    return i, j, k


def _voxels(where: Blocks, box: Box) -> Blocks:
    i, j, k = (
        slice(s.start * size, min(s.stop * size, n)) for s, size, n in zip(where, _BLOCK, box.shape, strict=True)
    )
    return i, j, k


def _numbers(where: Blocks) -> Iterator[tuple[int, int, int]]:
    for i in range(where[0].start, where[0].stop):
        for j in range(where[1].start, where[1].stop):
            for k in range(where[2].start, where[2].stop):
                yield i, j, k
