"""Segments on their way into files and out of them: a mask in a box, a name, a colour, standard codes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.errors import OutputError, ReadError
from VISTA3DLib.geometry import Box, Grid
from VISTA3DLib.results import BoolArray, ClassesResult, MaskResult
from VISTA3DLib.structure import Terminology

Color = tuple[int, int, int]

GROUP, OTHER, VESSEL, LESION = range(4)  # who covers whom where one voxel can have one label only
_KEY = "vista3d_"
MAX_ID = 65535  # label values are uint16 at most
MAX_LABELS = 1024  # more distinct values than this are an image, not a label map


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentToWrite:
    """One segment to write. ``mask`` covers ``box`` of the grid; ``id`` is its label value, 1 to 65535.

    ``color`` is RGB in 0..255. In a label map, segments of higher ``rank`` cover those of lower rank. ``given_key`` is
    the identifier that the segment already has in a file, if it comes from one. ``tags`` are further texts of Slicer's
    kind; only ``.seg.nrrd`` has a place for them.
    """

    id: int
    name: str
    color: Color
    box: Box
    mask: BoolArray
    terminology: Terminology | None = None
    rank: int = OTHER
    given_key: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Stable identifier inside a file: the same class always has the same."""
        return self.given_key or f"{_KEY}{self.id:03d}"


@dataclass(frozen=True, kw_only=True)
class WrittenSegment:
    """What a file holds of one segment: the voxels in the file, and those that another segment covers there."""

    id: int
    name: str
    voxels: int
    covered: int = 0


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written: all files, the segments in them, the ids without a voxel (left out), remarks for a person."""

    path: Path
    files: tuple[Path, ...]
    segments: tuple[WrittenSegment, ...]
    empty: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Segment:
    """One segment as read. ``mask`` covers ``box`` of the file's grid (both empty for a segment without voxels).

    ``label`` is the label value or DICOM segment number, ``id`` Slicer's segment ID or DICOM's tracking ID
    (``label_5`` where the format has none), ``terminology`` is in Slicer's notation, ``color`` RGB in 0..255.
    """

    name: str
    id: str
    label: int
    box: Box
    mask: BoolArray
    color: Color | None = None
    terminology: str | None = None

    @property
    def voxels(self) -> int:
        """Number of voxels that are set."""
        return int(np.count_nonzero(self.mask))


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentationFile:
    """The segments of a file and the grid that their masks are on."""

    path: Path
    grid: Grid
    segments: tuple[Segment, ...]

    def find(self, name: str) -> Segment:
        """The segment with this name, id or label value. ``ReadError`` listing the names if there is not one."""
        wanted = name.strip().casefold()
        for candidates in (
            [s for s in self.segments if s.id == name.strip()],
            [s for s in self.segments if s.name.strip().casefold() == wanted],
            [s for s in self.segments if str(s.label) == wanted],
        ):
            if len(candidates) == 1:
                return candidates[0]
            if candidates:
                ids = ", ".join(s.id for s in candidates)
                raise ReadError(f"{self.path} has {len(candidates)} segments {name!r}.", f"Give one of the ids {ids}.")
        names = ", ".join(repr(s.name) for s in self.segments[:20]) + (", ..." if len(self.segments) > 20 else "")
        raise ReadError(f"{self.path} has no segment {name!r}.", f"It has: {names or 'none'}.")

    def to_write(self) -> list[SegmentToWrite]:
        """All segments, ready to be written again: names, colours, terms and identifiers stay, ids become unique.

        Label values may repeat in a file with several layers; the first segment keeps its value, others get free ones.
        """
        ready: list[SegmentToWrite] = []
        taken = {rewritten(segment).id for segment in self.segments}
        used: set[int] = set()
        for segment in self.segments:
            again = rewritten(segment)
            if again.id in used:
                again = replace(again, id=next(n for n in range(1, MAX_ID + 1) if n not in taken))
            taken.add(again.id)
            used.add(again.id)
            ready.append(again)
        return ready

    def full_mask(self, segment: Segment) -> BoolArray:
        """The mask of a segment on the whole grid."""
        full = np.zeros(self.grid.shape, dtype=bool)
        full[segment.box.slices] = segment.mask
        return full


def segments_of(
    result: ClassesResult | MaskResult,
    catalogue: ClassCatalogue,
    *,
    name: str | None = None,
    base: BoolArray | None = None,
) -> Iterator[SegmentToWrite]:
    """The segments of a result, one at a time (a mask exists only while it is used).

    ``name`` overrides the class name of a ``MaskResult``. ``base`` is the mask that a ``MaskResult`` was refined from:
    the result then holds only what changed.
    """
    if isinstance(result, MaskResult):
        mask = result.mask if base is None else result.to_full(base)
        box, mask = tight(result.box if base is None else result.grid.box, mask)
        yield _described(result.class_id or 1, box, mask, catalogue if result.class_id else None, name)
    elif result.labelmap is not None:
        boxes = label_boxes(result.labelmap)
        for class_id in result.class_ids:
            box = boxes.get(class_id, Box(start=(0, 0, 0), stop=(0, 0, 0)))
            yield _described(class_id, box, result.labelmap[box.slices] == class_id, catalogue)
    else:
        for class_id in result.class_ids:
            part = result.masks[class_id]
            yield _described(class_id, *tight(part.box, part.mask), catalogue)


def rewritten(segment: Segment) -> SegmentToWrite:
    """A segment that was read, ready to be written again.

    Its id is the class id if this project wrote it, else its label value, which must be unique among the segments that
    are written together (``SegmentationFile.to_write`` sees to that). A label that no format takes becomes 1.
    """
    number = segment.id.removeprefix(_KEY)
    own = segment.id.startswith(_KEY) and number.isdecimal() and 1 <= int(number) <= MAX_ID
    label = int(number) if own else segment.label if 1 <= segment.label <= MAX_ID else 1
    return SegmentToWrite(
        id=label,
        name=segment.name,
        color=segment.color or spare_color(label),
        terminology=Terminology.from_slicer(segment.terminology) if segment.terminology else None,
        box=segment.box,
        mask=segment.mask,
        given_key="" if segment.id == f"label_{segment.label}" else segment.id,
    )


def tight(box: Box, mask: BoolArray) -> tuple[Box, BoolArray]:
    """Shrink a mask and its box to the voxels that are set."""
    inner = Box.of_mask(mask)
    return inner.shifted(box.start) if inner.size else inner, mask[inner.slices]


def label_boxes(labels: npt.NDArray[Any]) -> dict[int, Box]:
    """The box around each label (an integer other than 0) of a 3D label map.

    Raises ``ReadError`` for more than 1024 different labels: that is an image, not a segmentation.
    """
    from scipy import ndimage

    if labels.size == 0:
        return {}
    smallest, largest = int(labels.min()), int(labels.max())
    values: npt.NDArray[Any] | None = None
    if smallest < 0 or largest > MAX_ID:
        # Rare: numbered anew, since the search below makes a list as long as the largest label.
        values = np.unique(labels)
        values = values[values != 0]
        _check_label_count(len(values))
        labels = np.where(labels == 0, 0, np.searchsorted(values, labels) + 1).astype(np.uint16)
    fast_last = labels.transpose() if labels.strides[0] < labels.strides[-1] else labels
    flipped = fast_last is not labels
    boxes: dict[int, Box] = {}
    for index, found in enumerate(ndimage.find_objects(fast_last)):
        if found is not None:
            i, j, k = reversed(found) if flipped else found
            label = index + 1 if values is None else int(values[index])
            boxes[label] = Box(start=(i.start, j.start, k.start), stop=(i.stop, j.stop, k.stop))
    _check_label_count(len(boxes))
    return boxes


def check_segments(segments: Iterable[SegmentToWrite], grid: Grid) -> Iterator[SegmentToWrite]:
    """Pass the segments on, each looked at: ids in range and different, masks as large as their boxes, boxes inside."""
    seen: dict[int, str] = {}
    for segment in segments:
        if not 1 <= segment.id <= MAX_ID:
            raise OutputError(f"{segment.name!r} has the id {segment.id}.", f"Give an id from 1 to {MAX_ID}.")
        if segment.id in seen:
            raise OutputError(
                f"{segment.name!r} and {seen[segment.id]!r} both have the id {segment.id}.", "Give each its own."
            )
        seen[segment.id] = segment.name
        if segment.mask.shape != segment.box.shape or not grid.box.contains_box(segment.box):
            raise OutputError(
                f"The mask of {segment.name!r} ({segment.mask.shape}) does not fit its box {segment.box.shape} at "
                f"{segment.box.start} on a grid of {grid.shape}.",
                "Give masks on the volume's grid.",
            )
        yield segment


def _check_label_count(count: int) -> None:
    if count > MAX_LABELS:
        raise ReadError(
            f"There are {count:,} different values: this is an image, not a segmentation.", "Give a label map."
        )


def _described(
    class_id: int, box: Box, mask: BoolArray, catalogue: ClassCatalogue | None, name: str | None = None
) -> SegmentToWrite:
    item = catalogue[class_id] if catalogue is not None and class_id in catalogue else None
    return SegmentToWrite(
        id=class_id,
        name=name or (item.name if item else f"class {class_id}" if catalogue is not None else "object"),
        color=item.color if item else spare_color(class_id),
        terminology=item.terminology if item else None,
        box=box,
        mask=mask,
        rank=_rank(class_id, catalogue),
    )


def _rank(class_id: int, catalogue: ClassCatalogue | None) -> int:
    sets: Mapping[str, tuple[int, ...]] = catalogue.sets if catalogue is not None else {}
    if class_id in sets.get("lesions", ()):
        return LESION
    if class_id in sets.get("vessels", ()):
        return VESSEL
    return GROUP if catalogue is not None and class_id in catalogue.groups else OTHER


def spare_color(number: int) -> Color:
    """A colour for a segment that has none, far from that of the next numbers (golden angle on the hue circle)."""
    import colorsys

    red, green, blue = colorsys.hsv_to_rgb(number * 0.381966 % 1.0, 0.6, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)
