"""The voxels of DICOM images, decoded and in Hounsfield units."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from VISTA3DLib.errors import ReadError
from VISTA3DLib.files.dicom_header import PARSE_ERRORS
from VISTA3DLib.files.dicom_stack import Image, Stack
from VISTA3DLib.files.image_file import check_room, rescaled, unreadable
from VISTA3DLib.geometry import reverse_axes

if TYPE_CHECKING:
    from pydicom import Dataset


def read_voxels(stack: Stack) -> npt.NDArray[Any]:
    """The voxels of a stack, ``[i, j, k]``: int16 if all values are whole and fit, else float32.

    The memory order is that of the files (k slowest). Raises ``ReadError`` naming the file that cannot be decoded.
    """
    columns, rows, depth = stack.grid.shape
    check_room(stack.images[0].file.path.parent, (columns, rows, depth), 2)
    out = np.empty((depth, rows, columns), dtype=np.int16)
    start = 0
    for _, group in groupby(stack.images, key=lambda image: image.file.path):
        images = list(group)
        values = _values(images)
        if values.dtype != np.int16 and out.dtype == np.int16:
            out = out.astype(np.float32)
        out[start : start + len(images)] = values
        start += len(images)
    return reverse_axes(out)


def _values(images: list[Image]) -> npt.NDArray[Any]:
    """HU of the planes of one file, ``[plane, row, column]``."""
    from pydicom import dcmread
    from pydicom.uid import ImplicitVRLittleEndian

    file = images[0].file
    planes = [image.plane for image in images]
    try:
        dataset = dcmread(file.path, force=True)
        if "TransferSyntaxUID" not in dataset.file_meta:  # an old file without a preamble
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        compressed = dataset.file_meta.TransferSyntaxUID.is_compressed
        stored = None if compressed else _stored(dataset)
    except PARSE_ERRORS as error:
        raise unreadable(file.path, error, "a DICOM image") from error
    uniform = len({(plane.slope, plane.intercept) for plane in file.planes}) == 1
    if stored is None:
        if not uniform:
            raise ReadError(
                f"{file.path} is compressed and its frames have different slopes.", "Decompress it (gdcmconv --raw)."
            )
        frames, slopes = _decoded(file.path), {(1.0, 0.0)}  # GDCM applies the slope
    else:
        frames, slopes = stored, {(plane.slope, plane.intercept) for plane in planes}
    if frames.shape != (len(file.planes), file.rows, file.columns):
        size = f"{frames.shape}, not {(len(file.planes), file.rows, file.columns)}"
        raise ReadError(f"{file.path} has pixels of the shape {size}.", "Copy the file again.")
    if len(slopes) == 1:
        order = [plane.frame for plane in planes]
        frames = frames if order == list(range(len(frames))) else frames[order]
        return rescaled(frames, *slopes.pop())
    parts = [rescaled(frames[plane.frame], plane.slope, plane.intercept) for plane in planes]
    return np.stack(parts)


def _stored(dataset: Dataset) -> npt.NDArray[Any]:
    """Stored values of uncompressed pixels, ``[frame, row, column]``; pydicom clears the bits that are not used."""
    array = dataset.pixel_array
    return np.asarray(array[None] if array.ndim == 2 else array)


def _decoded(path: Path) -> npt.NDArray[Any]:
    import SimpleITK as sitk  # noqa: N813 - the name that everybody uses

    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        array = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:  # what SimpleITK raises for everything
        raise unreadable(path, error, "a DICOM image") from error
    return np.asarray(array if array.ndim == 3 else array[None])
