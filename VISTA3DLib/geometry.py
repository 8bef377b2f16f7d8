"""Where axes and worlds meet: the only module that flips, permutes or converts coordinates.

Conventions. World coordinates are RAS millimetres (+x to the patient's right, +y anterior, +z superior). An array is
indexed ``[i, j, k]``; integer indices lie on voxel centres, so voxel ``i`` extends from ``i - 0.5`` to ``i + 0.5``.
An affine is a 4x4 float64 matrix that takes voxel indices to RAS. DICOM, ITK and their files speak LPS and store
``[k, j, i]``: the conversions are here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from VISTA3DLib.errors import VolumeError

FloatArray = npt.NDArray[np.float64]
Index3 = tuple[int, int, int]
Vector3 = tuple[float, float, float]

_LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_TOLERANCE = 1e-4  # voxels over a whole axis: below this a matrix entry counts as zero


def flip_lps_ras(affine: npt.ArrayLike) -> FloatArray:
    """Turn a voxel->LPS affine into voxel->RAS, or back (the operation is its own inverse)."""
    return np.asarray(_LPS_RAS @ np.asarray(affine, dtype=np.float64))


def flip_points_lps_ras(points: npt.ArrayLike) -> FloatArray:
    """Turn LPS points of shape (..., 3) into RAS, or back."""
    return np.asarray(np.asarray(points, dtype=np.float64) * np.array([-1.0, -1.0, 1.0]))


def reverse_axes(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """View ``[i, j, k]`` as ``[k, j, i]``, or back, without copying (ITK, VTK and Slicer store k first)."""
    return array.transpose(2, 1, 0)


def apply_affine(affine: npt.ArrayLike, points: npt.ArrayLike) -> FloatArray:
    """Transform points of shape (..., 3) by a 4x4 affine."""
    matrix = np.asarray(affine, dtype=np.float64)
    return np.asarray(np.asarray(points, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3])


@dataclass(frozen=True, kw_only=True)
class Box:
    """A half-open box of voxels, ``start <= index < stop`` on each axis. May be empty; never inverted."""

    start: Index3
    stop: Index3

    def __post_init__(self) -> None:
        # Inverted bounds appear when disjoint boxes are intersected; they all mean the same: nothing.
        stop = tuple(max(a, b) for a, b in zip(self.start, self.stop, strict=True))
        object.__setattr__(self, "start", tuple(int(v) for v in self.start))
        object.__setattr__(self, "stop", tuple(int(v) for v in stop))

    @classmethod
    def whole(cls, shape: Sequence[int]) -> Box:
        """The box of a whole array of this shape."""
        i, j, k = shape
        return cls(start=(0, 0, 0), stop=(i, j, k))

    @classmethod
    def of_mask(cls, mask: npt.NDArray[Any]) -> Box:
        """The smallest box around the true voxels of a 3D mask (an empty box at the origin when there are none)."""
        bounds = []
        for axis in range(3):
            others = tuple(a for a in range(3) if a != axis)
            hits = np.flatnonzero(mask.any(axis=others))
            if hits.size == 0:
                return cls(start=(0, 0, 0), stop=(0, 0, 0))
            bounds.append((int(hits[0]), int(hits[-1]) + 1))
        return cls(start=_three(b[0] for b in bounds), stop=_three(b[1] for b in bounds))

    @property
    def shape(self) -> Index3:
        """Number of voxels along each axis."""
        return _three(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def size(self) -> int:
        """Number of voxels."""
        i, j, k = self.shape
        return i * j * k

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index expression that cuts the box out of an array."""
        a, b = self.start, self.stop
        return slice(a[0], b[0]), slice(a[1], b[1]), slice(a[2], b[2])

    def __and__(self, other: Box) -> Box:
        return Box(start=_three(map(max, self.start, other.start)), stop=_three(map(min, self.stop, other.stop)))

    def __or__(self, other: Box) -> Box:
        """The smallest box around both; an empty box adds nothing."""
        if not self.size:
            return other
        if not other.size:
            return self
        return Box(start=_three(map(min, self.start, other.start)), stop=_three(map(max, self.stop, other.stop)))

    def grown(self, margin: int | Sequence[int]) -> Box:
        """The box with ``margin`` voxels more on every side (per axis if a sequence)."""
        m = (margin,) * 3 if isinstance(margin, int) else tuple(margin)
        return Box(
            start=_three(a - e for a, e in zip(self.start, m, strict=True)),
            stop=_three(b + e for b, e in zip(self.stop, m, strict=True)),
        )

    def shifted(self, offset: Sequence[int]) -> Box:
        """The box moved by ``offset`` voxels."""
        return Box(
            start=_three(a + o for a, o in zip(self.start, offset, strict=True)),
            stop=_three(b + o for b, o in zip(self.stop, offset, strict=True)),
        )

    def contains_box(self, other: Box) -> bool:
        """Whether every voxel of ``other`` lies in this box."""
        return (self & other).shape == other.shape

    def contains(self, index: Iterable[float]) -> bool:
        """Whether a (fractional) index lies in one of the box's voxels, borders included."""
        return all(a - 0.5 <= v <= b - 0.5 for a, v, b in zip(self.start, index, self.stop, strict=True))


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A lattice of voxels in the world: ``shape`` and the voxel->RAS ``affine`` (mm).

    Raises ``VolumeError`` for a shape with an empty axis and for an affine that is not finite, not 4x4, or singular
    (a spacing of 0, two axes that point the same way).
    """

    shape: Index3
    affine: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _three(self.shape))
        object.__setattr__(self, "affine", checked_affine(self.affine))
        if min(self.shape) < 1:
            raise VolumeError(
                f"The volume is empty: its size is {format_shape(self.shape)} voxels.",
                "Load an image with at least one voxel along every axis.",
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self.same_as(other, tolerance=0.0)

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def spacing(self) -> Vector3:
        """Distance between voxel centres along i, j, k in mm."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @cached_property
    def inverse(self) -> FloatArray:
        """RAS->voxel affine."""
        return np.asarray(np.linalg.inv(self.affine), dtype=np.float64)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @property
    def box(self) -> Box:
        """The box of all voxels."""
        return Box.whole(self.shape)

    def to_world(self, index: npt.ArrayLike) -> FloatArray:
        """RAS millimetres of (fractional) voxel indices of shape (..., 3)."""
        return apply_affine(self.affine, index)

    def to_voxel(self, ras: npt.ArrayLike) -> FloatArray:
        """Fractional voxel indices of RAS points of shape (..., 3)."""
        return apply_affine(self.inverse, ras)

    def cropped(self, box: Box) -> Grid:
        """The grid of the voxels in ``box``, at the same place in the world."""
        affine = self.affine.copy()
        affine[:3, 3] = self.to_world(box.start)
        return Grid(shape=box.shape, affine=affine)

    def same_as(self, other: Grid, tolerance: float = 1e-3) -> bool:
        """Whether both have the same shape and no voxel centre is further apart than ``tolerance`` mm."""
        if self.shape != other.shape:
            return False
        corners = _corners(self.shape)
        return bool(np.abs(self.to_world(corners) - other.to_world(corners)).max() <= tolerance)

    def is_orthogonal(self) -> bool:
        """Whether the axes are perpendicular to each other (a tilted gantry makes a sheared grid)."""
        axes = self.affine[:3, :3] / np.asarray(self.spacing)
        off_diagonal = np.abs(axes.T @ axes - np.eye(3))
        return bool(off_diagonal.max() * max(self.shape) < 0.05)

    def to_ras_axes(self) -> Grid:
        """The same voxels with axes permuted and flipped so that i, j, k run nearest to R, A, S."""
        order, flips = closest_ras_axes(self.affine)
        affine = np.eye(4)
        start = np.zeros(3)
        for target, (source, flip) in enumerate(zip(order, flips, strict=True)):
            affine[:3, target] = self.affine[:3, source] * (-1.0 if flip else 1.0)
            start[source] = self.shape[source] - 1 if flip else 0
        affine[:3, 3] = self.to_world(start)
        return Grid(shape=_three(self.shape[a] for a in order), affine=affine)

    def with_spacing(self, spacing: Sequence[float]) -> Grid:
        """The grid with another voxel size (mm per axis) that covers the same centres from the first voxel on.

        Follows the reference (spec 2.1): the axes are made perpendicular (Cholesky), the size is
        ``round((n - 1) * old / new + 1)``, half to even, and the corner that comes first stays where it is.
        """
        linear = self.affine[:3, :3]
        upper = np.linalg.cholesky(linear.T @ linear).T
        affine = np.eye(4)
        affine[:3, :3] = (linear @ np.linalg.inv(upper)) @ np.diag(np.asarray(spacing, dtype=np.float64))
        corners = self.to_world(_corners(self.shape))
        indices = corners @ np.linalg.inv(affine[:3, :3]).T
        shape = np.round(np.ptp(indices, axis=0) + 1.0).astype(int)
        lowest = indices.min(axis=0)
        first = np.flatnonzero(np.all(np.abs(indices - lowest) <= 1e-8, axis=1))
        if first.size:
            affine[:3, 3] = corners[first[0]]
        else:  # a sheared grid (or one rounded to float32) has no first corner: index n/2 is shared, as in MONAI
            affine[:3, 3] = self.to_world(np.asarray(self.shape) / 2.0) - affine[:3, :3] @ (shape / 2.0)
        return Grid(shape=_three(shape), affine=affine)


def checked_affine(affine: npt.ArrayLike) -> FloatArray:
    """A float64 copy of a voxel->RAS affine, or ``VolumeError`` if it cannot place voxels in the world."""
    matrix = np.array(affine, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise VolumeError(
            f"The affine has the shape {matrix.shape}, not (4, 4).", "Give a 4x4 matrix from voxel indices to RAS mm."
        )
    if not np.isfinite(matrix).all():
        raise VolumeError("The affine has values that are not finite.", "Repair the image's header.")
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    if np.any(spacing < 1e-6):
        raise VolumeError(
            f"The voxel spacing is {format_vector(spacing)} mm: an axis has no length.",
            "Set the true spacing in the image's header (in Slicer: Volumes, Volume Information).",
        )
    if abs(np.linalg.det(matrix[:3, :3] / spacing)) < 1e-3:
        raise VolumeError(
            f"The image axes do not span space (directions {np.round(matrix[:3, :3] / spacing, 3).tolist()}).",
            "Repair the direction matrix in the image's header.",
        )
    matrix[3] = (0.0, 0.0, 0.0, 1.0)
    matrix.setflags(write=False)
    return matrix


def closest_ras_axes(affine: npt.ArrayLike) -> tuple[Index3, tuple[bool, bool, bool]]:
    """Which voxel axis runs nearest to R, to A and to S, and whether it must be flipped to point that way."""
    linear = np.asarray(affine, dtype=np.float64)[:3, :3]
    linear = linear / np.linalg.norm(linear, axis=0)
    u, _, vt = np.linalg.svd(linear)
    rotation = u @ vt
    order, flips = [0, 0, 0], [False, False, False]
    # The voxel axis that is nearest to a world axis chooses first, as in nibabel (and so in the reference).
    for source in np.argsort(np.min(-(rotation**2), axis=0), kind="stable"):
        world = int(np.argmax(np.abs(rotation[:, source])))
        order[world], flips[world] = int(source), bool(rotation[world, source] < 0)
        rotation[world, :] = 0.0
    return _three(order), (flips[0], flips[1], flips[2])


@dataclass(frozen=True, kw_only=True)
class AxisMap:
    """One axis of a separable change of grid: target index ``t`` lies at ``scale * t + offset`` on ``source``."""

    source: int
    scale: float
    offset: float

    def coordinates(self, start: int, stop: int) -> FloatArray:
        """Fractional source indices of the target indices ``start <= t < stop``."""
        return self.scale * np.arange(start, stop, dtype=np.float64) + self.offset


def axis_maps(target: Grid, source: Grid) -> tuple[AxisMap, AxisMap, AxisMap] | None:
    """Where each axis of ``target`` runs on ``source``; None if the grids are turned or sheared to each other."""
    matrix = source.inverse @ target.affine
    reach = np.abs(matrix[:3, :3]) * np.asarray(target.shape)
    maps = []
    for axis in range(3):
        main = int(np.argmax(reach[:, axis]))
        others = [a for a in range(3) if a != main]
        if reach[others, axis].max() > _TOLERANCE * 10:
            return None
        maps.append(AxisMap(source=main, scale=float(matrix[main, axis]), offset=float(matrix[main, 3])))
    if len({m.source for m in maps}) != 3:
        return None
    return maps[0], maps[1], maps[2]


def voxel_map(target: Grid, source: Grid) -> FloatArray:
    """4x4 matrix from voxel indices of ``target`` to voxel indices of ``source``."""
    return np.asarray(source.inverse @ target.affine)


def nearest_index(coordinates: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Index of the nearest voxel centre; a tie goes to the higher index.

    Half up, not half to even: on a grid of exactly half the spacing every label voxel then covers two fine voxels,
    where half to even makes them alternate between one and three.
    """
    return np.floor(np.asarray(coordinates, dtype=np.float64) + 0.5).astype(np.int64)


def format_shape(shape: Iterable[int]) -> str:
    """``512 x 512 x 300``."""
    return " x ".join(str(int(n)) for n in shape)


def format_vector(vector: Iterable[float], digits: int = 4) -> str:
    """``(1.5, 1.5, 3)``: short, for messages."""
    return "(" + ", ".join(f"{float(v):.{digits}g}" for v in vector) + ")"


def _corners(shape: Sequence[int]) -> FloatArray:
    last = [n - 1.0 for n in shape]
    return np.array([[i, j, k] for i in (0.0, last[0]) for j in (0.0, last[1]) for k in (0.0, last[2])])


def _three(values: Iterable[Any]) -> Index3:
    i, j, k = values
    return int(i), int(j), int(k)
