"""Why a scan has no result, in few words: what the report groups failures by."""

from __future__ import annotations

import re

from VISTA3DLib.errors import MemoryLimitError, OutputError, ReadError, VISTA3DError, VolumeError

EMPTY = "empty file"
MISSING = "file not found"
FORBIDDEN = "no permission"
ENCRYPTED = "encrypted"
TRUNCATED = "truncated"
UNREADABLE = "unreadable"
UNEVEN = "missing slices or mixed spacing"
MIXED = "several images in one series"
AMBIGUOUS = "several series in one folder"
UID_CLASH = "two series with one UID"
DUPLICATE = "duplicate"
NOT_A_VOLUME = "not a 3D image"
MEMORY = "out of memory"
OUTPUT = "output cannot be written"
CRASH = "the process died"
CLUSTER = "cluster lost"
UNEXPECTED = "unexpected error"
OTHER = "cannot be segmented"

# Looked for in this order in what the readers say.
_IN_TEXT = (
    (r"two series with one UID", UID_CLASH),
    (r"\b0 bytes\b|is empty", EMPTY),
    (r"encrypt|password", ENCRYPTED),
    (r"permission denied|cannot be listed", FORBIDDEN),
    (r"does not exist|names no file|no such file|path does not exist", MISSING),
    (
        r"truncated:|end-of-stream|unexpected end|could the file be damaged|file (is )?too short|premature|EOF",
        TRUNCATED,
    ),
    (r"not evenly spaced|uneven", UNEVEN),
    (r"mixes images|different images at the same place", MIXED),
    (r"has \d+ series", AMBIGUOUS),
)
_KINDS: tuple[tuple[type[VISTA3DError], str], ...] = (
    (MemoryLimitError, MEMORY),
    (OutputError, OUTPUT),
    (VolumeError, NOT_A_VOLUME),
    (ReadError, UNREADABLE),
)


def cause_of(error: BaseException) -> str:
    """The group of an error that stopped a scan."""
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return MEMORY
    if isinstance(error, (MemoryLimitError, OutputError)):
        return next(cause for kind, cause in _KINDS if isinstance(error, kind))
    if isinstance(error, (ReadError, VolumeError)):
        return cause_of_text(error.message) or next(cause for kind, cause in _KINDS if isinstance(error, kind))
    return OTHER if isinstance(error, VISTA3DError) else UNEXPECTED


def cause_of_text(message: str) -> str:
    """The group that a reader's message belongs to; empty if it says nothing that is known."""
    return next((cause for pattern, cause in _IN_TEXT if re.search(pattern, message, re.IGNORECASE)), "")
