"""Files that appear complete or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from VISTA3DLib.errors import OutputError

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_BAD_NAME = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.EINVAL}


@contextmanager
def written_atomically(path: Path) -> Iterator[Path]:
    """Hand out a path beside ``path`` to write to; when the block ends well, it takes the place of ``path``.

    Whatever goes wrong (no permission, a full disk, a cancelled run), nothing is left behind and an older file at
    ``path`` stays as it was. Errors of the file system become ``OutputError``.
    """
    with all_written_atomically(path) as (temporary,):
        yield temporary


@contextmanager
def all_written_atomically(path: Path, *companions: Path) -> Iterator[tuple[Path, ...]]:
    """Like ``written_atomically`` for files of one folder that belong together; ``path`` is replaced last.

    Every temporary path that was handed out must exist when the block ends.
    """
    targets = (path, *companions)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for target in targets:
            if target.is_dir():  # known now; after minutes of writing it would be found when half of them are replaced
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}.", dir=path.parent))
    except OSError as error:
        raise output_error(path, error) from error
    try:
        # The full names are kept: writers choose the format by the ending.
        temporaries = tuple(folder / target.name for target in targets)
        yield temporaries
        for temporary in temporaries:
            _flush_to_disk(temporary)
        for temporary, target in reversed(list(zip(temporaries, targets, strict=True))):
            temporary.replace(target)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_writable(path: Path) -> None:
    """Raise the ``OutputError`` that writing ``path`` would end in, before the work starts; makes nothing."""
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise output_error(path, error) from error


def check_not_input(path: Path, inputs: Iterable[Path | None]) -> None:
    """Raise ``OutputError`` if writing ``path`` would replace one of the files that are read, by whatever name."""
    for source in inputs:
        if source is not None and source.resolve() == path.resolve():
            raise OutputError(
                f"{path} is read by this run and would be replaced.", "Choose another name for the result."
            )


def output_error(path: Path, error: OSError) -> OutputError:
    """What to tell a person when writing to ``path`` failed with ``error``."""
    reason = error.strerror or str(error)
    fix = "Choose another place."
    if error.errno in _FULL or error.errno is None:  # writers of other languages give no number; mostly it is the disk
        reason += _free_space(path.parent)
        fix = "Free some space or choose another place."
    elif error.errno in _FORBIDDEN:
        fix = "Choose a folder that you may write to."
    elif error.errno in _BAD_NAME:
        fix = "Choose another file name."
    return OutputError(f"{path} cannot be written: {reason}.", fix)


def _flush_to_disk(path: Path) -> None:
    # A full network drive or an exceeded quota may only be noticed here, and it must be before the old file goes.
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _free_space(folder: Path) -> str:
    try:
        return f" ({shutil.disk_usage(folder).free / 1e6:.1f} MB are free)"
    except OSError:  # the number is an extra; the error that led here is what counts
        return ""
