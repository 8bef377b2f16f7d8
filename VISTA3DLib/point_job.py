"""One answer to clicks: the clicked object, or what the clicks change about a mask that is there already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from VISTA3DLib.class_job import mask_to_volume, union_of_masks
from VISTA3DLib.components import label_components
from VISTA3DLib.geometry import Box, Grid
from VISTA3DLib.merge import Part, keep_hit_components, merge_by_components
from VISTA3DLib.points import ClickSet, LogitPatch
from VISTA3DLib.preprocess import PreparedVolume
from VISTA3DLib.resample import resample_linear, resample_nearest, sample_nearest
from VISTA3DLib.results import BoolArray, Change

_EMPTY = Box(start=(0, 0, 0), stop=(0, 0, 0))


@dataclass(frozen=True, kw_only=True, eq=False)
class ClickAnswer:
    """A mask in a box of the volume's grid, what changed, and sentences for the person."""

    box: Box
    mask: BoolArray
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()


def clicked_object(
    patches: Sequence[LogitPatch], clicks: ClickSet, prepared: PreparedVolume, *, smooth: bool
) -> ClickAnswer:
    """The object under the positive clicks: the network's mask, cut to the components that were clicked.

    Where a patch carries automatic logits, their mask is repaired by the clicks instead (auto+point, spec 3.4).
    """
    masks, notes = [], []
    if not any(clicks.positive) and not any(p.automatic is not None for p in patches):
        return ClickAnswer(box=_EMPTY, mask=np.zeros((0, 0, 0), dtype=bool), notes=(_why_empty(clicks),))
    for patch in patches:
        index, positive, _ = _clicks_in(patch, clicks)
        proposal = patch.logits.numpy() > 0
        if patch.automatic is not None:
            logits = _repaired_logits(patch.automatic, patch, proposal, index, positive)
            kept = logits.numpy() > 0
        else:
            logits = patch.logits
            kept, hit = keep_hit_components(proposal, index, positive)
            if not hit and proposal.any():
                notes.append("No part of the result lies under a positive point; all parts are kept.")
        if smooth:
            masks.append(_smooth_mask(logits, kept, patch.box, prepared))
        else:
            masks.append(mask_to_volume(kept, patch.box, prepared))
    box, mask = union_of_masks(masks)
    if not mask.any():
        notes.append(_why_empty(clicks))
    return ClickAnswer(box=box, mask=mask, notes=tuple(notes))


def repaired_mask(
    patches: Sequence[LogitPatch], clicks: ClickSet, base: BoolArray, prepared: PreparedVolume, *, smooth: bool
) -> ClickAnswer:
    """What the clicks change about ``base`` (bool, on the volume's grid), by Algorithm 1 on the model's grid.

    The box and mask of the answer hold the new values where something changed. Additions and removals of different
    patches are put together so that the order of the clicks does not matter: a removal wins.
    """
    grid = prepared.volume_grid
    edits: list[_Edit] = []
    for patch in patches:
        index, positive, order = _clicks_in(patch, clicks)
        below = sample_nearest(base, grid, prepared.grid.cropped(patch.box))
        proposal = patch.logits.numpy() > 0
        for part in merge_by_components(below, proposal, index, positive, valid=patch.known):
            edits.append(_edit_on_volume(part, patch, base, prepared, order, smooth=smooth))
    edits = [e for e in edits if e.mask.any()]
    if not edits:
        return ClickAnswer(box=_EMPTY, mask=np.zeros((0, 0, 0), dtype=bool), notes=(_why_unchanged(clicks),))
    box = _EMPTY
    for edit in edits:
        box = box | edit.box
    merged = base[box.slices].copy()
    for edit in sorted(edits, key=lambda e: not e.part.added):
        view = merged[edit.box.shifted([-v for v in box.start]).slices]
        view[edit.mask] = edit.part.added
    changes = tuple(_change(edit, grid) for edit in edits)
    return ClickAnswer(box=box, mask=merged, changes=changes)


def _repaired_logits(
    automatic: torch.Tensor,
    patch: LogitPatch,
    proposal: BoolArray,
    index: npt.NDArray[np.float64],
    positive: Sequence[bool],
) -> torch.Tensor:
    """Automatic logits with the clicked components taken from the point branch."""
    logits = automatic.clone()
    for part in merge_by_components(automatic.numpy() > 0, proposal, index, positive, valid=patch.known):
        chosen = torch.from_numpy(part.mask)
        logits[part.box.slices] = torch.where(chosen, patch.logits[part.box.slices], logits[part.box.slices])
    return logits


@dataclass(frozen=True, kw_only=True, eq=False)
class _Edit:
    """A part on the volume's grid: the voxels of ``box`` that it really changes."""

    part: Part
    box: Box
    mask: BoolArray
    points: tuple[int, ...]


def _clicks_in(
    patch: LogitPatch, clicks: ClickSet
) -> tuple[npt.NDArray[np.float64], tuple[bool, ...], tuple[int, ...]]:
    """The clicks that lie in a patch's known voxels: positions in the patch, signs, and their numbers."""
    local = clicks.index - np.asarray(patch.box.start)
    last = np.asarray(patch.box.shape) - 1
    chosen = []
    for n, position in enumerate(local):
        voxel = np.floor(position + 0.5).astype(int)
        if np.all(voxel >= -1) and np.all(voxel <= last + 1) and patch.known[tuple(voxel.clip(0, last))]:
            chosen.append(n)
    return local[chosen], tuple(clicks.positive[n] for n in chosen), tuple(chosen)


def _edit_on_volume(
    part: Part, patch: LogitPatch, base: BoolArray, prepared: PreparedVolume, order: Sequence[int], *, smooth: bool
) -> _Edit:
    """Bring a part from the model's grid to the CT's: the voxels that really change, in a tight box."""
    mask, local = part.mask, part.box
    if smooth:  # the border is drawn by the interpolated logits, one model voxel around the part at most
        local = part.box.grown(1) & Box.whole(patch.box.shape)
        padded = _padded_to(part.mask, part.box, local)
        mask = ndimage.binary_dilation(padded, ndimage.generate_binary_structure(3, 3))
    model_box = local.shifted(patch.box.start)
    cover = prepared.to_volume(model_box)
    target = prepared.volume_grid.cropped(cover) if cover.size else None
    if target is None:
        return _Edit(part=part, box=_EMPTY, mask=np.zeros((0, 0, 0), dtype=bool), points=())
    inside = resample_nearest(mask, prepared.grid, target, inside=model_box)
    if smooth:
        positive = _interpolated(patch.logits[local.slices], model_box, target, prepared) > 0
        inside &= positive if part.added else ~positive
    old = base[cover.slices]
    changed = inside & ~old if part.added else inside & old
    if not part.added:
        cover, changed = _with_debris(base, cover, changed, prepared)
    tight = Box.of_mask(changed)
    box = tight.shifted(cover.start) if tight.size else tight
    return _Edit(part=part, box=box, mask=changed[tight.slices], points=tuple(order[n] for n in part.points))


def _with_debris(base: BoolArray, box: Box, removed: BoolArray, prepared: PreparedVolume) -> tuple[Box, BoolArray]:
    """Removed voxels plus the crumbs that the coarser model grid leaves of them on a finer CT.

    A CT voxel whose nearest model voxel fell outside the old mask was invisible to the merge. Where such voxels form
    a piece of their own that touches what was removed, they go with it.
    """
    reach = [int(np.ceil(max(prepared.grid.spacing) / s)) for s in prepared.volume_grid.spacing]
    wide = box.grown(reach) & prepared.volume_grid.box
    gone = np.zeros(wide.shape, dtype=bool)
    gone[box.shifted([-v for v in wide.start]).slices] = removed
    rest = base[wide.slices] & ~gone
    target = prepared.volume_grid.cropped(wide)
    model_box = prepared.to_model(wide)
    seen = sample_nearest(base, prepared.volume_grid, prepared.grid.cropped(model_box))
    visible = resample_nearest(seen, prepared.grid, target, inside=model_box)
    labels = label_components(rest)
    if not labels.max():
        return wide, gone
    touching = np.unique(labels[ndimage.binary_dilation(gone, ndimage.generate_binary_structure(3, 3)) & rest])
    anchored = np.unique(labels[rest & visible])
    border = np.unique(np.concatenate([labels.take(i, a).ravel() for a in range(3) for i in (0, -1)]))
    crumbs = np.setdiff1d(touching, np.concatenate([anchored, border]))
    return wide, gone | np.isin(labels, crumbs[crumbs > 0])


def _smooth_mask(logits: torch.Tensor, kept: BoolArray, box: Box, prepared: PreparedVolume) -> tuple[Box, BoolArray]:
    """The kept components with borders drawn at the CT's resolution by interpolated logits (of ``box``)."""
    tight = Box.of_mask(kept)
    if not tight.size:
        return _EMPTY, np.zeros((0, 0, 0), dtype=bool)
    local = tight.grown(1) & Box.whole(box.shape)
    allowed = ndimage.binary_dilation(kept[local.slices], ndimage.generate_binary_structure(3, 3))
    model_box = local.shifted(box.start)
    cover = prepared.to_volume(model_box)
    if not cover.size:
        return _EMPTY, np.zeros((0, 0, 0), dtype=bool)
    target = prepared.volume_grid.cropped(cover)
    mask = resample_nearest(allowed, prepared.grid, target, inside=model_box)
    mask &= _interpolated(logits[local.slices], model_box, target, prepared) > 0
    inner = Box.of_mask(mask)
    return (inner.shifted(cover.start) if inner.size else inner), mask[inner.slices]


def _interpolated(
    logits: torch.Tensor, model_box: Box, target: Grid, prepared: PreparedVolume
) -> npt.NDArray[np.float32]:
    return resample_linear(logits.numpy(), prepared.grid.cropped(model_box), target).numpy()


def _padded_to(mask: BoolArray, box: Box, wider: Box) -> BoolArray:
    out = np.zeros(wider.shape, dtype=bool)
    out[box.shifted([-v for v in wider.start]).slices] = mask
    return out


def _change(edit: _Edit, grid: Grid) -> Change:
    voxels = int(np.count_nonzero(edit.mask))
    middle = np.argwhere(edit.mask).mean(axis=0) + np.asarray(edit.box.start)
    r, a, s = grid.to_world(middle)
    return Change(
        kind="added" if edit.part.added else "removed",
        voxels=voxels,
        ml=voxels * grid.voxel_ml,
        box=edit.box,
        center=(float(r), float(a), float(s)),
        points=edit.points,
    )


def _why_empty(clicks: ClickSet) -> str:
    if not any(clicks.positive):
        return "There is no positive point, so there is no object: add one on the structure."
    return "The model finds nothing at these points: add a positive point nearer to the structure's middle."


def _why_unchanged(clicks: ClickSet) -> str:
    signs = {True: "positive", False: "negative"}
    kinds = " and ".join(signs[s] for s in (True, False) if s in clicks.positive)
    return f"The {kinds} points change nothing: the model agrees with the mask there, or sees no part to change."
