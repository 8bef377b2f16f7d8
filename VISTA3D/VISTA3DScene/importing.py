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
from VISTA3DScene.changes import Appearance, LayerAdded
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
    present = list(seals)
    again = untouched(ledger, found.class_ids)
    region = None if found.roi is None else _region(image.affine, place, found.roi)
    for class_id, segment_id in again.items():
        new = image.mask(class_id, copy.box_of(class_id))
        _rewrite(action, ledger, segment_id, new, region, found.model)
    fresh = [c for c in present if c not in again]
    segments = [again[c] for c in present if c in again]
    if not fresh:
        return tuple(segments)
    values = image.values
    drop = [c for c in present if c in again]
    if drop or policy is Overwrite.ONLY_EMPTY:
        values = values.copy(order="K")
        values[np.isin(values, drop)] = 0
    skip = set(again.values())
    if policy is not Overwrite.KEEP_OTHERS:
        _mind_others(action, ledger, LabelImage(affine=image.affine, box=image.box, values=values), policy, skip)
    if values is not image.values:
        image = LabelImage(affine=image.affine, box=image.box, values=values)
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


def untouched(ledger: Ledger, class_ids: Sequence[int]) -> dict[int, str]:
    """Segments of an earlier automatic run that are as it left them, by class."""
    found: dict[int, str] = {}
    inner = ledger.segmentation.GetSegmentation()
    for segment_id in inner.GetSegmentIDs():
        prompts = prompts_of(inner.GetSegment(segment_id))
        wanted = prompts.automatic and prompts.class_id in class_ids and not prompts.points
        if wanted and prompts.class_id not in found and prompts.seal == seal_of(ledger.mask_of(segment_id)):
            assert prompts.class_id is not None
            found[prompts.class_id] = str(segment_id)
    return found


def _rewrite(
    action: Action, ledger: Ledger, segment_id: str, new: LatticeMask, region: LatticeMask | None, model: str
) -> None:
    old = ledger.mask_of(segment_id) or LatticeMask.empty(new.affine)
    came, gone = difference(old, on_lattice(new, old.affine))
    if region is not None:
        inside = on_lattice(region, old.affine)
        gone = LatticeMask(affine=gone.affine, box=gone.box, mask=gone.mask & inside.inside(gone.box)).tight()
    action.change_mask(segment_id, came, gone)
    prompts = prompts_of(ledger.segmentation.GetSegmentation().GetSegment(segment_id))
    seal = seal_of(old.changed(came, gone))
    fresh = Prompts(class_id=prompts.class_id, automatic=True, model=model, seal=seal)
    action.set_prompts(segment_id, fresh)


def _mind_others(action: Action, ledger: Ledger, image: LabelImage, policy: Overwrite, skip: set[str]) -> None:
    """Where other segments are: leave them alone, or take from them."""
    whole = LatticeMask(affine=image.affine, box=image.box, mask=image.values != 0)
    for other, voxels in occupied(ledger.segmentation, "", whole).items():
        if other in skip:
            continue
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
