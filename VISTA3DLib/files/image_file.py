"""What every reader of an image file hands on: voxels as stored, values exact, and where they lie."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from VISTA3DLib.errors import MemoryLimitError, ReadError, VolumeError
from VISTA3DLib.geometry import FloatArray, format_shape

# Longest first: the name of a volume is what remains in front.
_SUFFIXES = (
    ".seg.nrrd",
    ".seg.nhdr",
    ".nii.gz",
    ".gipl.gz",
    ".nii",
    ".nrrd",
    ".nhdr",
    ".mha",
    ".mhd",
    ".img.gz",
    ".img",
    ".hdr",
    ".gipl",
    ".vtk",
    ".dcm",
    ".ima",
    ".dicom",
)
# Where in ITK's sources, and at which address, something went wrong: a person cannot use it.
_ITK_PLACE = re.compile(r"^.*(?:sitk::ERROR|ITK ERROR): (?:\w+\(0x[0-9a-f]+\): )?")
_CHUNK_VOXELS = 2**22  # of float64 values in work at once while stored values are rescaled


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageFile:
    """``array[i, j, k]`` as stored (any dtype, any memory order) and its voxel->RAS ``affine`` (4x4, mm)."""

    array: npt.NDArray[Any]
    affine: FloatArray


def suffix_of(path: Path) -> str:
    """The known ending of a file name, in lower case (``.seg.nrrd``, ``.nii.gz``), else the last suffix."""
    name = path.name.lower()
    return next((suffix for suffix in _SUFFIXES if name.endswith(suffix)), path.suffix.lower())


def stem_of(path: Path) -> str:
    """The file name without its known ending."""
    return path.name[: len(path.name) - len(suffix_of(path))] or path.name


def check_file(path: Path) -> None:
    """Raise ``ReadError`` if there is no readable, non-empty file at ``path``."""
    try:
        if not path.is_file():
            what = "is not a file" if path.exists() else "does not exist"
            raise ReadError(f"{path} {what}.", "Check the path.")
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise unreadable(path, error) from error
    if empty:
        raise ReadError(f"{path} is empty (0 bytes).", "Copy or download it again.")


def check_room(path: Path, shape: Sequence[int], bytes_per_voxel: int) -> None:
    """Raise ``MemoryLimitError`` if the voxels that a header announces do not fit into the free memory.

    Without asking, some systems hand out memory that they do not have, and end the process when it is used.
    """
    import psutil

    needed, free = math.prod(int(n) for n in shape) * bytes_per_voxel, psutil.virtual_memory().available
    if needed > free:
        raise MemoryLimitError(
            f"{path} has {format_shape(shape)} voxels and needs {needed / 2**30:.1f} GiB; {free / 2**30:.1f} GiB are "
            "free.",
            "Crop it, close other programs, or check its header: a damaged one can say anything.",
        )


def unreadable(path: Path, error: Exception, what: str = "an image") -> ReadError:
    """What to tell a person when a library failed with ``error`` to read ``path``."""
    if isinstance(error, PermissionError):
        return ReadError(f"{path} cannot be opened: permission denied.", "Ask for the right to read it, or copy it.")
    reason = " ".join(str(error).split())
    reason = _ITK_PLACE.sub("", reason) or type(error).__name__
    reason = reason if len(reason) <= 300 else f"...{reason[-297:]}"
    fix = "It may be truncated or of another format than its name says: copy it again, or convert it."
    return ReadError(f"{path} cannot be read as {what}: {reason.rstrip('.')}.", fix)


def no_image(path: Path) -> ReadError:
    """What to tell a person when a file is of no format that a library knows (a text, a damaged header)."""
    fix = "Give NIfTI, NRRD, MetaImage or DICOM; if it is one of these, it is damaged: copy it again."
    return ReadError(f"{path} holds no image that can be read here.", fix)


def three_axes(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Drop trailing axes of length 1 beyond the third; ``VolumeError`` for colours, frames and vectors."""
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.dtype.fields:
        raise VolumeError(
            f"The image has a colour ({', '.join(array.dtype.fields)}) in each voxel.", "Load a grey-value image."
        )
    if array.ndim == 4:
        raise VolumeError(
            f"The image has {array.shape[3]} frames or channels (size {format_shape(array.shape)}), not one.",
            "Save one of them as a 3D file and load that: there is no choice of a frame here.",
        )
    return array  # fewer or more axes: Volume says what is wrong


def rescaled(stored: npt.NDArray[Any], slope: float, intercept: float) -> npt.NDArray[Any]:
    """``stored * slope + intercept``, exact: int16 if all values are whole and fit, else float32 (rounded once).

    Works in pieces, so that no second copy of a large volume in float64 appears; memory order is kept.
    """
    if stored.size and stored.dtype.kind in "iu" and float(slope).is_integer() and float(intercept).is_integer():
        limits = np.iinfo(np.int16)
        ends = [int(value) * int(slope) + int(intercept) for value in (stored.min(), stored.max())]
        if limits.min <= min(ends) and max(ends) <= limits.max:
            if slope == 1 and intercept == 0:
                return stored.astype(np.int16, copy=False)
            return _in_pieces(stored, slope, intercept, np.int16)
    if slope == 1 and intercept == 0:
        return stored.astype(np.float32, copy=False)
    return _in_pieces(stored, slope, intercept, np.float32)


def _in_pieces(
    stored: npt.NDArray[Any], slope: float, intercept: float, dtype: type[np.int16 | np.float32]
) -> npt.NDArray[Any]:
    order = sorted(range(stored.ndim), key=lambda axis: -abs(stored.strides[axis]))
    slow_first = stored.transpose(order)
    out = np.empty(slow_first.shape, dtype=dtype)
    step = max(1, _CHUNK_VOXELS // max(1, slow_first[0].size))
    for start in range(0, len(out), step):
        part = slow_first[start : start + step].astype(np.float64)
        part *= slope
        part += intercept
        out[start : start + step] = part
    return out.transpose(np.argsort(order))
