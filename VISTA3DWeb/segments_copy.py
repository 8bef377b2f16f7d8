"""The segments as they are at one moment, copied, so that a thread can read them while a person goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from VISTA3DScene.frames import FrameMap, frame_map, volume_grid
from VISTA3DScene.lattice import (
    LatticeMask,
    image_affine,
    image_box,
    image_values,
    on_lattice,
    whole_voxel_offset,
)
from VISTA3DScene.segment_desk import SegmentInfo
from VISTA3DScene.segment_masks import ensure_labelmaps, labelmap_of
from VISTA3DScene.tags import PROMPTS_TAG, STATUS_TAG, TERMINOLOGY_TAG, get_tag
from VISTA3DScene.workbench import Workbench

from VISTA3DLib.files.segments import MAX_ID, OTHER, SegmentToWrite, label_boxes
from VISTA3DLib.geometry import Box, FloatArray, Grid
from VISTA3DLib.structure import Terminology

_FIRST_FREE = 1001  # label value of the first structure that is of no class
_TAGS = (PROMPTS_TAG, STATUS_TAG)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Labelmap:
    """The values ``[i, j, k]`` in ``box`` of a lattice."""

    affine: FloatArray
    box: Box
    values: npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Entry:
    """A segment: its place in the list, its label in one of the labelmaps (None: it has no voxels), its texts."""

    info: SegmentInfo
    label: int
    labelmap: _Labelmap | None
    terminology: str
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentsCopy:
    """See the module's text. ``frame`` leads from the segmentation's own frame to that of the CT on ``grid``."""

    grid: Grid
    frame: FrameMap | None
    entries: tuple[_Entry, ...]

    @classmethod
    def of(cls, workbench: Workbench) -> SegmentsCopy:
        """Copy what a workbench holds now; quick, and to be called in its thread."""
        volume, segmentation = workbench.volume, workbench.segmentation
        ensure_labelmaps(segmentation)
        inner = segmentation.GetSegmentation()
        labelmaps: dict[int, _Labelmap] = {}
        entries = []
        for info in workbench.segments:
            segment = inner.GetSegment(info.id)
            image = labelmap_of(segment)
            if image is not None and id(image) not in labelmaps:
                values = np.array(image_values(image), order="K")
                labelmaps[id(image)] = _Labelmap(affine=image_affine(image), box=image_box(image), values=values)
            found = {name: get_tag(segment, name) for name in _TAGS}
            entries.append(
                _Entry(
                    info=info,
                    label=segment.GetLabelValue(),
                    labelmap=None if image is None else labelmaps[id(image)],
                    terminology=get_tag(segment, TERMINOLOGY_TAG) or "",
                    tags={name: text for name, text in found.items() if text},
                )
            )
        return cls(grid=volume_grid(volume), frame=frame_map(segmentation, volume), entries=tuple(entries))

    def on_grid(self) -> tuple[list[SegmentToWrite], bool]:
        """The segments that have voxels, on the grid of the CT, and whether that is all there is to them.

        It is not if a segment has no voxels, or voxels that are none of the CT's. Label values are the class ids;
        others get free ones.
        """
        taken: set[int] = set()
        ready: list[SegmentToWrite] = []
        whole = self.frame is None
        for entry, mask in self._masks():
            moved = on_lattice(mask, self.grid.affine, bounds=self.grid.box, frame=self.frame)
            offset = whole_voxel_offset(mask.affine, self.grid.affine, mask.box, self.frame)
            whole &= offset is not None and bool(mask.box.size) and moved.box.shape == mask.box.shape
            if mask.box.size:
                number = _free_number(entry.info.class_id, taken)
                taken.add(number)
                ready.append(_to_write(entry, number, moved))
        return ready, whole

    def _masks(self) -> Iterator[tuple[_Entry, LatticeMask]]:
        """The voxels of each segment on its own lattice, tight; each labelmap is looked through once for all."""
        labelmaps = {id(entry.labelmap): entry.labelmap for entry in self.entries if entry.labelmap is not None}
        boxes = {key: label_boxes(labelmap.values) for key, labelmap in labelmaps.items()}
        for entry in self.entries:
            labelmap = entry.labelmap
            box = None if labelmap is None else boxes[id(labelmap)].get(entry.label)
            if labelmap is None or box is None:
                yield entry, LatticeMask.empty(self.grid.affine)
            else:
                mask = labelmap.values[box.slices] == entry.label
                yield entry, LatticeMask(affine=labelmap.affine, box=box.shifted(labelmap.box.start), mask=mask)


def _free_number(class_id: int | None, taken: set[int]) -> int:
    if class_id and class_id not in taken:
        return class_id
    return next(n for n in range(_FIRST_FREE if class_id is None else 1, MAX_ID) if n not in taken)


def _to_write(entry: _Entry, number: int, mask: LatticeMask) -> SegmentToWrite:
    red, green, blue = (round(255 * part) for part in entry.info.color)
    return SegmentToWrite(
        id=number,
        name=entry.info.name,
        color=(red, green, blue),
        box=mask.box,
        mask=mask.mask,
        terminology=Terminology.from_slicer(entry.terminology) if entry.terminology else None,
        rank=OTHER,
        given_key=entry.info.id,
        tags=entry.tags,
    )
