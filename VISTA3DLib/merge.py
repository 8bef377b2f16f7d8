"""Algorithm 1: repair a mask with clicks, one connected component at a time (paper Alg. 1, spec 4).

The network proposes a mask from the clicks. Where the proposal has more than the old mask are additions, where it has
less are removals; each falls into connected components (26-neighbourhood). A positive click takes over the component
of the additions that it lies in, a negative click the one of the removals, and all the rest of the old mask stays.

Corrected against the reference (spec 8.4): negative and padding points never open the "inside" rule; a click next to
several components takes the nearest one, not the one with the highest number; objects are labelled one by one; masks
are boolean, so there is no NaN to spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from VISTA3DLib.components import label_components
from VISTA3DLib.geometry import Box
from VISTA3DLib.results import BoolArray

TOLERANCE_VOXELS = 2  # a click this near to a component still means it (3 mm on the published model's grid)


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A component that was chosen: a mask in its ``box`` and the indices of the clicks that chose it."""

    added: bool
    box: Box
    mask: BoolArray
    points: tuple[int, ...]


def merge_by_components(
    base: BoolArray,
    proposal: BoolArray,
    points: npt.NDArray[np.float64],
    positive: Sequence[bool],
    *,
    valid: BoolArray | None = None,
) -> tuple[Part, ...]:
    """The parts by which clicks change ``base`` towards ``proposal``.

    ``base`` and ``proposal`` are boolean of the same shape, ``points`` (N, 3) fractional voxel indices, ``positive``
    their signs. ``valid`` marks where the proposal is known; the rest takes no part. A click that hits no component
    within ``TOLERANCE_VOXELS`` changes nothing. Additions and removals never share a voxel.
    """
    positions = rounded_inside(points, base.shape)
    inside = any(base[tuple(p)] for p, sign in zip(positions, positive, strict=True) if sign)
    parts: list[Part] = []
    for sign in (True, False):
        chosen = [n for n, s in enumerate(positive) if s == sign]
        if not chosen:
            continue  # nothing asks for this side: it need not be labelled
        # A positive click inside the mask asks to grow: the whole proposed component it lies in counts as added.
        additions = proposal if inside else proposal & ~base
        difference = additions if sign else base & ~proposal
        if valid is not None:
            difference = difference & valid
        parts += _hit_parts(difference, positions, chosen, added=sign)
    return tuple(parts)


def apply_parts(base: BoolArray, parts: Sequence[Part]) -> BoolArray:
    """``base`` with the parts added and removed; ``base`` itself is not changed."""
    merged = base.copy()
    for part in parts:
        view = merged[part.box.slices]
        if part.added:
            view |= part.mask
        else:
            view &= ~part.mask
    return merged


def keep_hit_components(
    mask: BoolArray, points: npt.NDArray[np.float64], positive: Sequence[bool]
) -> tuple[BoolArray, bool]:
    """Only the components of ``mask`` that a positive click lies in, and whether there were any.

    The reference empties the mask when the clicked voxel itself is not positive (spec 3.5); here a click within
    ``TOLERANCE_VOXELS`` of a component counts, and when none is near, the mask is returned as it was.
    """
    chosen = [n for n, sign in enumerate(positive) if sign]
    parts = _hit_parts(mask, rounded_inside(points, mask.shape), chosen, added=True) if chosen else ()
    if not parts:
        return mask, False
    return apply_parts(np.zeros_like(mask), parts), True


def rounded_inside(points: npt.NDArray[np.float64], shape: Sequence[int]) -> npt.NDArray[np.int64]:
    """The voxels that points lie in; a point on the outer border belongs to the border's voxel."""
    nearest = np.floor(np.asarray(points, dtype=np.float64).reshape(-1, 3) + 0.5).astype(np.int64)
    return nearest.clip(0, np.asarray(shape, dtype=np.int64) - 1)


def _hit_parts(
    difference: BoolArray, positions: npt.NDArray[np.int64], chosen: Sequence[int], *, added: bool
) -> tuple[Part, ...]:
    labels = label_components(difference)
    hits: dict[int, list[int]] = {}
    for n in chosen:
        label = _nearest_label(labels, positions[n])
        if label:
            hits.setdefault(label, []).append(n)
    parts = []
    for label, points in hits.items():
        mask = labels == label
        box = Box.of_mask(mask)
        parts.append(Part(added=added, box=box, mask=mask[box.slices].copy(), points=tuple(points)))
    return tuple(parts)


def _nearest_label(labels: npt.NDArray[np.integer], position: npt.NDArray[np.int64]) -> int:
    """Label of the component nearest to a voxel, at most ``TOLERANCE_VOXELS`` away per axis; 0 if there is none."""
    own = int(labels[tuple(position)])
    if own:
        return own
    low = (position - TOLERANCE_VOXELS).clip(0)
    near = labels[tuple(slice(a, b + TOLERANCE_VOXELS + 1) for a, b in zip(low, position, strict=True))]
    found = np.argwhere(near)
    if not found.size:
        return 0
    offset = found + low - position
    # Rings of growing size as in the reference, then the true distance, then the order in the array.
    rank = np.lexsort((np.arange(len(found)), (offset**2).sum(axis=1), np.abs(offset).max(axis=1)))
    return int(near[tuple(found[rank[0]])])
