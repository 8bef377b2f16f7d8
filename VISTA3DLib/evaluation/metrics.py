"""How well two masks of one object agree: overlap, surfaces, volume, as MONAI measures them.

Everything is measured in millimetres on the grid that the masks are on, in the box around both, so that the cost
follows from the object and not from the volume. Nothing is invented where nothing can be measured: an object that is
in neither mask has no Dice at all (scoring it as 1 would reward models for classes that a scan does not show).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from monai.metrics.utils import get_mask_edges
from scipy import ndimage
from scipy.spatial import KDTree

from VISTA3DLib.errors import SettingsError, VolumeError
from VISTA3DLib.evaluation.masks import BoxedMask
from VISTA3DLib.geometry import format_shape, format_vector
from VISTA3DLib.results import BoolArray

TOLERANCE_MM = 2.0  # of the CVPR-2025 challenge (spec 7.6)
_MANY_VOXELS = 60_000

Outcome = Literal["scored", "missed", "false positive", "absent"]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """How well a predicted mask agrees with the truth.

    ``outcome``: ``scored`` when both have voxels; ``missed`` when only the truth has (Dice and NSD are 0, there is no
    distance); ``false positive`` when only the prediction has, ``absent`` when neither has (no scores at all).
    ``dice`` and ``nsd`` are 0 to 1; ``nsd`` is the share of both surfaces (counted in border voxels, as MONAI does by
    default) that lies within a tolerance of the other; ``hd95_mm`` is the 95th percentile of the distances between the
    surfaces, the larger of both directions.
    """

    outcome: Outcome
    dice: float | None
    nsd: float | None
    hd95_mm: float | None
    truth_ml: float
    predicted_ml: float


@dataclass(frozen=True, kw_only=True)
class MaskComparison(Scores):
    """The scores of two masks, and the tolerance in mm that their surfaces were compared with."""

    tolerance_mm: float = TOLERANCE_MM

    @property
    def volume_error_ml(self) -> float:
        """Predicted minus true volume."""
        return self.predicted_ml - self.truth_ml

    @property
    def volume_error_percent(self) -> float | None:
        """Predicted minus true volume as a share of the true one; None where that is 0."""
        return 100.0 * self.volume_error_ml / self.truth_ml if self.truth_ml else None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, the errors of volume too."""
        errors = {"volume_error_ml": self.volume_error_ml, "volume_error_percent": self.volume_error_percent}
        return {**asdict(self), **errors}


def compare_masks(
    truth: npt.NDArray[Any],
    predicted: npt.NDArray[Any],
    spacing: Sequence[float],
    *,
    tolerance_mm: float = TOLERANCE_MM,
    voxel_ml: float | None = None,
) -> MaskComparison:
    """Compare two masks (any numbers, not 0 is inside) of the same shape (I, J, K) with ``spacing`` in mm.

    ``voxel_ml``: the volume of a voxel, if it is not the product of the spacing (a sheared grid). Raises
    ``VolumeError`` for shapes that differ and for values that are not finite, ``SettingsError`` for a bad spacing or
    tolerance.

    >>> import numpy as np
    >>> a, b = np.zeros((8, 8, 8)), np.zeros((8, 8, 8))
    >>> a[2:6, 2:6, 2:6], b[2:6, 2:6, 3:7] = 1, 1
    >>> compare_masks(a, b, (1.0, 1.0, 2.0)).dice
    0.75
    """
    if truth.shape != predicted.shape or truth.ndim != 3:
        raise VolumeError(
            f"The masks have {format_shape(truth.shape)} and {format_shape(predicted.shape)} voxels.",
            "Give two 3D masks on the same grid.",
        )
    a, b = BoxedMask.of(_as_bool(truth)), BoxedMask.of(_as_bool(predicted))
    return compare_boxed(a, b, spacing, tolerance_mm=tolerance_mm, voxel_ml=voxel_ml)


def compare_boxed(
    truth: BoxedMask,
    predicted: BoxedMask,
    spacing: Sequence[float],
    *,
    tolerance_mm: float = TOLERANCE_MM,
    voxel_ml: float | None = None,
) -> MaskComparison:
    """``compare_masks`` for masks that are kept in boxes of one grid."""
    _check(spacing, tolerance_mm)
    ml = float(np.prod(spacing)) / 1000.0 if voxel_ml is None else voxel_ml
    counts = truth.voxels, predicted.voxels
    outcome = _outcome(*counts)
    dice, nsd, hd95 = None, None, None
    if outcome == "missed":
        dice, nsd = 0.0, 0.0
    elif outcome == "scored":
        # One voxel of margin: a border at the edge of the box is a border like any other.
        box = (truth.box | predicted.box).grown(1)
        a, b = truth.cut(box), predicted.cut(box)
        dice = 2.0 * int(np.count_nonzero(a & b)) / sum(counts)
        nsd, hd95 = (1.0, 0.0) if dice == 1.0 else _surfaces(a, b, spacing, tolerance_mm)
    return MaskComparison(
        outcome=outcome,
        dice=dice,
        nsd=nsd,
        hd95_mm=hd95,
        truth_ml=counts[0] * ml,
        predicted_ml=counts[1] * ml,
        tolerance_mm=tolerance_mm,
    )


def _outcome(truth: int, predicted: int) -> Outcome:
    if truth:
        return "scored" if predicted else "missed"
    return "false positive" if predicted else "absent"


def _surfaces(a: BoolArray, b: BoolArray, spacing: Sequence[float], tolerance: float) -> tuple[float, float]:
    """NSD and HD95 from one pass over the border voxels; the same numbers as MONAI's two functions, which take two."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI 1.6 warns of an argument that it passes to itself
        edges = [np.asarray(e, dtype=bool) for e in get_mask_edges(a, b, crop=False)]
    distances = _distances(edges[0], edges[1], spacing), _distances(edges[1], edges[0], spacing)
    near = sum(int(np.count_nonzero(d <= tolerance)) for d in distances)
    return near / sum(len(d) for d in distances), float(max(np.percentile(d, 95) for d in distances))


def _distances(start: BoolArray, goal: BoolArray, spacing: Sequence[float]) -> npt.NDArray[np.float64]:
    """Millimetres from every voxel of ``start`` to the nearest of ``goal``: whichever way is quicker."""
    if np.count_nonzero(start) > _MANY_VOXELS:  # a mask that leaked: a tree would take seconds
        return np.asarray(ndimage.distance_transform_edt(~goal, sampling=spacing)[start])
    tree = KDTree(np.argwhere(goal) * spacing, leafsize=32)
    return np.asarray(tree.query(np.argwhere(start) * spacing)[0])


def _as_bool(mask: npt.NDArray[Any]) -> BoolArray:
    if mask.dtype.kind == "f" and not np.isfinite(mask).all():
        raise VolumeError("A mask has values that are not finite.", "Give masks of 0 and 1.")
    return np.asarray(mask, dtype=bool)


def _check(spacing: Sequence[float], tolerance: float) -> None:
    if len(spacing) != 3 or not all(math.isfinite(s) and s > 0 for s in spacing):
        raise SettingsError(f"The spacing is {format_vector(spacing)} mm.", "Give three positive numbers.")
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise SettingsError(f"The tolerance is {tolerance} mm.", "Give 0 or more.")
