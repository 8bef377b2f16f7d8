"""What a person opened: a CT, a segmentation or a scene. Reading happens in a thread and touches no scene."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from VISTA3DLib.errors import ReadError
from VISTA3DLib.files.image_file import check_file, suffix_of
from VISTA3DLib.files.read import SeriesInfo, is_dicom, list_series, read_volume
from VISTA3DLib.files.segmentation_read import read_segmentation
from VISTA3DLib.files.segments import MAX_LABELS, SegmentationFile
from VISTA3DLib.geometry import Grid
from VISTA3DLib.volume import Volume

SCENES = {".mrb", ".mrml"}
_SEGMENTATIONS = {".seg.nrrd", ".seg.nhdr"}
_COMPANIONS = {".raw", ".zraw", ".img"}  # voxels beside a header file


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenedVolume:
    """A CT."""

    volume: Volume


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenedSegmentation:
    """Segments. ``file`` is None for a ``.seg.nrrd``, which Slicer's own reader takes with all of its tags."""

    path: Path
    file: SegmentationFile | None = None


@dataclass(frozen=True, kw_only=True)
class OpenedScene:
    """A scene, to be loaded in place of the present one."""

    path: Path


@dataclass(frozen=True, kw_only=True)
class SeveralSeries:
    """A DICOM folder that holds several CTs: the person chooses one by its UID."""

    path: Path
    series: tuple[SeriesInfo, ...]


Opened = OpenedVolume | OpenedSegmentation | OpenedScene


def read_anything(
    paths: Sequence[Path], *, series: str | None = None, grid: Grid | None = None
) -> Opened | SeveralSeries:
    """Read a file, a folder, or the files that were chosen together (then all in one folder).

    ``grid`` is that of the CT that is open: whole numbers on the same grid are its segmentation. Raises ``ReadError``
    and ``VolumeError``.
    """
    path = _meant(paths)
    suffix = suffix_of(path)
    if suffix in SCENES:
        _check_scene(path)
        return OpenedScene(path=path)
    if suffix in _SEGMENTATIONS:
        return OpenedSegmentation(path=path)
    if is_dicom(path) and _is_dicom_seg(path):
        return OpenedSegmentation(path=path, file=read_segmentation(path))
    try:
        volume = read_volume(path, series=series)
    except ReadError:
        found = _several(path) if series is None else ()
        if not found:
            raise
        return SeveralSeries(path=path, series=found)
    if grid is not None and grid.same_as(volume.grid) and _looks_like_labels(volume.array):
        return OpenedSegmentation(path=path, file=read_segmentation(path))
    return OpenedVolume(volume=volume)


def _meant(paths: Sequence[Path]) -> Path:
    if not paths:
        raise ReadError("Nothing was chosen.", "Choose a CT.")
    if len(paths) == 1:
        return paths[0]
    headers = [p for p in paths if suffix_of(p) not in _COMPANIONS]
    if len(headers) == 1:
        return headers[0]
    if not any(is_dicom(p) for p in headers):
        names = ", ".join(sorted(p.name for p in headers)[:5])
        raise ReadError(f"These are {len(headers)} files that do not belong together: {names}.", "Choose one of them.")
    return Path(os.path.commonpath([p.parent for p in paths]))


def _several(path: Path) -> tuple[SeriesInfo, ...]:
    """The series of a DICOM folder that can be read, if there is more than one."""
    found = tuple(info for info in list_series(path) if info.usable and info.uid) if path.is_dir() else ()
    return found if len(found) > 1 else ()


def _check_scene(path: Path) -> None:
    """Before what is open is closed for it."""
    check_file(path)
    try:
        if path.suffix.lower() == ".mrml":
            found = b"<MRML" in path.read_bytes()
        else:
            with zipfile.ZipFile(path) as archive:
                found = any(name.endswith(".mrml") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError) as error:
        raise ReadError(f"{path} cannot be read: {error}.", "Save the scene again in Slicer.") from error
    if not found:
        raise ReadError(f"{path} holds no scene.", "Save it in Slicer as a medical reality bundle (.mrb).")


def _is_dicom_seg(path: Path) -> bool:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())[:2]
    if len(files) != 1:
        return False  # a series of images; a folder with one file may be a segmentation
    try:
        return str(dcmread(files[0], stop_before_pixels=True, specific_tags=["Modality"]).get("Modality")) == "SEG"
    except (InvalidDicomError, OSError, ValueError, AttributeError):
        return False  # the reader of CTs says what is wrong with it


def _looks_like_labels(array: Any) -> bool:
    if array.dtype.kind not in "iu":
        return False
    sample = array[::2, ::2, ::2]
    return bool(array.min() >= 0 and array.max() > 0 and len(np.unique(sample)) <= MAX_LABELS // 4)
