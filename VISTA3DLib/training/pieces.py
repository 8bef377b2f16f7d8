"""Pieces of real CTs with a border that one can see: bones, muscles, organs in fat, without a name or an outline.

Structures for the click branch that nobody has to draw. A tissue is found by its values and cut where it is narrow (a
watershed on the distance to its surface): a vertebra from the next, a kidney or a muscle from its neighbours. Where two
organs touch on a broad face the cut is a guess, so a network should learn from labels too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

from VISTA3DLib.components import label_components, largest_component
from VISTA3DLib.results import BoolArray


@dataclass(frozen=True, kw_only=True)
class _Tissue:
    """Values of the image as the network sees it (0..1, 2,017 HU wide); what is enclosed belongs to it if ``solid``.

    ``neck``: how much narrower (voxels) than the pieces beside it a place is, where pieces are cut apart.
    """

    lowest: float
    highest: float
    solid: bool
    neck: float


_BONE = _Tissue(lowest=0.56, highest=np.inf, solid=True, neck=0.7)  # from 165 HU, with its marrow
_SOFT = _Tissue(lowest=0.47, highest=0.58, solid=False, neck=1.0)  # organs and muscles between fat
_BONES = 0.35  # how often bone is looked for
_LEAST, _MOST = 100, 0.25  # of a piece: voxels, and share of the patch
_HALO = 3  # voxels between a piece and the patch's border, at which a person would not click


def visible_pieces(image: torch.Tensor, count: int, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
    """Masks (*window) bool of up to ``count`` pieces of one tissue of a patch's image (1, *window), values 0..1.

    Large pieces are drawn more often than small ones. Fewer, or none, where there is no such tissue.
    """
    tissue = _BONE if rng.random() < _BONES else _SOFT
    pieces = _cut_at_necks(_found(image[0].numpy(), tissue), tissue.neck)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    inner = np.unique(pieces[tuple(slice(_HALO, -_HALO) for _ in pieces.shape)])
    candidates = [int(n) for n in inner if _LEAST <= sizes[n] <= _MOST * pieces.size]
    if not candidates:
        return ()
    chance = np.sqrt(sizes[candidates])
    chosen = rng.choice(candidates, min(count, len(candidates)), replace=False, p=chance / chance.sum())
    return tuple(torch.from_numpy(_closed(pieces == n)) for n in chosen)


def _found(image: npt.NDArray[np.float32], tissue: _Tissue) -> BoolArray:
    smooth = ndimage.gaussian_filter(image, 0.7 if tissue.solid else 1.0)
    mask = (smooth > tissue.lowest) & (smooth < tissue.highest)
    if not tissue.solid:
        return np.asarray(ndimage.binary_opening(mask, iterations=1))
    closed = ndimage.binary_closing(np.pad(mask, 2), iterations=2)[2:-2, 2:-2, 2:-2]
    return _filled_slices(np.asarray(closed))


def _filled_slices(mask: BoolArray) -> BoolArray:
    """Enclosed in an axial slice is enclosed: marrow and canal of a bone that leaves the patch."""
    return np.stack([ndimage.binary_fill_holes(mask[..., n]) for n in range(mask.shape[2])], axis=2)


def _cut_at_necks(mask: BoolArray, neck: float) -> npt.NDArray[np.int32]:
    depth = np.minimum(ndimage.gaussian_filter(ndimage.distance_transform_edt(mask), 0.7), 12.0)
    seeds = label_components(h_maxima(depth, neck).astype(bool) & mask)
    return np.asarray(watershed(-depth, seeds, mask=mask), dtype=np.int32)


def _closed(mask: BoolArray) -> BoolArray:
    """Without the voxels that hang on by an edge, and as one piece."""
    opened = np.asarray(ndimage.binary_opening(mask))
    return largest_component(opened if opened.any() else mask)
