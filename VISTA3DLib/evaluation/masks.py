"""Masks in boxes: what an evaluation keeps of an object, however large the volume around it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from VISTA3DLib.errors import VolumeError
from VISTA3DLib.geometry import Box, format_shape
from VISTA3DLib.results import BoolArray

EMPTY_BOX = Box(start=(0, 0, 0), stop=(0, 0, 0))


@dataclass(frozen=True, kw_only=True, eq=False)
class BoxedMask:
    """A boolean ``mask`` in a ``box`` of some grid (``mask.shape == box.shape``); outside the box there is nothing."""

    box: Box
    mask: BoolArray

    def __post_init__(self) -> None:
        if self.mask.shape != self.box.shape:
            raise VolumeError(
                f"A mask of {format_shape(self.mask.shape)} voxels is given for a box of "
                f"{format_shape(self.box.shape)}.",
                "Cut the mask to its box.",
            )

    @classmethod
    def of(cls, mask: npt.NDArray[np.bool_], start: tuple[int, int, int] = (0, 0, 0)) -> BoxedMask:
        """The mask cut to the voxels that are set; its first voxel lies at ``start`` of the grid."""
        inner = Box.of_mask(mask)
        return cls(box=inner.shifted(start) if inner.size else EMPTY_BOX, mask=mask[inner.slices])

    @classmethod
    def nothing(cls) -> BoxedMask:
        """No voxel at all."""
        return cls(box=EMPTY_BOX, mask=np.zeros(EMPTY_BOX.shape, dtype=bool))

    @property
    def voxels(self) -> int:
        """Number of voxels that are set."""
        return int(np.count_nonzero(self.mask))

    def cut(self, box: Box) -> BoolArray:
        """The mask in another box of the same grid, which may lie anywhere; a new array."""
        out = np.zeros(box.shape, dtype=bool)
        inner = self.box & box
        if inner.size:
            source = inner.shifted([-v for v in self.box.start]).slices
            out[inner.shifted([-v for v in box.start]).slices] = self.mask[source]
        return out

    def without(self, other: BoxedMask) -> BoxedMask:
        """The voxels that are not in ``other``."""
        return BoxedMask.of(self.mask & ~other.cut(self.box), self.box.start)

    def __or__(self, other: BoxedMask) -> BoxedMask:
        box = self.box | other.box
        return BoxedMask(box=box, mask=self.cut(box) | other.cut(box))
