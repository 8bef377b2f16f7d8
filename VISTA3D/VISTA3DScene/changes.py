"""The kinds of changes that undo can take back, each of them exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import slicer

from VISTA3DLib.geometry import Box, FloatArray
from VISTA3DScene.lattice import LatticeMask, blank_image, image_box, image_values
from VISTA3DScene.packed import PackedImage, PackedMask
from VISTA3DScene.segment_masks import (
    LABELMAP,
    SURFACE,
    Touched,
    Written,
    change_mask,
    ensure_labelmaps,
    label_mask,
    labelmap_of,
    place_empty_labelmaps,
    segment_of,
)
from VISTA3DScene.tags import PROMPTS_TAG, STATUS_TAG, TERMINOLOGY_TAG, get_tag, set_tag


class Change(Protocol):
    """Something that can be done again and undone on a segmentation; both say which labelmaps they wrote."""

    @property
    def segment_ids(self) -> tuple[str, ...]:
        """The segments it is about."""

    def undo(self, segmentation: Any) -> Touched:
        """Bring back what was."""

    def redo(self, segmentation: Any) -> Touched:
        """Do it again."""

    @property
    def nbytes(self) -> int:
        """Memory that is taken."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Voxels:
    """Voxels of a lattice, compressed."""

    affine: FloatArray
    box: Box
    mask: PackedMask

    @classmethod
    def of(cls, mask: LatticeMask) -> Voxels:
        """Pack a mask."""
        tight = mask.tight()
        return cls(affine=tight.affine, box=tight.box, mask=PackedMask.of(tight.mask))

    def unpack(self) -> LatticeMask:
        """The mask again."""
        return LatticeMask(affine=self.affine, box=self.box, mask=self.mask.unpack())

    @property
    def nbytes(self) -> int:
        """Memory that is taken."""
        return self.mask.nbytes + 300


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskChange:
    """Voxels of one segment that came and went."""

    segment_id: str
    came: Voxels
    gone: Voxels

    @classmethod
    def of(cls, segment_id: str, came: LatticeMask, gone: LatticeMask) -> MaskChange:
        """From masks."""
        return cls(segment_id=segment_id, came=Voxels.of(came), gone=Voxels.of(gone))

    @property
    def segment_ids(self) -> tuple[str, ...]:
        """The segment."""
        return (self.segment_id,)

    def undo(self, segmentation: Any) -> Touched:
        """Take the voxels that came away and give back those that went."""
        return change_mask(segmentation, self.segment_id, self.gone.unpack(), self.came.unpack())

    def redo(self, segmentation: Any) -> Touched:
        """The other way round."""
        return change_mask(segmentation, self.segment_id, self.came.unpack(), self.gone.unpack())

    @property
    def nbytes(self) -> int:
        """Memory that is taken."""
        return self.came.nbytes + self.gone.nbytes


@dataclass(frozen=True, kw_only=True)
class TagChange:
    """A tag of a segment: prompts, class. None: not there."""

    segment_id: str
    tag: str
    before: str | None
    after: str | None

    @property
    def segment_ids(self) -> tuple[str, ...]:
        """The segment."""
        return (self.segment_id,)

    def undo(self, segmentation: Any) -> Touched:
        """Set the old value."""
        set_tag(segment_of(segmentation, self.segment_id), self.tag, self.before)
        return []

    def redo(self, segmentation: Any) -> Touched:
        """Set the new value."""
        set_tag(segment_of(segmentation, self.segment_id), self.tag, self.after)
        return []

    @property
    def nbytes(self) -> int:
        """Memory that is taken."""
        return len(self.before or "") + len(self.after or "") + 200


class Appearance:
    """Name, colour, terminology and tags of a segment, as a copy that is kept."""

    # Tags cannot be listed from Python; these are the ones by which a change made elsewhere is noticed.
    WATCHED = (TERMINOLOGY_TAG, STATUS_TAG, PROMPTS_TAG)

    def __init__(self, segment: Any) -> None:
        self._card = slicer.vtkSegment()
        self._card.DeepCopyMetadata(segment)
        self.key = (segment.GetName(), tuple(segment.GetColor()), *(get_tag(segment, t) for t in self.WATCHED))

    @property
    def name(self) -> str:
        """The segment's name."""
        return str(self._card.GetName())

    @property
    def color(self) -> tuple[float, float, float]:
        """Red, green, blue, 0 to 1."""
        r, g, b = self._card.GetColor()
        return r, g, b

    def apply(self, segment: Any) -> None:
        """Give a segment this appearance; the label value of its voxels stays its own."""
        value = segment.GetLabelValue()
        for tag in self.WATCHED:  # a tag that was not there must go again
            segment.RemoveTag(tag)
        segment.DeepCopyMetadata(self._card)
        segment.SetLabelValue(value)

    @property
    def nbytes(self) -> int:
        """Memory that is taken, roughly."""
        return 300 + sum(len(part) for part in self.key if isinstance(part, str))


@dataclass(frozen=True, kw_only=True, eq=False)
class AppearanceChange:
    """A segment was renamed, recoloured or tagged."""

    segment_id: str
    before: Appearance
    after: Appearance

    @property
    def segment_ids(self) -> tuple[str, ...]:
        """The segment."""
        return (self.segment_id,)

    def undo(self, segmentation: Any) -> Touched:
        """Set the old name, colour and tags."""
        self.before.apply(segment_of(segmentation, self.segment_id))
        return []

    def redo(self, segmentation: Any) -> Touched:
        """Set the new ones."""
        self.after.apply(segment_of(segmentation, self.segment_id))
        return []

    @property
    def nbytes(self) -> int:
        """Memory that is taken."""
        return self.before.nbytes + self.after.nbytes


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentRecord:
    """Everything needed to bring a segment back: id, place in the list, appearance, voxels."""

    segment_id: str
    index: int
    appearance: Appearance
    voxels: Voxels | None = None

    @classmethod
    def of(cls, segmentation: Any, segment_id: str, *, within: Box | None = None) -> SegmentRecord:
        """Record a segment that is there; ``within`` as for ``read_mask``."""
        ensure_labelmaps(segmentation)
        segment = segment_of(segmentation, segment_id)
        image = labelmap_of(segment)
        mask = None if image is None else label_mask(image, segment.GetLabelValue(), within)
        return cls(
            segment_id=segment_id,
            index=segmentation.GetSegmentation().GetSegmentIndex(segment_id),
            appearance=Appearance(segment),
            voxels=Voxels.of(mask) if mask is not None and mask.box.size else None,
        )

    def insert(self, segmentation: Any) -> Touched:
        """Bring the segment back, with its id, at its place."""
        inner = segmentation.GetSegmentation()
        inner.AddEmptySegment(self.segment_id, self.appearance.name, list(self.appearance.color))
        self.appearance.apply(inner.GetSegment(self.segment_id))
        inner.SetSegmentIndex(self.segment_id, min(self.index, inner.GetNumberOfSegments() - 1))
        if self.voxels is None:
            return []
        mask = self.voxels.unpack()
        return change_mask(segmentation, self.segment_id, mask, LatticeMask.empty(mask.affine))

    def remove(self, segmentation: Any) -> Touched:
        """Take the segment away, with its voxels."""
        touched: Touched = []
        if self.voxels is not None:
            mask = self.voxels.unpack()
            touched = change_mask(segmentation, self.segment_id, LatticeMask.empty(mask.affine), mask)
        detach(segment_of(segmentation, self.segment_id))
        segmentation.GetSegmentation().RemoveSegment(self.segment_id)
        return touched

    @property
    def nbytes(self) -> int:
        """Memory that is taken."""
        return self.appearance.nbytes + 300 + (self.voxels.nbytes if self.voxels else 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class _WithRecord:
    """A change that is all about one segment, which is recorded."""

    record: SegmentRecord

    @property
    def segment_ids(self) -> tuple[str, ...]:
        """The segment."""
        return (self.record.segment_id,)

    @property
    def nbytes(self) -> int:
        """Memory that is taken."""
        return self.record.nbytes


class SegmentAdded(_WithRecord):
    """A segment came."""

    def undo(self, segmentation: Any) -> Touched:
        """Take it away."""
        return self.record.remove(segmentation)

    def redo(self, segmentation: Any) -> Touched:
        """Bring it back."""
        return self.record.insert(segmentation)


class SegmentRemoved(_WithRecord):
    """A segment went."""

    def undo(self, segmentation: Any) -> Touched:
        """Bring it back."""
        return self.record.insert(segmentation)

    def redo(self, segmentation: Any) -> Touched:
        """Take it away."""
        return self.record.remove(segmentation)


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerAdded:
    """Many segments came at once, on one labelmap that they share: id, label and appearance of each, in order."""

    affine: FloatArray
    copy: PackedImage
    segments: tuple[tuple[str, int, Appearance], ...]

    @property
    def segment_ids(self) -> tuple[str, ...]:
        """The segments."""
        return tuple(segment_id for segment_id, _, _ in self.segments)

    def undo(self, segmentation: Any) -> Touched:
        """Take them away."""
        inner = segmentation.GetSegmentation()
        touched = self._clear_shared(segmentation)
        for segment_id in self.segment_ids:
            detach(segment_of(segmentation, segment_id))
            inner.RemoveSegment(segment_id)
        return touched

    def _clear_shared(self, segmentation: Any) -> Touched:
        """Clear the voxels where somebody else shares the labelmap: a new segment may get one of the labels again."""
        inner = segmentation.GetSegmentation()
        mine = set(self.segment_ids)
        others = [labelmap_of(inner.GetSegment(i)) for i in inner.GetSegmentIDs() if i not in mine]
        shared = {id(image): image for image in others if image is not None}
        touched: Touched = []
        for image in shared.values():
            own = [inner.GetSegment(i) for i in mine]
            labels = [s.GetLabelValue() for s in own if s is not None and labelmap_of(s) is image]
            if labels:
                values = image_values(image)
                values[np.isin(values, labels)] = 0
                image.GetPointData().GetScalars().Modified()
                image.Modified()
                touched.append(Written(image=image, box=image_box(image)))
        return touched

    def redo(self, segmentation: Any) -> Touched:
        """Bring them: one image, whatever their number."""
        ensure_labelmaps(segmentation)
        inner = segmentation.GetSegmentation()
        surfaces = inner.ContainsRepresentation(SURFACE)
        if surfaces:  # else each segment that comes would have its surface computed at once
            segmentation.RemoveClosedSurfaceRepresentation()
        image = blank_image(self.affine, self.copy.box, self.copy.dtype)
        self.copy.write(image_values(image))
        for segment_id, label, appearance in self.segments:
            segment = slicer.vtkSegment()
            appearance.apply(segment)
            segment.SetLabelValue(label)
            segment.AddRepresentation(LABELMAP, image)
            inner.AddSegment(segment, segment_id)
        place_empty_labelmaps(segmentation, self.affine)
        if surfaces:
            segmentation.CreateClosedSurfaceRepresentation()
        return [Written(image=image, box=self.copy.box, copy=self.copy)]

    @property
    def nbytes(self) -> int:
        """Memory that is taken."""
        return self.copy.nbytes + sum(a.nbytes for _, _, a in self.segments)


def detach(segment: Any) -> None:
    """Take the labelmap from a segment that goes: Slicer would search the whole of it for the segment's voxels."""
    segment.RemoveRepresentation(LABELMAP)
