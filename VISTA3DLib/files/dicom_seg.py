"""Writing DICOM SEG with highdicom: one binary segment a class, on the planes of the CT that it was made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import VISTA3DLib
from VISTA3DLib.errors import OutputError
from VISTA3DLib.files.atomic import written_atomically
from VISTA3DLib.files.dicom_header import PARSE_ERRORS, planes_of
from VISTA3DLib.files.dicom_merge import merged
from VISTA3DLib.files.layers import Layers, Placed, packed
from VISTA3DLib.files.segments import SegmentToWrite, Written
from VISTA3DLib.geometry import Grid, flip_points_lps_ras
from VISTA3DLib.structure import Code, Terminology

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom import Dataset

# What Slicer, too, calls a segment of which nothing more is known.
_TISSUE = Terminology(
    category=Code(scheme="SCT", value="85756007", meaning="Tissue"),
    type=Code(scheme="SCT", value="85756007", meaning="Tissue"),
)
# Attributes of patient and study that may be empty but must be there; anonymised files often lack them.
_REQUIRED = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
_WITHOUT_SOURCE = "Write a .seg.nrrd or .nii.gz instead, or read the CT from its DICOM folder."


def write_dicom_seg(
    path: Path, segments: Iterable[SegmentToWrite], grid: Grid, source_files: Sequence[Path], model: str
) -> Written:
    """Write a BINARY DICOM SEG that references the CT's series.

    ``source_files`` are the CT's DICOM files in slice order (``Volume.source_files``), ``grid`` must be the CT's.
    Segments may overlap; they are numbered from 1 on, and their tracking ID is the key that other formats use. Raises
    ``OutputError`` without source files, when these do not fit the grid, when there is no voxel to write (DICOM has no
    empty segmentation) and when the file cannot be written.
    """
    if not source_files:
        raise without_source(path)
    layers = packed(segments, grid)
    if not layers.placed:
        raise OutputError(f"{path} cannot be written: no segment has a voxel.", "Write a .seg.nrrd instead.")
    sources = [_source(file) for file in source_files]
    order = _frame_order(sources, source_files, grid)
    try:
        parts = [_layer(layers, n, sources, order, model) for n in range(len(layers.arrays))]
    except (ValueError, AttributeError, KeyError) as error:  # what highdicom raises for unusable headers
        raise OutputError(
            f"{path} cannot be written: the CT's DICOM header cannot be referenced ({error}).", _WITHOUT_SOURCE
        ) from error
    dataset = merged(parts)
    with written_atomically(path) as temporary:
        dataset.save_as(temporary)
    placed = [item for n in range(len(parts)) for item in layers.placed if item.layer == n]
    return Written(path=path, files=(path,), segments=tuple(item.written for item in placed), empty=layers.empty)


def without_source(path: Path) -> OutputError:
    """The error of a DICOM SEG whose CT was not read from DICOM."""
    return OutputError(f"{path} cannot be written: DICOM SEG needs the DICOM files of the CT.", _WITHOUT_SOURCE)


def _source(path: Path) -> Dataset:
    from pydicom import dcmread

    try:
        dataset = dcmread(path, stop_before_pixels=True, force=True)
    except PARSE_ERRORS as error:
        raise OutputError(f"The CT's file {path} cannot be read any more: {error}.", _WITHOUT_SOURCE) from error
    for keyword in _REQUIRED:
        if keyword not in dataset:
            setattr(dataset, keyword, None)
    if "FrameOfReferenceUID" not in dataset:
        raise OutputError(f"The CT's file {path} names no frame of reference.", _WITHOUT_SOURCE)
    return dataset


def _frame_order(sources: Sequence[Dataset], files: Sequence[Path], grid: Grid) -> npt.NDArray[np.intp]:
    """For each frame of the sources, in their own order, the slice of the grid that it is."""
    if len(sources) > 1 and any("PerFrameFunctionalGroupsSequence" in dataset for dataset in sources):
        raise OutputError(
            f"The CT is spread over {len(sources)} multi-frame files, which a DICOM SEG cannot reference.",
            _WITHOUT_SOURCE,
        )
    planes = [plane for dataset in sources for plane in planes_of(dataset)]
    index = grid.to_voxel(flip_points_lps_ras([plane.position for plane in planes])) if planes else np.zeros((0, 3))
    order = np.round(index[:, 2]).astype(np.intp)
    columns, rows, depth = grid.shape
    fits = sorted(order.tolist()) == list(range(depth)) and np.abs(index - np.round(index)).max() < 0.5
    if not fits or np.abs(index[:, :2]).max() > 0.5 or (sources[0].Columns, sources[0].Rows) != (columns, rows):
        raise OutputError(
            f"The segments' grid ({grid.shape}) is not that of the CT's {len(files)} DICOM files.", _WITHOUT_SOURCE
        )
    return order


def _layer(layers: Layers, layer: int, sources: Sequence[Dataset], order: npt.NDArray[np.intp], model: str) -> Any:
    placed = [item for item in layers.placed if item.layer == layer]
    numbers = np.zeros(max(item.segment.id for item in placed) + 1, dtype=np.uint16 if len(placed) > 255 else np.uint8)
    for number, item in enumerate(placed, start=1):
        numbers[item.segment.id] = number
    pixels = numbers[layers.arrays[layer].transpose(2, 1, 0)[order]]
    return _segmentation(pixels, placed, sources, model)


def _segmentation(
    pixels: npt.NDArray[Any], placed: Sequence[Placed], sources: Sequence[Dataset], model: str
) -> Segmentation:
    import highdicom
    from highdicom.seg import Segmentation

    source = sources[0]
    series_number = int(source.get("SeriesNumber") or 0)
    return Segmentation(
        source_images=sources,
        pixel_array=pixels,
        segmentation_type="BINARY",
        segment_descriptions=[_description(n, item.segment, model) for n, item in enumerate(placed, start=1)],
        series_instance_uid=highdicom.UID(),
        series_number=1000 + series_number if series_number < 2**31 - 1001 else 1000,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="VISTA3D for 3D Slicer",
        manufacturer_model_name="VISTA3D",
        software_versions=VISTA3DLib.__version__,
        device_serial_number="0",
        content_label="VISTA3D",
        content_description=f"Segmentation by VISTA3D ({model})"[:64],
        series_description=f"VISTA3D {source.get('SeriesDescription') or ''}".strip()[:64],
        specific_character_set="ISO_IR 192",  # UTF-8: names of segments may have any letters
    )


def _description(number: int, segment: SegmentToWrite, model: str) -> SegmentDescription:
    import highdicom
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from pydicom.sr.coding import Code as DicomCode

    family = DicomCode("123109", "DCM", "Artificial Intelligence")
    terms = segment.terminology or _TISSUE
    description = SegmentDescription(
        segment_number=number,
        segment_label=segment.name[:64],
        segmented_property_category=_code(terms.category),
        segmented_property_type=_code(terms.type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=f"VISTA3D {model}".strip()[:64], family=family, version=(model or VISTA3DLib.__version__)[:64]
        ),
        tracking_id=segment.key,
        tracking_uid=highdicom.UID(),
        anatomic_regions=[_code(terms.region)] if terms.region else None,
        display_color=CIELabColor.from_rgb(*segment.color),
    )
    modifiers: Mapping[str, tuple[str, Code | None]] = {
        "SegmentedPropertyTypeCodeSequence": ("SegmentedPropertyTypeModifierCodeSequence", terms.type_modifier),
        "AnatomicRegionSequence": ("AnatomicRegionModifierSequence", terms.region_modifier if terms.region else None),
    }
    for keyword, (modifier, code) in modifiers.items():
        if code:
            setattr(description[keyword].value[0], modifier, [_code(code)])
    return description


def _code(code: Code) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(value=code.value, scheme_designator=code.scheme, meaning=code.meaning[:64])
