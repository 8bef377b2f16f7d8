"""Reading and changing the voxels of segments, a box at a time, without touching their neighbours.

A segment's labelmap may be shared with others (then each has a label value of its own) and may lie on a grid of its
own. Voxels are written in place, inside the box that changes. A segment that grows into one it shares a labelmap with
first moves to a labelmap of its own, so nothing of the other is ever overwritten. (Slicer's own merging modes write the
value 1 into a shared labelmap, whatever the segment's label is, and then look through the whole image.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from VISTA3DLib.errors import VolumeError
from VISTA3DLib.geometry import Box, FloatArray
from VISTA3DScene.frames import array_to_matrix
from VISTA3DScene.lattice import (
    LatticeMask,
    box_of,
    fill_image,
    image_affine,
    image_box,
    image_values,
    local,
    on_lattice,
    oriented_image,
)
from VISTA3DScene.packed import PackedImage

LABELMAP, SURFACE = "Binary labelmap", "Closed surface"


@dataclass(frozen=True, kw_only=True, eq=False)
class Written:
    """A labelmap image that was written, inside ``box``; ``copy``: all of its values, where they are known."""

    image: Any
    box: Box
    copy: PackedImage | None = None


Touched = list[Written]


def segment_of(segmentation: Any, segment_id: str) -> Any:
    """The segment with this id. Raises ``VolumeError`` when it is gone."""
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    if segment is None:
        raise VolumeError(f"The segment '{segment_id}' is not there any more.", "Choose another segment.")
    return segment


def labelmap_of(segment: Any) -> Any:
    """The image that holds a segment's voxels (perhaps among others'), or None if it has none yet."""
    image = segment.GetRepresentation(LABELMAP)
    if image is None or image.IsEmpty() or image.GetPointData().GetScalars() is None:
        return None
    return image


def ensure_labelmaps(segmentation: Any) -> None:
    """Make labelmaps the source of a segmentation that was given as surfaces."""
    inner = segmentation.GetSegmentation()
    if inner.GetSourceRepresentationName() == LABELMAP:
        return
    if inner.GetNumberOfSegments() and not segmentation.CreateBinaryLabelmapRepresentation():
        raise VolumeError(
            f"'{segmentation.GetName()}' cannot be turned into labelmaps.",
            "Set a source geometry in the Segmentations module.",
        )
    inner.SetSourceRepresentationName(LABELMAP)


def lattice_of(segmentation: Any, segment_id: str, fallback: FloatArray) -> FloatArray:
    """The lattice that a segment's voxels lie on, or will lie on: its labelmap's, the segmentation's, or another."""
    image = labelmap_of(segment_of(segmentation, segment_id))
    if image is not None:
        return image_affine(image)
    reference = reference_image(segmentation)
    return fallback if reference is None else image_affine(reference)


def reference_image(segmentation: Any) -> Any:
    """The geometry that a segmentation was given (an image without voxels), or None."""
    text = segmentation.GetSegmentation().GetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    )
    image = slicer.vtkOrientedImageData()
    if not text or not slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, image, False):
        return None
    return image if image_box(image).size else None


def read_mask(segmentation: Any, segment_id: str, *, within: Box | None = None) -> LatticeMask | None:
    """A segment's voxels on its own lattice, in a tight box; None when it has none.

    ``within`` is a box (in voxels) outside of which it is known to have none. Segments whose source is a surface are
    converted first, as Slicer's own tools do.
    """
    ensure_labelmaps(segmentation)
    segment = segment_of(segmentation, segment_id)
    image = labelmap_of(segment)
    if image is None:
        return None
    found = label_mask(image, segment.GetLabelValue(), within)
    return found if found.box.size else None


def label_mask(image: Any, label: int, within: Box | None = None) -> LatticeMask:
    """The voxels of a labelmap with one label, tight."""
    whole = image_box(image)
    box = whole if within is None else whole & within
    if not box.size:
        return LatticeMask.empty(image_affine(image))
    mask = image_values(image)[local(box, whole).slices] == label
    inner = box_of(mask)
    if not inner.size:
        return LatticeMask.empty(image_affine(image))
    return LatticeMask(affine=image_affine(image), box=inner.shifted(box.start), mask=mask[inner.slices])


def occupied(segmentation: Any, skip: Collection[str], place: LatticeMask) -> dict[str, LatticeMask]:
    """The voxels of ``place`` that other segments have, by segment; those in ``skip`` are left out."""
    found: dict[str, LatticeMask] = {}
    inner = segmentation.GetSegmentation()
    for segment_id in inner.GetSegmentIDs():
        image = labelmap_of(inner.GetSegment(segment_id))
        if segment_id in skip or image is None:
            continue
        there = on_lattice(place, image_affine(image))
        mask = label_mask(image, inner.GetSegment(segment_id).GetLabelValue(), there.box)
        here = on_lattice(mask, place.affine, bounds=place.box)
        both = LatticeMask(affine=place.affine, box=place.box, mask=here.inside(place.box) & place.mask).tight()
        if both.box.size:
            found[segment_id] = both
    return found


def change_mask(segmentation: Any, segment_id: str, on: LatticeMask, off: LatticeMask) -> Touched:
    """Set and clear voxels of one segment; nothing else changes anywhere. Returns what was written.

    Masks on another lattice than the segment's are brought to it.
    """
    ensure_labelmaps(segmentation)
    segment = segment_of(segmentation, segment_id)
    affine = lattice_of(segmentation, segment_id, on.affine)
    came, gone = on_lattice(on, affine).tight(), on_lattice(off, affine).tight()
    touched: Touched = []
    with kept_surfaces(segmentation):
        if gone.box.size and labelmap_of(segment) is not None:
            touched += _clear(segment, gone)
        if came.box.size:
            touched += _set(segmentation, segment, came)
            place_empty_labelmaps(segmentation, affine)
        for image in {id(written.image): written.image for written in touched}.values():
            image.GetPointData().GetScalars().Modified()
            image.Modified()
    return touched


def place_empty_labelmaps(segmentation: Any, affine: FloatArray) -> None:
    """Give the empty labelmaps of segments without voxels a lattice.

    Slicer makes them on a lattice of 1 mm along the axes of the world, and resamples all other segments to the first
    segment's lattice when it saves: one empty segment would take the detail from all.
    """
    inner = segmentation.GetSegmentation()
    for segment_id in inner.GetSegmentIDs():
        segment = inner.GetSegment(segment_id)
        image = segment.GetRepresentation(LABELMAP)
        if image is not None and labelmap_of(segment) is None and not np.allclose(image_affine(image), affine):
            image.SetGeometryFromImageToWorldMatrix(array_to_matrix(affine))


@contextmanager
def kept_surfaces(segmentation: Any) -> Iterator[None]:
    """Keep the surfaces of all segments while labelmaps change; Slicer throws all of them away when one does."""
    inner = segmentation.GetSegmentation()
    held = []
    if inner.ContainsRepresentation(SURFACE):
        held = [(i, inner.GetSegment(i).GetRepresentation(SURFACE)) for i in inner.GetSegmentIDs()]
    yield
    for segment_id, surface in held:
        segment = inner.GetSegment(segment_id)
        if segment is not None and surface is not None and segment.GetRepresentation(SURFACE) is not surface:
            segment.AddRepresentation(SURFACE, surface)


def refresh_surface(segmentation: Any, segment_id: str) -> None:
    """Compute the surface of one segment again, if surfaces are shown; the others stay as they are."""
    inner = segmentation.GetSegmentation()
    segment = inner.GetSegment(segment_id)
    if segment is None or not inner.ContainsRepresentation(SURFACE):
        return
    alone = slicer.vtkSegmentation()
    alone.CopyConversionParameters(inner)
    alone.SetSourceRepresentationName(LABELMAP)
    copy = slicer.vtkSegment()
    copy.SetLabelValue(segment.GetLabelValue())
    copy.AddRepresentation(LABELMAP, segment.GetRepresentation(LABELMAP))
    alone.AddSegment(copy, segment_id)
    if alone.CreateRepresentation(SURFACE, True):
        segment.AddRepresentation(SURFACE, copy.GetRepresentation(SURFACE))


def _clear(segment: Any, gone: LatticeMask) -> Touched:
    image, label = labelmap_of(segment), segment.GetLabelValue()
    whole = image_box(image)
    box = gone.box & whole
    if not box.size:
        return []
    view = image_values(image)[local(box, whole).slices]
    view[gone.inside(box) & (view == label)] = 0
    return [Written(image=image, box=box)]


def _set(segmentation: Any, segment: Any, came: LatticeMask) -> Touched:
    image = labelmap_of(segment)
    if image is None:
        image = oriented_image(came.affine, came.box, came.mask)
        segment.SetLabelValue(1)
        segment.AddRepresentation(LABELMAP, image)
        return [Written(image=image, box=came.box)]
    whole, label = image_box(image), segment.GetLabelValue()
    there = came.box & whole
    if there.size:
        old = image_values(image)[local(there, whole).slices]
        if np.any((old != 0) & (old != label) & came.inside(there)):
            return _moved_out(segment, image, came)
    if not whole.contains_box(came.box):
        _grow(image, whole | came.box)
        whole = image_box(image)
    image_values(image)[local(came.box, whole).slices][came.mask] = label
    return [Written(image=image, box=came.box)]


def _moved_out(segment: Any, shared: Any, came: LatticeMask) -> Touched:
    """Give a segment a labelmap of its own, which holds what it had and what it gets."""
    own = label_mask(shared, segment.GetLabelValue())
    touched = _clear(segment, own) if own.box.size else []
    merged = own.changed(came, LatticeMask.empty(own.affine))
    image = oriented_image(own.affine, merged.box, merged.mask)
    segment.SetLabelValue(1)
    segment.AddRepresentation(LABELMAP, image)
    return [*touched, Written(image=image, box=merged.box)]


def _grow(image: Any, box: Box) -> None:
    """Make room in a labelmap; it stays the same object, so segments that share it still do."""
    whole, old = image_box(image), image_values(image)
    wider = np.zeros(box.shape[::-1], dtype=old.dtype).transpose(2, 1, 0)
    wider[local(whole, box).slices] = old
    fill_image(image, box, wider)
