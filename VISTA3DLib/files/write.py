"""One door for writing segments: the ending of the name says the format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.errors import OutputError
from VISTA3DLib.files.atomic import check_writable
from VISTA3DLib.files.image_file import suffix_of
from VISTA3DLib.files.segments import SegmentToWrite, Written, segments_of
from VISTA3DLib.geometry import Grid, format_shape
from VISTA3DLib.results import BoolArray, ClassesResult, MaskResult
from VISTA3DLib.volume import Volume

SUFFIXES = (".seg.nrrd", ".nii.gz", ".nii", ".dcm")


def write_segmentation(
    path: Path,
    result: ClassesResult | MaskResult,
    volume: Volume,
    catalogue: ClassCatalogue,
    *,
    name: str | None = None,
    base: BoolArray | None = None,
) -> Written:
    """Write what a session handed back as ``.seg.nrrd``, ``.nii.gz``, ``.nii`` or ``.dcm`` (DICOM SEG).

    ``name`` replaces the class name of a ``MaskResult``; ``base`` is the mask that it was refined from, if any (the
    result holds only what changed). The file appears complete or not at all; folders are made. Raises ``OutputError``:
    unknown ending, no room, no permission, a result on another grid than the volume, DICOM SEG of a CT that was not
    read from DICOM.
    """
    if not result.grid.same_as(volume.grid):
        raise OutputError(
            f"The result ({format_shape(result.grid.shape)}) is not on the grid of {volume.name!r} "
            f"({format_shape(volume.grid.shape)}).",
            "Give the volume that was segmented.",
        )
    segments = segments_of(result, catalogue, name=name, base=base)
    return write_segments(path, segments, volume.grid, source_files=volume.source_files, model=result.model)


def write_segments(
    path: Path,
    segments: Iterable[SegmentToWrite],
    grid: Grid,
    *,
    source_files: Sequence[Path] = (),
    model: str = "",
) -> Written:
    """Write any segments on ``grid``, in the format that the ending of ``path`` says. See ``write_segmentation``."""
    path = Path(path)
    suffix = suffix_of(path)
    check_suffix(path)
    if suffix == ".seg.nrrd":
        from VISTA3DLib.files.seg_nrrd import write_seg_nrrd

        return write_seg_nrrd(path, segments, grid)
    if suffix == ".dcm":
        from VISTA3DLib.files.dicom_seg import write_dicom_seg

        return write_dicom_seg(path, segments, grid, source_files, model)
    from VISTA3DLib.files.label_map import write_label_map

    return write_label_map(path, segments, grid, description=f"VISTA3D {model}".strip())


def check_output(path: Path, *, from_dicom: bool) -> None:
    """Raise the ``OutputError`` that writing segments to ``path`` would end in, as far as it can be known before.

    ``from_dicom``: whether the CT was read from DICOM, which a DICOM SEG needs.
    """
    check_suffix(path)
    check_writable(path)
    if suffix_of(path) == ".dcm" and not from_dicom:
        from VISTA3DLib.files.dicom_seg import without_source

        raise without_source(path)


def check_suffix(path: Path) -> None:
    """Raise ``OutputError`` if segments cannot be written to a file of this name; to be asked before a long run."""
    suffix = suffix_of(path)
    if suffix not in SUFFIXES:
        hint = " (.seg.nrrd is what Slicer opens with names and colours)" if suffix == ".nrrd" else ""
        ending = f"the ending {suffix!r}" if suffix else "no ending"
        raise OutputError(f"{path} has {ending}: no format for segments.", f"Use {', '.join(SUFFIXES)}{hint}.")
