"""NRRD files (``.nrrd``, ``.nhdr``): header with key/value pairs, voxels, and where they lie."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from VISTA3DLib.errors import ReadError, VolumeError
from VISTA3DLib.files.image_file import ImageFile, check_room, three_axes, unreadable
from VISTA3DLib.geometry import FloatArray, flip_lps_ras

_MAX_HEADER_LINES = 100_000
# The first three letters say where the axes point; anything else (scanner-xyz, 3D-right-handed, nothing at all) is
# taken as LPS, which is what ITK and Slicer do.
_TO_RAS: dict[str, FloatArray] = {
    "left-posterior-superior": flip_lps_ras(np.eye(4)),
    "right-anterior-superior": np.eye(4),
    "left-anterior-superior": np.diag([-1.0, 1.0, 1.0, 1.0]),
}
_SHORT = {"lps": "left-posterior-superior", "ras": "right-anterior-superior", "las": "left-anterior-superior"}
_SPACE_KINDS = {"domain", "space"}


@dataclass(frozen=True, kw_only=True, eq=False)
class NrrdFile:
    """``array`` with its axes in the file's order (first axis fastest), ``header`` as pynrrd gives it."""

    path: Path
    array: npt.NDArray[Any]
    header: dict[str, Any]

    @property
    def list_axis(self) -> int | None:
        """The axis of a 4D file that does not lie in space (segment layers, frames, channels), if there is one."""
        if self.array.ndim != 4:
            return None
        directions = self.header.get("space directions")
        kinds = [kind.lower() for kind in self.header.get("kinds", [])]
        if directions is not None and len(directions) == 4:
            outside = np.flatnonzero(np.isnan(np.asarray(directions, dtype=np.float64)).any(axis=1))
            if len(outside) == 1:
                return int(outside[0])
        others = [axis for axis, kind in enumerate(kinds) if kind not in _SPACE_KINDS]
        return others[0] if len(others) == 1 else 3

    def affine(self) -> FloatArray:
        """Voxel->RAS (4x4, mm) of the three axes in space. Without space directions: the spacings, in LPS, at 0."""
        space = str(self.header.get("space", "")).lower().removesuffix("-time")
        directions = self.header.get("space directions")
        matrix = np.eye(4)
        kept = [axis for axis in range(self.array.ndim) if axis != self.list_axis][:3]
        if directions is not None:
            directions = np.asarray(directions, dtype=np.float64)
            if directions.shape != (self.array.ndim, 3):
                raise VolumeError(
                    f"The space directions have the shape {directions.shape}, not {(self.array.ndim, 3)}.",
                    "Repair the image's header.",
                )
            matrix[:3, : len(kept)] = directions[kept].T
        elif (spacings := self.header.get("spacings")) is not None:
            given = np.asarray(spacings, dtype=np.float64)[kept]
            matrix[:3, :3] = np.diag(np.where(np.isnan(given), 1.0, given)) if len(given) == 3 else np.eye(3)
        origin = self.header.get("space origin")
        if origin is not None and len(origin) == 3:
            matrix[:3, 3] = origin
        return _TO_RAS.get(_SHORT.get(space, space), _TO_RAS["left-posterior-superior"]) @ matrix


def read_nrrd_file(path: Path) -> NrrdFile:
    """Read header and voxels. Raises ``ReadError`` for damaged or incomplete files."""
    import nrrd

    try:
        with path.open("rb") as file:
            # pynrrd drops what is not ASCII; Slicer writes names in UTF-8. Its parser takes lines of text as well.
            header = dict(nrrd.read_header(_header_lines(file)))
            _check_data_files(path, header)
            check_room(path, header.get("sizes", ()), 1)  # at least
            array = nrrd.read_data(header, file, str(path), index_order="F")
    except (nrrd.NRRDError, OSError, EOFError, zlib.error, ValueError, KeyError, IndexError, OverflowError) as error:
        raise unreadable(path, error, "a NRRD image") from error
    return NrrdFile(path=path, array=array, header=header)


def read_nrrd(path: Path) -> ImageFile:
    """Read a NRRD image. Raises ``ReadError`` for damaged files, ``VolumeError`` for colours and several frames."""
    file = read_nrrd_file(path)
    array = file.array
    if (axis := file.list_axis) is not None:
        array = np.moveaxis(array, axis, 3)
    return ImageFile(array=three_axes(array), affine=file.affine())


def _header_lines(file: Any) -> list[str]:
    """The header's lines up to and without the blank one; the file is left at the first byte of the data."""
    lines: list[str] = []
    for line in file:
        text = line.decode("utf-8", errors="replace").rstrip()
        if not lines and not re.fullmatch(r"NRRD\d+", text):
            raise ValueError("it does not begin with the word NRRD")
        if not text:
            return lines
        lines.append(text)
        if len(lines) > _MAX_HEADER_LINES:
            break
    if lines and len(lines) <= _MAX_HEADER_LINES:
        return lines  # a detached header may end without a blank line
    raise ValueError("its header does not end" if lines else "the header is missing")


def _check_data_files(path: Path, header: dict[str, Any]) -> None:
    data = header.get("data file", header.get("datafile"))
    if data is None:
        return
    if data.startswith("LIST") or "%" in data:
        raise ReadError(f"{path} spreads its voxels over several files.", "Load it in Slicer and save it as one file.")
    if not (path.parent / data).is_file():
        raise ReadError(f"{path} needs the file {data}, which is not there.", "Copy it into the same folder.")
