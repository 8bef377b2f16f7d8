"""Masks and label images kept small: bits or blocks, compressed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from VISTA3DLib.geometry import Box, reverse_axes
from VISTA3DScene.lattice import EMPTY_BOX, local

_LEVEL = 1  # masks are long runs: level 1 takes a tenth of the time of level 6 and half as much memory again
_BLOCK = (32, 32, 8)  # voxels along i, j, k; most blocks of a label image hold one value only

Blocks = tuple[slice, slice, slice]
Number = tuple[int, int, int]


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
        self._mixed: dict[Number, bytes] = {}
        self._labels: dict[Number, tuple[int, ...]] = {}  # in the mixed blocks
        self._boxes: dict[int, Box] | None = None  # of the labels, in blocks; None: to be found
        self._pack(values, (whole[0], whole[1], whole[2]))

    def fork(self) -> PackedImage:
        """A copy that goes its own way; what is equal stays shared."""
        other = PackedImage.__new__(PackedImage)
        other.box, other.dtype = self.box, self.dtype
        other._low, other._high, other._mixed = self._low.copy(), self._high.copy(), dict(self._mixed)
        other._labels, other._boxes = dict(self._labels), self._boxes
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

    def write(self, out: npt.NDArray[Any]) -> None:
        """Write the whole image into an array ``[i, j, k]`` of its shape and type (quickest where i is fastest)."""
        out[...] = 0
        for number in zip(*np.nonzero((self._low != 0) & (self._low == self._high)), strict=True):
            out[_span(number)] = self._low[number]
        for number, data in self._mixed.items():
            part = reverse_axes(out[_span(number)])
            part[...] = np.frombuffer(zlib.decompress(data), dtype=self.dtype).reshape(part.shape)

    def box_of(self, label: int) -> Box:
        """A box around every voxel with this label, whole blocks wide; empty where there is surely none."""
        if self._boxes is None:
            self._boxes = self._label_boxes()
        return self._in_voxels(self._boxes.get(label, EMPTY_BOX))

    def difference(self, values: npt.NDArray[Any]) -> Box:
        """A box, whole blocks wide, outside of which an image of the same box is equal to the copy."""
        low, high = _extremes(values)
        unequal = (low != self._low) | (high != self._high)
        for number, data in self._mixed.items():
            if not unequal[number]:
                unequal[number] = reverse_axes(values[_span(number)]).tobytes() != zlib.decompress(data)
        return self._in_voxels(Box.of_mask(unequal))

    def _label_boxes(self) -> dict[int, Box]:
        boxes: dict[int, Box] = {}
        flat = self._low == self._high
        for label in np.unique(self._low[flat]):
            boxes[int(label)] = Box.of_mask(flat & (self._low == label))
        for (i, j, k), labels in self._labels.items():
            here = Box(start=(i, j, k), stop=(i + 1, j + 1, k + 1))
            for label in labels:
                boxes[label] = boxes.get(label, EMPTY_BOX) | here
        return boxes

    def _in_voxels(self, blocks: Box) -> Box:
        """The voxels of a box of blocks."""
        (i0, i1), (j0, j1), (k0, k1) = (
            (a * size, b * size) for a, b, size in zip(blocks.start, blocks.stop, _BLOCK, strict=True)
        )
        box = Box(start=(i0, j0, k0), stop=(i1, j1, k1)).shifted(self.box.start) & self.box
        return box if box.size else EMPTY_BOX

    def _place(self, number: Sequence[int]) -> Box:
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
        self._boxes = None
        for number in _numbers(where):
            if mixed[number]:
                part = np.ascontiguousarray(reverse_axes(values[_span(number)]))
                self._mixed[number] = zlib.compress(part.tobytes(), _LEVEL)
                self._labels[number] = _labels_in(part.reshape(-1))
            else:
                self._mixed.pop(number, None)
                self._labels.pop(number, None)


def _labels_in(values: npt.NDArray[Any]) -> tuple[int, ...]:
    if values.dtype in (np.uint8, np.uint16):
        return tuple(np.flatnonzero(np.bincount(values)).tolist())
    return tuple(int(v) for v in np.unique(values))


def _extremes(values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Smallest and largest value of each block."""
    low = high = reverse_axes(values)
    for axis, size in enumerate(reversed(_BLOCK)):
        low, high = _reduced(np.minimum, low, axis, size), _reduced(np.maximum, high, axis, size)
    return reverse_axes(low).copy(), reverse_axes(high).copy()


def _reduced(function: np.ufunc, values: npt.NDArray[Any], axis: int, size: int) -> npt.NDArray[Any]:
    """Reduce every ``size`` values along an axis to one; ``reduceat`` does the same ten times slower."""
    first = np.moveaxis(values, axis, 0)
    out = np.empty((-(-len(first) // size), *first.shape[1:]), dtype=values.dtype)
    for n in range(len(out)):
        function.reduce(first[n * size : (n + 1) * size], axis=0, out=out[n])
    return np.moveaxis(out, 0, axis)


def _span(number: Sequence[int]) -> Blocks:
    """The voxels of one block; the image may end within it."""
    i, j, k = (slice(n * size, (n + 1) * size) for n, size in zip(number, _BLOCK, strict=True))
    return i, j, k


def _blocks(box: Box) -> Blocks:
    """The blocks that a box of an image touches."""
    i, j, k = (slice(a // size, -(-b // size)) for a, b, size in zip(box.start, box.stop, _BLOCK, strict=True))
    return i, j, k


def _voxels(where: Blocks, box: Box) -> Blocks:
    i, j, k = (
        slice(s.start * size, min(s.stop * size, n)) for s, size, n in zip(where, _BLOCK, box.shape, strict=True)
    )
    return i, j, k


def _numbers(where: Blocks) -> Iterator[Number]:
    for i in range(where[0].start, where[0].stop):
        for j in range(where[1].start, where[1].stop):
            for k in range(where[2].start, where[2].stop):
                yield i, j, k
