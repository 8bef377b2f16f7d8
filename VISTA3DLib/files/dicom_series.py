"""DICOM folders: which series they hold, and one of them as a volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from VISTA3DLib.errors import ReadError, VolumeError
from VISTA3DLib.files.dicom_header import DicomFile, damaged_error, read_header, scan
from VISTA3DLib.files.dicom_pixels import read_voxels
from VISTA3DLib.files.dicom_stack import NotAVolumeError, Stack, stacked
from VISTA3DLib.files.image_file import check_file
from VISTA3DLib.geometry import Vector3, format_shape, format_vector
from VISTA3DLib.volume import Volume


@dataclass(frozen=True, kw_only=True)
class SeriesInfo:
    """One DICOM series of a folder.

    ``slices`` counts image planes; ``files`` are in slice order if the series is usable. ``spacing`` is in mm along
    rows, columns and slices. ``problem`` says why the series cannot be read as a volume and is empty if it can. Files
    that are damaged before their series is named come as an entry of their own with an empty ``uid``.
    """

    uid: str
    study_uid: str
    description: str
    modality: str
    number: int | None
    slices: int
    files: tuple[Path, ...]
    rows: int = 0
    columns: int = 0
    spacing: Vector3 | None = None
    problem: str = ""

    @property
    def usable(self) -> bool:
        """Whether it can be read as a volume."""
        return not self.problem

    def describe(self) -> str:
        """One line for a person: what it is, how large, its UID, and what is wrong with it."""
        number = f"{self.number} " if self.number is not None else ""
        count = f", {self.slices} image{'s' * (self.slices > 1)}"
        size = f", {format_shape((self.columns, self.rows, self.slices))}" if self.rows else count
        spacing = f" of {format_vector(self.spacing)} mm" if self.spacing else ""
        problem = f" [cannot be read: {self.problem}]" if self.problem else ""
        title = self.description or "without description"
        return f"{number}{title!r} ({self.modality or '?'}{size}{spacing}) {self.uid}{problem}"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Series:
    info: SeriesInfo
    stack: Stack | None = None
    error: ReadError | VolumeError | None = None

    @property
    def volume_like(self) -> bool:
        """Whether a person could mean this one: a volume, or what would be one if it were not damaged."""
        return self.stack is not None or not (self.error is None or isinstance(self.error, NotAVolumeError))


def list_series(folder: Path) -> tuple[SeriesInfo, ...]:
    """The series in a folder and in all folders in it, those with the lowest series number first.

    Series that cannot be read as a volume are listed with the reason: localizers, dose reports, missing slices. Reads
    headers only. Raises ``ReadError`` if the folder cannot be listed; a folder without DICOM files gives ().
    """
    _check_folder(folder)
    return tuple(series.info for series in _all_series(scan(folder)))


def read_dicom(path: Path, series: str | None = None) -> Volume:
    """Read one series of a folder (and the folders in it), or the series that the file ``path`` belongs to.

    ``series`` is the UID of the series to take if there are several. HU are exact: stored values, slope and intercept
    of each slice; compressed images are decoded by GDCM. The result's axes are those of the images (i along rows, j
    along columns), its slices are sorted by position, a tilted gantry stays a shear, ``source_files`` has the files in
    slice order. Raises ``ReadError``, naming files and series, when the choice is not clear or slices are missing.
    """
    if path.name.upper() == "DICOMDIR":  # the table of contents of a CD: the images lie around it
        path = path.parent
    if path.is_dir():
        files = scan(path)
    else:
        check_file(path)
        own = read_header(path)
        if own is None or own.damaged:
            raise ReadError(
                f"{path} is not a DICOM image: {own.problem if own else 'a directory or another format'}.",
                "Give the folder with the images of the series.",
            )
        if own.problem:
            raise ReadError(f"{path} is {own.problem}.", "Give an image of the CT, or its folder.")
        series = series or own.series_uid
        files = scan(path.parent, recursive=False)
    found = _all_series(files)
    chosen = _chosen(path, found, series)
    if chosen.stack is None:
        error = chosen.error or ReadError(f"It is no volume: {chosen.info.problem}.", "Choose another series.")
        kind = VolumeError if isinstance(error, VolumeError) else ReadError
        raise kind(f"{path}, series {chosen.info.description!r}: {error.message}", error.fix) from error
    strays = [file for file in files if file.damaged and not file.series_uid]
    if strays:  # one of them could be the last slice of the series
        raise damaged_error(strays)
    info = chosen.info
    return Volume(
        array=read_voxels(chosen.stack),
        affine=chosen.stack.grid.affine,
        name=info.description or (path.resolve().name if path.is_dir() else path.resolve().parent.name),
        modality=info.modality,
        source_files=chosen.stack.paths,
    )


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise ReadError(f"{folder} {what}.", "Give the folder with the DICOM files.")


def _all_series(files: Sequence[DicomFile]) -> list[_Series]:
    groups: dict[str, list[DicomFile]] = {}
    for file in files:
        groups.setdefault(file.series_uid, []).append(file)
    last = 2**31
    series = [_series(uid, group) for uid, group in groups.items()]
    return sorted(series, key=lambda s: (not s.info.uid, last if s.info.number is None else s.info.number, s.info.uid))


def _series(uid: str, files: Sequence[DicomFile]) -> _Series:
    damaged = [file for file in files if file.damaged]
    good = [file for file in files if file.planes]
    first = (good or list(files))[0]
    stack: Stack | None = None
    error: ReadError | VolumeError | None = None
    problem = ""
    if damaged:
        error = damaged_error(damaged)
    elif good:
        try:
            stack = stacked(good)
        except (ReadError, VolumeError) as caught:  # kept: said if this series is chosen
            error = caught
    else:
        problem = first.problem
    info = SeriesInfo(
        uid=uid,
        study_uid=first.study_uid,
        description=first.description or ("damaged files" if not uid else ""),
        modality=first.modality,
        number=first.number,
        slices=len(stack.images) if stack else sum(len(file.planes) for file in good) or len(files),
        files=stack.paths if stack else tuple(file.path for file in (good or files)),
        rows=first.rows,
        columns=first.columns,
        spacing=stack.grid.spacing if stack else None,
        problem=error.message.rstrip(".") if error else problem,
    )
    return _Series(info=info, stack=stack, error=error)


def _chosen(path: Path, found: Sequence[_Series], uid: str | None) -> _Series:
    if uid is not None:
        for series in found:
            if series.info.uid == uid:
                return series
        raise ReadError(f"{path} has no series {uid}.{_listing(found)}", "Choose one of these UIDs.")
    candidates = [series for series in found if series.volume_like and series.info.uid]
    if not candidates:
        candidates = [series for series in found if series.error and series.info.uid]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        uid = candidates[0].info.uid
        raise ReadError(f"{path} has {len(candidates)} series.{_listing(candidates)}", f"Choose one: series={uid!r}.")
    strays = [series for series in found if not series.info.uid and series.error]
    if strays:
        raise strays[0].error or ReadError("")
    raise _nothing_error(path, found)


def _listing(found: Sequence[_Series], most: int = 20) -> str:
    lines = [f"\n  {series.info.describe()}" for series in found[:most]]
    return "".join(lines) + (f"\n  and {len(found) - most} more" if len(found) > most else "") + "\n"


def _nothing_error(path: Path, found: Sequence[_Series]) -> ReadError:
    if found:
        return ReadError(f"{path} has no images of a volume, only:{_listing(found)}", "Give the folder of the CT.")
    others = sorted(p.name for p in path.iterdir() if p.is_file())[:5] if path.is_dir() else []
    hint = f" It holds {', '.join(others)}." if others else " It is empty." if path.is_dir() else ""
    return ReadError(f"{path} has no DICOM files.{hint}", "Give the folder of a DICOM series, or an image file.")
