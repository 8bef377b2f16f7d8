"""The files of a scan: where they can be opened, whether they are still the same, what is in them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from VISTA3DLib.cohort.scan import Scan
from VISTA3DLib.cohort.storage import Store
from VISTA3DLib.download import sha256_of
from VISTA3DLib.errors import ReadError
from VISTA3DLib.files.image_file import stem_of, suffix_of, unreadable

_HEADERS = {".mhd", ".nhdr"}  # the voxels lie in a file beside them
_DICOM_FILES = {".dcm", ".ima", ".dicom"}


@contextmanager
def opened(scan: Scan) -> Iterator[Path]:
    """A local path that ``read_volume`` takes, while the block runs. Raises ``ReadError`` if the scan is not there."""
    store = Store(scan.root)
    names = input_names(scan)
    if not names:
        raise ReadError(f"{scan.address} does not exist.", "Check the path.")
    with store.fetched(names) as paths:
        if scan.name in names:
            yield paths[names.index(scan.name)]
        elif store.is_local:
            yield store.path(scan.name)
        else:  # a folder: what is above the first file by as many parts as its name has below the folder
            below = PurePosixPath(names[0]).relative_to(scan.name or ".").parts
            yield paths[0].parents[len(below) - 1]


def input_names(scan: Scan) -> list[str]:
    """The files that the scan may be made of, sorted: one image with its voxels, or all files of a DICOM folder."""
    store = Store(scan.root)
    name = PurePosixPath(scan.name)
    suffix = suffix_of(Path(name.name))
    if (scan.series and store.exists(scan.name) and not store.is_folder(scan.name)) or suffix in _DICOM_FILES:
        return store.names(_parent(name), recursive=False)
    if suffix in _HEADERS:
        stem = stem_of(Path(name.name))
        beside = store.names(_parent(name), recursive=False)
        return [n for n in beside if n == scan.name or _is_data(PurePosixPath(n).name, stem)]
    if store.is_folder(scan.name):
        return store.names(scan.name)
    return [scan.name] if store.exists(scan.name) else []


def stamp_of(scan: Scan) -> str:
    """16 digits that change when a file of the scan changes its size or its time; quick, opens nothing."""
    store = Store(scan.root)
    digest = hashlib.sha256()
    for name in input_names(scan):
        digest.update(f"{name}\0{store.stamp(name)}\n".encode())
    return digest.hexdigest()[:16]


def content_hash(paths: Iterable[Path]) -> tuple[str, int]:
    """SHA-256 over the contents of files, whatever their names and order are, and their bytes. ``ReadError``."""
    digests: list[str] = []
    size = 0
    for path in paths:
        try:
            digests.append(sha256_of(path))
            size += path.stat().st_size
        except OSError as error:
            raise unreadable(path, error) from error
    if len(digests) == 1:
        return digests[0], size
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest(), size


def image_files(path: Path) -> list[Path]:
    """An image file and, if it is a header only, the file with its voxels."""
    if suffix_of(path) not in _HEADERS:
        return [path]
    stem = stem_of(path)
    return [path, *sorted(p for p in path.parent.iterdir() if _is_data(p.name, stem))]


def _is_data(name: str, stem: str) -> bool:
    return name.startswith(f"{stem}.") and name.endswith((".raw", ".zraw", ".raw.gz", ".gz", ".bz2", ".img"))


def _parent(name: PurePosixPath) -> str:
    parent = str(name.parent)
    return "" if parent == "." else parent
