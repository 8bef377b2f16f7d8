"""One scan of a cohort: where it lies and what it is called in the results."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from VISTA3DLib.cohort.storage import Store
from VISTA3DLib.files.image_file import stem_of

_UNSAFE = re.compile(r'[<>:"|?*\\\x00-\x1f]')  # what Windows and shares do not take in a name
_LONGEST_PART = 120  # characters of one part of an id: it becomes a folder, and paths have limits


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """A scan to segment: ``name`` in the store ``root``, an image file, a DICOM folder, or the first file of a series.

    ``series`` is the SeriesInstanceUID where it is known. ``problem`` says why it cannot be segmented if that is known
    already, ``fix`` what to do; ``same_as`` is the id of the scan that it is a copy of.
    """

    id: str
    root: str
    name: str
    series: str = ""
    problem: str = ""
    fix: str = ""
    same_as: str = ""

    @property
    def address(self) -> str:
        """The full path or URL."""
        return Store(self.root).address(self.name)


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """Something in the input that is no scan to segment, and why."""

    path: str
    reason: str
    series: str = ""
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the input holds: scans in the order of their ids, each id once, and what was left out."""

    scans: tuple[Scan, ...]
    left_out: tuple[LeftOut, ...] = ()


def id_of(name: str) -> str:
    """The id of a file or folder from its name in the input: its path without ending, fit to name a folder."""
    path = PurePosixPath(name)
    return folder_id(str(path.with_name(stem_of(Path(path.name))))) if path.name else "scan"


def folder_id(name: str) -> str:
    """Like ``id_of`` for the name of a folder, in which a dot starts no ending."""
    parts = [_part(part) for part in PurePosixPath(name).parts if part not in {"", "/", "."}]
    return "/".join(parts) or "scan"


def unique_id(wanted: str, taken: set[str]) -> str:
    """``wanted``, with a number if it is taken; takes it."""
    # Folded: file systems of Windows and macOS do not tell A from a.
    number, found = 1, wanted
    while found.casefold() in taken:
        number += 1
        found = f"{wanted} ({number})"
    taken.add(found.casefold())
    return found


def _part(part: str) -> str:
    safe = _UNSAFE.sub("_", part).strip(" .") or "_"  # names that end in a dot or a space are trouble on Windows
    return safe if len(safe) <= _LONGEST_PART else f"{safe[: _LONGEST_PART - 12]}~{_short_hash(safe)}"


def _short_hash(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:11]
