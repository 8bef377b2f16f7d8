"""One door for every kind of CT: a file, a DICOM folder, one file of a DICOM series."""

from __future__ import annotations

from pathlib import Path

from VISTA3DLib.errors import ReadError, VolumeError
from VISTA3DLib.files.dicom_series import SeriesInfo, list_series, read_dicom
from VISTA3DLib.files.image_file import ImageFile, check_file, stem_of, suffix_of, unreadable
from VISTA3DLib.volume import Volume

__all__ = ["SeriesInfo", "is_dicom", "list_series", "read_image_file", "read_volume"]

_DICOM_SUFFIXES = {".dcm", ".ima", ".dicom"}


def read_volume(path: Path, *, series: str | None = None) -> Volume:
    """Read a CT from NIfTI, NRRD, MetaImage, another format of ITK, or DICOM (a folder, or one file of the series).

    ``series`` is the SeriesInstanceUID to take when a DICOM folder has several. Raises ``ReadError`` if there is
    nothing that can be read (the message names what is there) and ``VolumeError`` if it is no scalar 3D image with a
    usable geometry.
    """
    path = Path(path)
    if is_dicom(path):
        return read_dicom(path, series)
    if series is not None:
        raise ReadError(f"{path} is not DICOM and has no series {series}.", "Leave the series out.")
    try:
        image = read_image_file(path)
        return Volume(array=image.array, affine=image.affine, name=stem_of(path))
    except VolumeError as error:
        raise VolumeError(f"{path}: {error.message}", error.fix) from error


def read_image_file(path: Path) -> ImageFile:
    """Read an image file that is not DICOM, values as stored (rescaled for NIfTI), by the ending of its name."""
    check_file(path)
    suffix = suffix_of(path)
    if suffix in {".nii", ".nii.gz"}:
        from VISTA3DLib.files.nifti import read_nifti

        return read_nifti(path)
    if suffix in {".nrrd", ".nhdr", ".seg.nrrd", ".seg.nhdr"}:
        from VISTA3DLib.files.nrrd_file import read_nrrd

        return read_nrrd(path)
    from VISTA3DLib.files.itk_file import read_itk

    return read_itk(path)


def is_dicom(path: Path) -> bool:
    """Whether ``path`` is a folder, or a file with DICOM's name or mark. ``ReadError`` if it cannot be opened."""
    try:
        if path.is_dir():
            return True
        if not path.is_file():
            return False
        if path.suffix.lower() in _DICOM_SUFFIXES or path.name.upper() == "DICOMDIR":
            return True
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError as error:
        raise unreadable(path, error) from error
