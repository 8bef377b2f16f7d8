"""The CT series in a tree of DICOM files: which are to be segmented, which are broken, which are something else."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

import numpy as np

from VISTA3DLib.cohort.scan import Found, LeftOut, Scan, folder_id, unique_id
from VISTA3DLib.cohort.storage import Store
from VISTA3DLib.errors import ReadError, VolumeError
from VISTA3DLib.files.dicom_header import DicomFile, damaged_error, read_header
from VISTA3DLib.files.dicom_stack import NotAVolumeError, stacked
from VISTA3DLib.progress import Tracker

FEWEST_IMAGES = 5  # fewer are bolus tracking, a test slice or a localizer that does not say so
_AXIAL = 0.8  # cosine between the images' normal and head-foot; a gantry leans by 30 degrees at most (0.87)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Series:
    """One series in one folder. ``instances`` is a digest of its images' UIDs."""

    uid: str
    study: str
    folder: str
    first: str
    images: int
    description: str
    instances: str
    reason: str = ""  # why it is left out
    problem: str = ""  # why it is broken
    fix: str = ""


@dataclass
class DicomFinder:
    """Collects files of ``store`` by ``add`` and finds the series among them folder by folder."""

    store: Store
    _folders: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, name: str) -> None:
        """Take in a file that may be DICOM."""
        self._folders[str(PurePosixPath(name).parent)].append(name)

    @property
    def folder_count(self) -> int:
        """How many folders ``find`` looks into."""
        return len(self._folders)

    def find(self, taken: set[str], tracker: Tracker, *, one_per_study: bool = False) -> Found:
        """Look into all folders. ``taken`` are ids (folded) that are in use already. Reads headers only."""
        series: list[_Series] = []
        left_out: list[LeftOut] = []
        for folder in sorted(self._folders):
            series += self._in_folder(folder, self._folders[folder])
            tracker.step()
        left_out += [self._left_out(s) for s in series if s.reason]
        kept = [s for s in series if not s.reason]
        if one_per_study:
            kept, fewer = _largest_of_each_study(kept)
            left_out += [self._left_out(s) for s in fewer]
        return Found(scans=tuple(self._scans(kept, taken)), left_out=tuple(left_out))

    def _in_folder(self, folder: str, names: Sequence[str]) -> list[_Series]:
        groups: dict[str, list[DicomFile]] = defaultdict(list)
        try:
            with self.store.fetched(names) as paths:
                name_of = dict(zip(paths, names, strict=True))
                for path in paths:
                    header = read_header(path)
                    if header is not None:
                        groups[header.series_uid].append(header)
                # A file that ends before it names its series could be a slice of any of them.
                strays = [file for file in groups.get("", []) if file.damaged]
                if len(groups) > 1:
                    groups.pop("", None)
                found = [_judged(folder, uid, files, strays) for uid, files in sorted(groups.items())]
                return [replace(s, first=name_of[files.path]) for s, files in found]
        except ReadError as error:  # a file that may not be opened, or is gone
            place = names[0] if folder == "." else folder
            problem = _Series(
                uid="", study="", folder=folder, first=place, images=len(names), description="", instances="",
                problem=error.message, fix=error.fix,
            )  # fmt: skip
            return [problem]

    def _left_out(self, series: _Series) -> LeftOut:
        return LeftOut(
            path=self.store.address(series.folder),
            reason=series.reason,
            series=series.uid,
            description=series.description,
        )

    def _scans(self, series: Iterable[_Series], taken: set[str]) -> Iterable[Scan]:
        ordered = sorted(series, key=lambda s: (s.folder, s.uid))
        in_folder: dict[str, int] = defaultdict(int)
        same: dict[str, list[_Series]] = defaultdict(list)
        for one in ordered:
            in_folder[one.folder] += 1
            if one.uid and not one.problem:
                same[one.uid].append(one)
        first_id: dict[str, str] = {}
        for one in ordered:
            place = folder_id("dicom" if one.folder == "." else one.folder)
            scan_id = unique_id(place if in_folder[one.folder] == 1 else f"{place}/{one.uid or 'damaged'}", taken)
            scan = Scan(
                id=scan_id, root=self.store.root, name=one.first, series=one.uid, problem=one.problem, fix=one.fix
            )
            others = same.get(one.uid, [])
            if len(others) > 1 and not one.problem:
                if any(other.instances != one.instances for other in others):
                    scan = replace(scan, problem=self._clash(one, others), fix=_CLASH_FIX)
                else:
                    original = first_id.setdefault(one.uid, scan_id)
                    scan = replace(scan, same_as="" if original == scan_id else original)
            yield scan

    def _clash(self, one: _Series, others: Sequence[_Series]) -> str:
        places = ", ".join(f"{self.store.address(o.folder)} ({o.images} images)" for o in others if o is not one)
        here = f"{self.store.address(one.folder)} ({one.images} images)"
        return f"Two series with one UID: {one.uid} is in {here} and, with other images, in {places}."


_CLASH_FIX = "If it is one series that was split, put its files into one folder; else give one a UID of its own."


def _judged(
    folder: str, uid: str, files: Sequence[DicomFile], strays: Sequence[DicomFile]
) -> tuple[_Series, DicomFile]:
    """A series of a folder with what is to become of it, and its first file."""
    damaged = [file for file in files if file.damaged]
    good = [file for file in files if file.planes]
    first = (good or list(files))[0]
    reason = problem = fix = ""
    if damaged:
        error = damaged_error(damaged)
        problem, fix = error.message, error.fix
    elif not good:
        reason = first.problem
    elif first.modality.upper() not in {"CT", ""}:
        reason = f"{first.modality}, not CT"
    else:
        reason, problem, fix = _judged_stack(good)
    if strays and not reason and not damaged:
        error = damaged_error(strays)
        problem, fix = error.message, error.fix
    instances = hashlib.sha256("\n".join(sorted(file.sop_uid for file in files)).encode()).hexdigest()
    series = _Series(
        uid=uid,
        study=first.study_uid,
        folder=folder,
        first="",
        images=sum(len(file.planes) for file in good) or len(files),
        description=first.description,
        instances=instances,
        reason=reason,
        problem=problem,
        fix=fix,
    )
    return series, first


def _judged_stack(good: Sequence[DicomFile]) -> tuple[str, str, str]:
    """Why images are left out, what is wrong with them, and what to do; all empty for an axial series."""
    if sum(len(file.planes) for file in good) < FEWEST_IMAGES:
        return f"fewer than {FEWEST_IMAGES} images", "", ""
    if not any(_axial(file) for file in good):
        return "not axial (a reformation)", "", ""
    try:
        stacked(good)
    except NotAVolumeError as error:
        return error.message.rstrip("."), "", ""
    except (ReadError, VolumeError) as error:
        return "", error.message, error.fix
    return "", "", ""


def _axial(file: DicomFile) -> bool:
    return bool(np.abs(file.planes[0].normal[2]) >= _AXIAL)


def _largest_of_each_study(series: Sequence[_Series]) -> tuple[list[_Series], list[_Series]]:
    best: dict[str, _Series] = {}
    for one in series:
        old = best.get(one.study)
        if not one.problem and one.study and (old is None or one.images > old.images):
            best[one.study] = one
    kept, fewer = [], []
    for one in series:
        largest = best.get(one.study)
        if one.problem or largest is None or largest.uid == one.uid:
            kept.append(one)
        else:
            reason = f"the study has a series with more images ({largest.images} against {one.images})"
            fewer.append(replace(one, reason=reason))
    return kept, fewer
