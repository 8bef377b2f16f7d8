"""What the session hands back: masks in boxes, what changed in them, how long each stage took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from VISTA3DLib.geometry import Box, Grid, Vector3

ChangeKind = Literal["added", "removed"]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One connected part that clicks added to a mask or removed from it.

    ``box`` is on the volume's grid, ``center`` in RAS mm, ``points`` are indices into the points of the request.
    """

    kind: ChangeKind
    voxels: int
    ml: float
    box: Box
    center: Vector3
    points: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskResult:
    """A mask on the volume's ``grid``, stored only inside ``box`` (``mask.shape == box.shape``).

    Without a base mask everything outside the box is background. With one, the box is what the clicks changed and
    ``mask`` holds the new values in it (outside, the base mask stays as it was); ``changes`` lists the parts.
    ``notes`` are sentences for the person, ``seconds`` the time of each stage.
    """

    grid: Grid
    box: Box
    mask: BoolArray
    model: str
    class_id: int | None = None
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def voxels(self) -> int:
        """Number of voxels that are set inside the box."""
        return int(np.count_nonzero(self.mask))

    @property
    def ml(self) -> float:
        """Volume of the voxels that are set inside the box."""
        return self.voxels * self.grid.voxel_ml

    def to_full(self, base: BoolArray | None = None) -> BoolArray:
        """The mask on the whole grid: over ``base`` if given (not changed in place), else over background."""
        full = np.zeros(self.grid.shape, dtype=bool) if base is None else base.copy()
        full[self.box.slices] = self.mask
        return full


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassesResult:
    """What the automatic branch found for ``class_ids``.

    Either ``labelmap`` (uint8 or uint16 on the volume's grid, 0 is background, one class a voxel) or ``masks`` (one a
    class, may overlap). Classes that were not found have no voxel and an empty mask.
    """

    grid: Grid
    class_ids: tuple[int, ...]
    model: str
    labelmap: npt.NDArray[Any] | None = None
    masks: Mapping[int, MaskResult] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def overlapping(self) -> bool:
        """Whether every class has its own mask."""
        return self.labelmap is None

    def voxel_counts(self) -> dict[int, int]:
        """Number of voxels per class id, zeros included."""
        if self.labelmap is None:
            return {i: self.masks[i].voxels for i in self.class_ids}
        counts = np.bincount(self.labelmap.ravel(order="K"), minlength=max(self.class_ids) + 1)
        return {i: int(counts[i]) for i in self.class_ids}

    def mask(self, class_id: int) -> BoolArray:
        """The mask of one class on the whole grid."""
        if self.labelmap is None:
            return self.masks[class_id].to_full()
        return np.asarray(self.labelmap == class_id)
