"""Automatic results become segments: all of them in one go, on one labelmap that they share.

Slicer's own import makes a labelmap for each segment first; here one image is handed to all segments, each with its
label value, which is what Slicer ends up with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.geometry import Box, FloatArray, Grid
from VISTA3DScene.changes import Appearance, LayerAdded, MaskChange
from VISTA3DScene.frames import FrameMap
from VISTA3DScene.lattice import (
    LatticeMask,
    box_of,
    difference,
    image_affine,
    image_box,
    image_values,
    local,
    on_lattice,
    oriented_image,
    whole_voxel_offset,
)
from VISTA3DScene.ledger import Action, Ledger
from VISTA3DScene.overwrite import Overwrite
from VISTA3DScene.packed import PackedImage
from VISTA3DScene.point_run import Place
from VISTA3DScene.prompts import Prompts, prompts_of, seal_of
from VISTA3DScene.segment_masks import LABELMAP, occupied, reference_image
from VISTA3DScene.styles import Style, class_style, names_in

Labels = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelImage:
    """Label values in ``box`` of a lattice; 0 is background."""

    affine: FloatArray
    box: Box
    values: Labels

    def mask(self, label: int, within: Box) -> LatticeMask:
        """The voxels of one label, tight; ``within`` holds all of them."""
        box = within & self.box
        if not box.size:
            return LatticeMask.empty(self.affine)
        part = self.values[local(box, self.box).slices] == label
        return LatticeMask(affine=self.affine, box=box, mask=part).tight()


@dataclass(frozen=True, kw_only=True, eq=False)
class Import:
    """What arrives: labels of the classes ``class_ids`` on the volume's grid, by ``model``, inside ``roi`` only."""

    labels: Labels
    class_ids: Sequence[int]
    catalogue: ClassCatalogue
    model: str
    roi: Box | None = None


def import_labels(action: Action, ledger: Ledger, place: Place, found: Import, policy: Overwrite) -> tuple[str, ...]:
    """Make segments of an automatic result; returns the ids of all that hold it now.

    A class that a segment of an earlier automatic run stands for, which nobody changed, is written into that segment
    (inside the region only); every other class comes as a new segment. Nothing that a person made is replaced.
    """
    segmentation = ledger.segmentation
    image = on_segmentation(segmentation, place, found)
    copy = PackedImage(image.values, image.box)
    seals = _seals(image, copy, found.class_ids)
    again = untouched(ledger, found.class_ids)
    known = {segment_id for segment_id, _ in again.values()}
    news = {c: image.mask(c, copy.box_of(c)) for c in again}
    rewrite(action, ledger, place, again, news, model=found.model, roi=found.roi, policy=policy)
    segments = [again[c][0] for c in seals if c in again]
    fresh = [c for c in seals if c not in again]
    if not fresh:
        return tuple(segments)
    if segments or policy is not Overwrite.KEEP_OTHERS:
        values = image.values.copy(order="K")
        values[np.isin(values, [c for c in seals if c in again])] = 0
        image = LabelImage(affine=image.affine, box=image.box, values=values)
        _mind_others(action, ledger, image, policy, known)
        copy = PackedImage(values, image.box)
        seals = _seals(image, copy, fresh)
    layer = _layer(segmentation, image, copy, {c: seals[c] for c in fresh if c in seals}, found)
    action.add_layer(layer)
    return (*segments, *layer.segment_ids)


def new_segmentation(found: Import, grid: Grid) -> Any:
    """A segmentation node of its own (in no scene) with what was found, on the grid of the volume."""
    node = slicer.vtkMRMLSegmentationNode()
    node.GetSegmentation().SetSourceRepresentationName(LABELMAP)
    box = box_of(found.labels != 0)
    if box.size:
        image = LabelImage(affine=grid.affine, box=box, values=found.labels[box.slices])
        copy = PackedImage(image.values, box)
        _layer(node, image, copy, _seals(image, copy, found.class_ids), found).redo(node)
    return node


def on_segmentation(segmentation: Any, place: Place, found: Import) -> LabelImage:
    """The labels on the lattice of the segmentation: its own geometry if it was given one, else the volume's."""
    grid, frame = place.grid, place.to_segmentation
    reference = reference_image(segmentation)
    box = box_of(found.labels != 0)
    values = found.labels[box.slices]
    if not box.size:
        return LabelImage(affine=grid.affine, box=box, values=values)
    target = _target(grid.affine, reference, frame)
    offset = whole_voxel_offset(grid.affine, target, box, frame)
    if offset is not None:
        return LabelImage(affine=target, box=box.shifted(offset), values=values)
    return _resampled(LabelImage(affine=grid.affine, box=box, values=values), target, frame)


def untouched(ledger: Ledger, class_ids: Sequence[int]) -> dict[int, tuple[str, LatticeMask]]:
    """Segments of an earlier automatic run that are as it left them, with their masks, by class."""
    found: dict[int, tuple[str, LatticeMask]] = {}
    inner = ledger.segmentation.GetSegmentation()
    for segment_id in inner.GetSegmentIDs():
        prompts = prompts_of(inner.GetSegment(segment_id))
        class_id = prompts.class_id
        if class_id is None or class_id in found or class_id not in class_ids:
            continue
        if prompts.automatic and not prompts.points:
            mask = ledger.mask_of(segment_id)
            if mask is not None and prompts.seal == seal_of(mask):
                found[class_id] = (str(segment_id), mask)
    return found


def rewrite(
    action: Action,
    ledger: Ledger,
    place: Place,
    old: Mapping[int, tuple[str, LatticeMask]],
    new: Mapping[int, LatticeMask],
    *,
    model: str,
    roi: Box | None,
    policy: Overwrite,
) -> None:
    """Bring segments of an earlier run (ids and masks, by class) to new masks, inside ``roi`` only.

    All voxels that go are cleared before any come, so that segments which pass voxels to each other stay on the
    labelmap that they share.
    """
    skip = {segment_id for segment_id, _ in old.values()}
    moves = {}
    for class_id, (segment_id, mask) in old.items():
        came, gone = difference(mask, on_lattice(new[class_id], mask.affine))
        if roi is not None:
            inside = on_lattice(_region(mask.affine, place, roi), mask.affine).inside(gone.box)
            gone = LatticeMask(affine=gone.affine, box=gone.box, mask=gone.mask & inside).tight()
        if policy is Overwrite.ONLY_EMPTY and came.box.size:
            for taken in occupied(ledger.segmentation, skip, came).values():
                came = came.changed(LatticeMask.empty(came.affine), taken)
        moves[class_id] = (segment_id, mask, came, gone)
    for segment_id, _, came, gone in moves.values():
        if gone.box.size:
            action.perform(MaskChange.of(segment_id, LatticeMask.empty(came.affine), gone))
    for class_id, (segment_id, mask, came, gone) in moves.items():
        if came.box.size:
            action.perform(MaskChange.of(segment_id, came, LatticeMask.empty(came.affine)))
            if policy is Overwrite.OVERWRITE_OTHERS:
                for other, voxels in occupied(ledger.segmentation, skip, came).items():
                    action.take_from(other, voxels)
        seal = seal_of(mask.changed(came, gone) if came.box.size or gone.box.size else mask)
        action.set_prompts(segment_id, Prompts(class_id=class_id, automatic=True, model=model, seal=seal))


def _mind_others(action: Action, ledger: Ledger, image: LabelImage, policy: Overwrite, skip: set[str]) -> None:
    """Where other segments are: leave them alone, or take from them."""
    if policy is Overwrite.KEEP_OTHERS:
        return
    whole = LatticeMask(affine=image.affine, box=image.box, mask=image.values != 0)
    for other, voxels in occupied(ledger.segmentation, skip, whole).items():
        if policy is Overwrite.ONLY_EMPTY:
            image.values[local(voxels.box, image.box).slices][voxels.mask] = 0
        else:
            action.take_from(other, voxels)


def _seals(image: LabelImage, copy: PackedImage, class_ids: Sequence[int]) -> dict[int, str]:
    """The classes that have voxels, with the seals of their masks."""
    masks = ((c, image.mask(c, copy.box_of(c))) for c in class_ids)
    return {c: seal_of(mask) for c, mask in masks if mask.box.size}


def _layer(
    segmentation: Any, image: LabelImage, copy: PackedImage, seals: Mapping[int, str], found: Import
) -> LayerAdded:
    inner = segmentation.GetSegmentation()
    taken = names_in(segmentation)
    used = set(inner.GetSegmentIDs())
    entries = []
    for class_id, seal in seals.items():
        prompts = Prompts(class_id=class_id, automatic=True, model=found.model, seal=seal)
        style = class_style(found.catalogue[class_id], prompts, taken)
        segment_id = _free_id(style.segment_id, used)
        taken.add(style.name)
        used.add(segment_id)
        entries.append((segment_id, class_id, appearance_of(style)))
    return LayerAdded(affine=image.affine, copy=copy, segments=tuple(entries))


def appearance_of(style: Style) -> Appearance:
    """A style as an appearance."""
    segment = slicer.vtkSegment()
    segment.SetName(style.name)
    segment.SetColor(*style.color)
    for tag, value in style.tags.items():
        segment.SetTag(tag, value)
    return Appearance(segment)


def _free_id(wanted: str, used: set[str]) -> str:
    if wanted not in used:
        return wanted
    return next(f"{wanted}_{n}" for n in range(1, len(used) + 2) if f"{wanted}_{n}" not in used)


def _target(affine: FloatArray, reference: Any, frame: FrameMap | None) -> FloatArray:
    if reference is not None:
        return image_affine(reference)
    return affine if frame is None or frame.matrix is None else np.asarray(frame.matrix @ affine)


def _resampled(image: LabelImage, target: FloatArray, frame: FrameMap | None) -> LabelImage:
    source = oriented_image(image.affine, image.box, image.values)
    cover = on_lattice(LatticeMask(affine=image.affine, box=image.box, mask=image.values != 0), target, frame=frame).box
    if not cover.size:
        return LabelImage(affine=target, box=cover, values=np.zeros((0, 0, 0), dtype=image.values.dtype))
    reference = oriented_image(target, cover, np.zeros(cover.shape, dtype=image.values.dtype))
    result = slicer.vtkOrientedImageData()
    resample = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage
    resample(source, reference, result, False, False, None if frame is None else frame.transform)
    return LabelImage(affine=target, box=image_box(result), values=image_values(result).copy(order="K"))


def _region(affine: FloatArray, place: Place, roi: Box) -> LatticeMask:
    box = LatticeMask(affine=place.grid.affine, box=roi, mask=np.ones(roi.shape, dtype=bool))
    return on_lattice(box, affine, frame=place.to_segmentation)
