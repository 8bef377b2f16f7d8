"""Reading DICOM SEG: binary, fractional (from one half on) and label map segmentations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from VISTA3DLib.errors import ClassError, ReadError
from VISTA3DLib.files.dicom_header import PARSE_ERRORS, Plane, planes_of
from VISTA3DLib.files.image_file import unreadable
from VISTA3DLib.files.segments import Color, Segment, SegmentationFile, tight
from VISTA3DLib.geometry import Box, FloatArray, Grid, flip_lps_ras
from VISTA3DLib.structure import Code, Terminology

if TYPE_CHECKING:
    from pydicom import Dataset

_CLASSES = {"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"}  # SEG, label map SEG
_TOLERANCE = 0.1  # of a slice: how far a frame may be from the even spacing


def read_dicom_seg(path: Path) -> SegmentationFile:
    """Read a DICOM SEG file, or the only one in a folder. The grid spans the planes that have frames.

    Raises ``ReadError`` for files that are no segmentation, for frames that do not lie on one lattice, and for several
    segmentations in a folder.
    """
    from pydicom import dcmread

    path = _only_segmentation(path) if path.is_dir() else path
    try:
        dataset = dcmread(path, force=True)
        if str(dataset.get("SOPClassUID", "")) not in _CLASSES:
            raise ReadError(f"{path} is not a DICOM segmentation.", "Give a SEG file, .seg.nrrd or a label map.")
        planes = planes_of(dataset)
        if not planes:
            raise ReadError(f"{path} does not say where its frames lie.", "Convert it with Slicer.")
        grid, depth = _lattice(path, planes, dataset)
        segments = tuple(_segments(dataset, grid, depth))
    except PARSE_ERRORS as error:
        raise unreadable(path, error, "a DICOM segmentation") from error
    return SegmentationFile(path=path, grid=grid, segments=segments)


def _only_segmentation(folder: Path) -> Path:
    from VISTA3DLib.files.dicom_header import scan

    found = [file.path for file in scan(folder) if file.modality == "SEG"]
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found[:10])
    what = f"has {len(found)} DICOM segmentations: {names}" if found else "has no DICOM segmentation"
    raise ReadError(f"{folder} {what}.", "Give one file.")


def _lattice(path: Path, planes: Sequence[Plane], dataset: Dataset) -> tuple[Grid, npt.NDArray[np.intp]]:
    """The grid around all frames and the slice of each frame; planes without a frame in between are allowed."""
    first = planes[0]
    normal = first.normal
    positions = np.array([plane.position for plane in planes])
    depth = positions @ normal
    start = int(depth.argmin())
    step = _step(positions, depth, normal, first.thickness)
    if step is None:
        raise ReadError(f"{path} has frames at one place only and no slice thickness.", "Convert it with Slicer.")
    places = (depth - depth[start]) / float(step @ normal)
    index = np.round(places).astype(np.intp)
    expected = positions[start] + index[:, None] * step
    turned = max(float(np.abs([p.row - first.row, p.column - first.column]).max()) for p in planes)
    if np.linalg.norm(positions - expected, axis=1).max() > _TOLERANCE * np.linalg.norm(step) or turned > 1e-3:
        raise ReadError(f"The frames of {path} are not on parallel, evenly spaced planes.", "Convert it with Slicer.")
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2], affine[:3, 3] = first.row, first.column, step, positions[start]
    shape = (int(dataset.Columns), int(dataset.Rows), int(index.max()) + 1)
    return Grid(shape=shape, affine=flip_lps_ras(affine)), index


def _step(positions: FloatArray, depth: FloatArray, normal: FloatArray, spacing: float | None) -> FloatArray | None:
    order = np.argsort(depth)
    steps = np.diff(positions[order], axis=0)
    lengths = steps @ normal
    apart = lengths > 1e-3
    if not apart.any():
        return np.asarray(normal * spacing) if spacing else None
    smallest = steps[apart][int(lengths[apart].argmin())]
    # Where every second plane is empty the smallest distance is two slices; the header may know the true spacing.
    slices = max(1, round(float(smallest @ normal) / spacing)) if spacing else 1
    total = positions[order[-1]] - positions[order[0]]
    count = max(1, round(float(total @ normal) / float(smallest @ normal) * slices))
    return np.asarray(total / count)  # over all planes: rounded positions do not add up


def _segments(dataset: Dataset, grid: Grid, depth: npt.NDArray[np.intp]) -> Iterator[Segment]:
    label_map = str(dataset.get("SegmentationType", "BINARY")) == "LABELMAP"
    numbers = None if label_map else np.array(_segment_numbers(dataset))
    threshold = int(dataset.get("MaximumFractionalValue", 1)) / 2 if dataset.SegmentationType == "FRACTIONAL" else 0.5
    whole = dataset.pixel_array if label_map else None
    for item in dataset.SegmentSequence:
        number = int(item.SegmentNumber)
        if number == 0:  # the background of a label map
            continue
        frames = np.arange(len(depth)) if numbers is None else np.flatnonzero(numbers == number)
        if frames.size:
            first, last = int(depth[frames].min()), int(depth[frames].max())
            pixels = _frames(dataset, frames) if whole is None else whole.reshape(len(depth), *whole.shape[-2:])
            mask = np.zeros((last - first + 1, int(dataset.Rows), int(dataset.Columns)), dtype=bool)
            for k, frame in zip(depth[frames], pixels, strict=True):
                mask[k - first] |= frame == number if label_map else frame >= threshold
            full = Box(start=(0, 0, first), stop=(grid.shape[0], grid.shape[1], last + 1))
            box, inside = tight(full, mask.transpose(2, 1, 0))
        else:
            box, inside = Box(start=(0, 0, 0), stop=(0, 0, 0)), np.zeros((0, 0, 0), dtype=bool)
        yield Segment(
            name=str(item.get("SegmentLabel") or f"segment {number}"),
            id=str(item.get("TrackingID") or f"label_{number}"),
            label=number,
            box=box,
            mask=inside.copy(),  # a view would keep every plane in memory
            color=_color(item),
            terminology=_terminology(item),
        )


def _segment_numbers(dataset: Dataset) -> list[int]:
    shared = dataset.SharedFunctionalGroupsSequence[0] if dataset.get("SharedFunctionalGroupsSequence") else {}
    groups = [frame if "SegmentIdentificationSequence" in frame else shared for frame in _per_frame(dataset)]
    return [int(group["SegmentIdentificationSequence"].value[0].ReferencedSegmentNumber) for group in groups]


def _per_frame(dataset: Dataset) -> Sequence[Dataset]:
    return list(dataset.PerFrameFunctionalGroupsSequence)


def _frames(dataset: Dataset, frames: npt.NDArray[np.intp]) -> Iterator[npt.NDArray[Any]]:
    """The pixels of some frames, one at a time: all of them unpacked would take eight times the size of the file."""
    from pydicom.pixels import iter_pixels

    yield from iter_pixels(dataset, indices=frames.tolist())


def _color(item: Any) -> Color | None:
    from highdicom.color import CIELabColor

    value = item.get("RecommendedDisplayCIELabValue")
    if value is None or len(value) != 3:
        return None
    red, green, blue = CIELabColor.from_dicom_value([int(part) for part in value]).to_rgb(clip=True)
    return int(red), int(green), int(blue)


def _terminology(item: Any) -> str | None:
    try:
        kind = item.SegmentedPropertyTypeCodeSequence[0]
        region = item.AnatomicRegionSequence[0] if item.get("AnatomicRegionSequence") else None
        return Terminology(
            category=_code(item.SegmentedPropertyCategoryCodeSequence[0]),
            type=_code(kind),
            type_modifier=_modifier(kind, "SegmentedPropertyTypeModifierCodeSequence"),
            region=_code(region) if region is not None else None,
            region_modifier=_modifier(region, "AnatomicRegionModifierSequence") if region is not None else None,
        ).to_slicer()
    except (AttributeError, IndexError, ClassError):  # incomplete codes are not worth refusing a file
        return None


def _modifier(item: Any, keyword: str) -> Code | None:
    sequence = item.get(keyword)
    return _code(sequence[0]) if sequence else None


def _code(item: Any) -> Code:
    return Code(scheme=str(item.CodingSchemeDesignator), value=str(item.CodeValue), meaning=str(item.CodeMeaning))
