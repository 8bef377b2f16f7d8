"""Noticing what others did to a segmentation: a compressed copy of its labelmaps, compared when they were touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from VISTA3DLib.geometry import Box, FloatArray
from VISTA3DScene.changes import (
    Appearance,
    AppearanceChange,
    Change,
    MaskChange,
    SegmentAdded,
    SegmentRecord,
    SegmentRemoved,
    Voxels,
)
from VISTA3DScene.lattice import LatticeMask, difference, image_affine, image_box, image_values, on_lattice
from VISTA3DScene.packed import PackedImage
from VISTA3DScene.segment_masks import Touched, ensure_labelmaps, label_mask, labelmap_of


@dataclass(kw_only=True, eq=False)
class _Layer:
    """One labelmap image as it was last seen. ``image`` is held so that its identity stays its own."""

    image: Any
    modified: int
    affine: FloatArray
    copy: PackedImage

    def as_before(self, image: Any) -> bool:
        """Whether an image lies where this one lay."""
        return self.copy.box == image_box(image) and np.array_equal(self.affine, image_affine(image))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Known:
    """One segment as it was last seen: its layer (None without voxels), its label in it, its appearance."""

    layer: _Layer | None
    label: int
    index: int
    segment: Any
    modified: int
    appearance: Appearance


class Watcher:
    """Knows how a segmentation looked after our own last action, and tells what changed since."""

    def __init__(self, segmentation: Any) -> None:
        self._segmentation = segmentation
        self._layers: dict[int, _Layer] = {}
        self._segments: dict[str, _Known] = {}
        self.accept()

    @property
    def nbytes(self) -> int:
        """Memory that is taken by the copies."""
        return sum(layer.copy.nbytes for layer in self._layers.values())

    def box_of(self, segment_id: str) -> Box | None:
        """A box that surely holds all voxels of a segment as it was last seen; None if that is not known."""
        known = self._segments.get(segment_id)
        if known is None or known.layer is None or known.layer.image.GetMTime() != known.layer.modified:
            return None
        return known.layer.copy.box_of(known.label)

    def accept(self, touched: Touched | None = None) -> None:
        """Take the present state as known. ``touched`` bounds what differs since the last time (None: anything)."""
        ensure_labelmaps(self._segmentation)
        inner = self._segmentation.GetSegmentation()
        layers: dict[int, _Layer] = {}
        segments: dict[str, _Known] = {}
        for index, segment_id in enumerate(inner.GetSegmentIDs()):
            segment = inner.GetSegment(segment_id)
            image = labelmap_of(segment)
            if image is not None and id(image) not in layers:
                layers[id(image)] = self._seen(image, touched)
            old = self._segments.get(segment_id)
            same = old is not None and old.segment is segment and old.modified == segment.GetMTime()
            segments[segment_id] = _Known(
                layer=None if image is None else layers[id(image)],
                label=segment.GetLabelValue(),
                index=index,
                segment=segment,
                modified=segment.GetMTime(),
                appearance=old.appearance if same and old is not None else Appearance(segment),
            )
        self._layers, self._segments = layers, segments

    def collect(self) -> tuple[Change, ...]:
        """What others changed since the state that is known, as changes; the present state is known afterwards."""
        ensure_labelmaps(self._segmentation)
        inner = self._segmentation.GetSegmentation()
        present = list(inner.GetSegmentIDs())
        where = self._touched_segments(present)
        changes: list[Change] = []
        for segment_id, known in self._segments.items():
            if segment_id not in present:
                changes.append(SegmentRemoved(record=self._recorded(segment_id, known)))
                continue
            changes += self._appearance_changes(segment_id, known)
            if segment_id in where:
                changes += self._mask_changes(segment_id, known, where[segment_id])
        for segment_id in present:
            if segment_id not in self._segments:
                changes.append(SegmentAdded(record=SegmentRecord.of(self._segmentation, segment_id)))
        if changes or where:
            self.accept()
        return tuple(changes)

    def _seen(self, image: Any, touched: Touched | None) -> _Layer:
        """The copy of a layer, made anew or brought up to date."""
        old = self._layers.get(id(image))
        if old is not None and old.modified == image.GetMTime():
            return old
        copy = old.copy if old is not None and touched is not None and old.as_before(image) else None
        for written in touched or ():
            if written.image is not image:
                continue
            if written.copy is not None:
                copy = written.copy.fork()
            elif copy is not None:
                copy.update(image_values(image), written.box)
        copy = PackedImage(image_values(image), image_box(image)) if copy is None else copy
        return _Layer(image=image, modified=image.GetMTime(), affine=image_affine(image), copy=copy)

    def _touched_segments(self, present: list[str]) -> dict[str, Box | None]:
        """Segments whose voxels may differ, with the box to look at (None: everywhere)."""
        inner = self._segmentation.GetSegmentation()
        boxes: dict[int, Box | None] = {}
        touched: dict[str, Box | None] = {}
        for segment_id in present:
            known = self._segments.get(segment_id)
            if known is None:
                continue
            segment = inner.GetSegment(segment_id)
            image, layer = labelmap_of(segment), known.layer
            if image is None and layer is None:
                continue
            if image is None or layer is None or layer.image is not image or known.label != segment.GetLabelValue():
                touched[segment_id] = None
            elif image.GetMTime() != layer.modified:
                if id(image) not in boxes:
                    boxes[id(image)] = layer.copy.difference(image_values(image)) if layer.as_before(image) else None
                box = boxes[id(image)]
                if box is None or box.size:
                    touched[segment_id] = box
                else:
                    layer.modified = image.GetMTime()  # touched, but equal: it need not be looked at again
        return touched

    def _mask_changes(self, segment_id: str, known: _Known, where: Box | None) -> list[Change]:
        segment = self._segmentation.GetSegmentation().GetSegment(segment_id)
        image = labelmap_of(segment)
        before = self._before(known, where)
        after = None if image is None else label_mask(image, segment.GetLabelValue(), where)
        if before is None and after is None:
            return []
        affine = after.affine if after is not None else before.affine if before is not None else np.eye(4)
        before = LatticeMask.empty(affine) if before is None else on_lattice(before, affine)
        came, gone = difference(before, after if after is not None else LatticeMask.empty(affine))
        return [MaskChange.of(segment_id, came, gone)] if came.box.size or gone.box.size else []

    def _appearance_changes(self, segment_id: str, known: _Known) -> list[Change]:
        segment = self._segmentation.GetSegmentation().GetSegment(segment_id)
        if known.segment is segment and known.modified == segment.GetMTime():
            return []
        now = Appearance(segment)
        if now.key == known.appearance.key:
            return []
        return [AppearanceChange(segment_id=segment_id, before=known.appearance, after=now)]

    def _recorded(self, segment_id: str, known: _Known) -> SegmentRecord:
        mask = self._before(known, None)
        return SegmentRecord(
            segment_id=segment_id,
            index=known.index,
            appearance=known.appearance,
            voxels=None if mask is None or not mask.box.size else Voxels.of(mask),
        )

    def _before(self, known: _Known, where: Box | None) -> LatticeMask | None:
        """The voxels that a segment had, from the copy."""
        if known.layer is None:
            return None
        box = known.layer.copy.box_of(known.label)
        box = box if where is None else where & box
        mask = known.layer.copy.read(box) == known.label
        return LatticeMask(affine=known.layer.affine, box=box, mask=mask).tight()
