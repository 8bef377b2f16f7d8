"""DICOM files without their pixels: which series each belongs to, and where its planes lie."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from VISTA3DLib.errors import ReadError
from VISTA3DLib.files.image_file import unreadable
from VISTA3DLib.geometry import FloatArray

if TYPE_CHECKING:
    from pydicom import Dataset

# SOP classes whose images can be stacked to a volume; the modality is said by the file itself.
_IMAGE_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2",  # CT
    "1.2.840.10008.5.1.4.1.1.2.1",  # enhanced CT
    "1.2.840.10008.5.1.4.1.1.2.2",  # legacy converted enhanced CT
    "1.2.840.10008.5.1.4.1.1.4",  # MR
    "1.2.840.10008.5.1.4.1.1.4.1",  # enhanced MR
    "1.2.840.10008.5.1.4.1.1.4.4",  # legacy converted enhanced MR
    "1.2.840.10008.5.1.4.1.1.128",  # PET
    "1.2.840.10008.5.1.4.1.1.128.1",  # legacy converted enhanced PET
    "1.2.840.10008.5.1.4.1.1.130",  # enhanced PET
}
_DIRECTORY_CLASS = "1.2.840.10008.1.3.10"
# What tells the images apart that one series has at one place, in the order in which it is asked.
_PHASE_KEYS = (
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "EchoNumbers",
    "NominalPercentageOfCardiacPhase",
    "TriggerTime",
    "ConvolutionKernel",
    "KVP",
    "SliceThickness",
    "ImageType",
    "AcquisitionTime",
    "ContentTime",
)
_TAGS = [
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "Modality", "SeriesDescription"),
    *("SeriesNumber", "ImageType", "Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "NumberOfFrames"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    *("RescaleSlope", "RescaleIntercept", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("EncryptedAttributesSequence", *_PHASE_KEYS),
]
_DICOM_SUFFIXES = {".dcm", ".ima", ".dicom", ""}
# Everything that pydicom has been seen to raise for damaged files; InvalidDicomError is added where it is imported.
PARSE_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    IndexError,
    NotImplementedError,
    struct.error,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Plane:
    """One image plane. ``position`` is the centre of its first voxel (LPS mm); ``row`` and ``column`` are the steps
    in mm (LPS) to the next voxel of a row and of a column; ``slope`` and ``intercept`` make stored values HU.
    """

    frame: int
    position: FloatArray
    row: FloatArray
    column: FloatArray
    thickness: float | None = None
    slope: float = 1.0
    intercept: float = 0.0
    phase: Mapping[str, str]

    @property
    def normal(self) -> FloatArray:
        """Unit vector perpendicular to the plane."""
        normal = np.cross(self.row, self.column)
        return np.asarray(normal / np.linalg.norm(normal))


@dataclass(frozen=True, kw_only=True, eq=False)
class DicomFile:
    """One file of a series. ``problem`` says why its image cannot be part of a volume, if so; then planes are empty.

    ``damaged`` marks files that should be images but are truncated, empty or encrypted: leaving one out in silence
    could drop a slice.
    """

    path: Path
    series_uid: str = ""
    study_uid: str = ""
    sop_uid: str = ""
    description: str = ""
    modality: str = ""
    number: int | None = None
    rows: int = 0
    columns: int = 0
    planes: tuple[Plane, ...] = ()
    problem: str = ""
    damaged: bool = False


def scan(folder: Path, *, recursive: bool = True) -> tuple[DicomFile, ...]:
    """The DICOM files of a folder, in the order of their paths; other files are passed over.

    Raises ``ReadError`` if the folder, or one in it, cannot be listed.
    """
    found = (read_header(path) for path in _paths(folder, recursive))
    return tuple(file for file in found if file is not None)


def read_header(path: Path) -> DicomFile | None:
    """What is needed of one file, pixels left alone. None if the file is no DICOM file, or is a DICOMDIR."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        kind = _kind_of(path)
        if kind != "dicom":
            return DicomFile(path=path, problem=kind, damaged=True) if kind else None
        dataset = dcmread(path, stop_before_pixels=True, force=True, specific_tags=_TAGS)
        return _parsed(path, dataset)
    except PermissionError as error:
        raise unreadable(path, error) from error
    except (InvalidDicomError, *PARSE_ERRORS) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        return DicomFile(path=path, problem=f"damaged ({reason})", damaged=True)


def planes_of(dataset: Dataset) -> tuple[Plane, ...]:
    """The planes of a single- or multi-frame image in the order of the file; empty if the geometry is not given."""
    if "PerFrameFunctionalGroupsSequence" not in dataset:
        frames: list[list[Any]] = [[dataset]]
    else:
        shared = list(dataset.get("SharedFunctionalGroupsSequence") or [])
        per_frame = dataset.PerFrameFunctionalGroupsSequence
        frames = [[*_groups(item), *(g for s in shared for g in _groups(s)), dataset] for item in per_frame]
    planes = [_plane(index, groups) for index, groups in enumerate(frames)]
    return tuple(plane for plane in planes if plane is not None) if None not in planes else ()


def _paths(folder: Path, recursive: bool) -> Iterator[Path]:
    def stop(error: OSError) -> None:
        raise unreadable(Path(error.filename or folder), error) from error

    for place, folders, names in os.walk(folder, onerror=stop):
        folders.sort()
        if not recursive:
            folders.clear()
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _kind_of(path: Path) -> str:
    """``dicom``, empty for another kind of file, else what is wrong with a file that should be DICOM."""
    likely = path.suffix.lower() in _DICOM_SUFFIXES or path.suffix[1:].isdigit()  # names may end in a UID or a number
    with path.open("rb") as file:
        start = file.read(132)
    if start[128:] == b"DICM" or (likely and start[:2] == b"\x08\x00"):  # the latter: old files without a preamble
        return "dicom"
    if not likely:
        return ""
    if not start:
        return "empty (0 bytes)"
    return "not a DICOM file" if path.suffix.lower() in _DICOM_SUFFIXES - {""} else ""


def _parsed(path: Path, dataset: Dataset) -> DicomFile | None:
    kind = str(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or "")
    if kind == _DIRECTORY_CLASS:
        return None
    series = str(dataset.get("SeriesInstanceUID") or "")
    number = dataset.get("SeriesNumber")
    common: dict[str, Any] = {"path": path, "series_uid": series, "study_uid": str(dataset.get("StudyInstanceUID", ""))}
    common |= {"sop_uid": str(dataset.get("SOPInstanceUID", "")), "modality": str(dataset.get("Modality") or "")}
    common |= {"description": str(dataset.get("SeriesDescription") or "").strip()}
    common |= {"number": int(number) if number is not None else None}
    if not kind or not series:
        return DicomFile(**common, problem="truncated: it ends before its series is named", damaged=True)
    if problem := _not_stackable(kind, dataset):
        return DicomFile(**common, problem=problem)
    if problem := _damage(path, dataset):
        return DicomFile(**common, problem=problem, damaged=True)
    common |= {"rows": int(dataset.Rows), "columns": int(dataset.Columns)}
    planes = planes_of(dataset)
    return DicomFile(**common, planes=planes, problem="" if planes else "an image without position or spacing")


def _not_stackable(kind: str, dataset: Dataset) -> str:
    from pydicom.uid import UID

    if kind not in _IMAGE_CLASSES:
        name = UID(kind).name
        return f"{name.removesuffix(' Storage')} (no image plane)" if name != kind else f"an unknown kind ({kind})"
    image_type = [str(part).upper() for part in dataset.get("ImageType") or []]
    if "LOCALIZER" in image_type:
        return "a localizer (scout)"
    if int(dataset.get("SamplesPerPixel", 1)) != 1:
        return "a colour image (screen capture)"
    return ""


def _damage(path: Path, dataset: Dataset) -> str:
    if "EncryptedAttributesSequence" in dataset:
        return "encrypted"
    if "Rows" not in dataset or "Columns" not in dataset:
        return "truncated: it ends before its image"
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is not None and (syntax.is_private or syntax.is_compressed or syntax.is_deflated):
        return ""
    frames = int(dataset.get("NumberOfFrames") or 1)
    needed = int(dataset.Rows) * int(dataset.Columns) * frames * int(dataset.get("BitsAllocated", 16)) // 8
    size = path.stat().st_size
    return f"truncated: {size:,} bytes, {needed:,} are needed for its pixels" if size < needed else ""


def _groups(item: Any) -> list[Any]:
    """The first item of every sequence of a functional group."""
    return [element.value[0] for element in item if element.VR == "SQ" and element.value]


def _plane(frame: int, groups: Sequence[Any]) -> Plane | None:
    def first(keyword: str) -> Any:
        return next((v for g in groups if (v := g.get(keyword)) is not None and v != ""), None)

    position, orientation, spacing = (
        first(k) for k in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    )
    if position is None or orientation is None or spacing is None:
        return None
    along_row, along_column = np.array([float(v) for v in orientation]).reshape(2, 3)
    lengths = float(np.linalg.norm(along_row)), float(np.linalg.norm(along_column))
    between_rows, between_columns = (float(v) for v in spacing)
    area = float(np.linalg.norm(np.cross(along_row, along_column)))
    if not area > 1e-3 * lengths[0] * lengths[1] > 0.0 or not min(between_rows, between_columns) > 0.0:
        return None  # axes without length, or parallel
    thickness = first("SpacingBetweenSlices") or first("SliceThickness")
    phase = {key: value for key in _PHASE_KEYS if (value := first(key)) is not None}
    return Plane(
        frame=frame,
        position=np.array([float(v) for v in position]),
        row=along_row / lengths[0] * between_columns,
        column=along_column / lengths[1] * between_rows,
        thickness=abs(float(thickness)) if thickness else None,
        slope=float(first("RescaleSlope") or 1.0),
        intercept=float(first("RescaleIntercept") or 0.0),
        phase={key: _text(value) for key, value in phase.items()},
    )


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str) or not hasattr(value, "__iter__") else "\\".join(map(str, value))


def named(files: Sequence[DicomFile], most: int = 3) -> str:
    """``a.dcm (truncated), b.dcm (empty) and 4 more``: for messages."""
    text = ", ".join(f"{file.path.name} ({file.problem})" for file in files[:most])
    return f"{text} and {len(files) - most} more" if len(files) > most else text


def damaged_error(files: Sequence[DicomFile]) -> ReadError:
    """The error for files that should be slices but cannot be read."""
    return ReadError(
        f"{files[0].path.parent} has damaged DICOM files: {named(files)}.",
        "Copy them again. If they do not belong to the series, move them elsewhere.",
    )
