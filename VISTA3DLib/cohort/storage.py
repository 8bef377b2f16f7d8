"""Folders on any file system or object store: ``/data``, ``file://``, ``s3://``, ``gs://``, ``memory://`` and so on."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from VISTA3DLib.errors import ReadError, SettingsError
from VISTA3DLib.files.atomic import output_error, written_atomically

_ARROW = {"s3", "s3a", "gs", "gcs", "hdfs"}  # pyarrow brings these; fsspec has the others
_WHOLE_OR_NOT = {"s3", "s3a", "gs", "gcs", "abfs", "az", "memory"}  # an object appears when its last byte is there


class Store:
    """A root folder, given by a path or a URL, and what is in it by names relative to it (``/`` between parts).

    Writing is all or nothing: a temporary name and a rename where there are files, one object where there are objects.
    ``AWS_ENDPOINT_URL`` names an S3-compatible server. Pickles as its address. Errors of the file system become
    ``ReadError`` and ``OutputError``.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = str(root)

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return Store, (self.root,)

    @cached_property
    def scheme(self) -> str:
        """``file``, ``s3``, ..."""
        head, separator, _ = self.root.partition("://")
        return head.lower() if separator else "file"

    @property
    def is_local(self) -> bool:
        """Whether the names are files that any library can open."""
        return self.scheme == "file"

    def path(self, name: str = "") -> Path:
        """Where a name lies, for a local root."""
        return Path(self._base, name) if name else Path(self._base)

    def address(self, name: str = "") -> str:
        """The full path or URL of a name."""
        if self.is_local:
            return str(self.path(name))
        return f"{self.root.rstrip('/')}/{name}" if name else self.root

    def exists(self, name: str = "") -> bool:
        """Whether there is a file, an object or a folder of this name."""
        return self.path(name).exists() if self.is_local else bool(self._fs.exists(self._key(name)))

    def is_folder(self, name: str = "") -> bool:
        """Whether the name is a folder (or a prefix of objects)."""
        return self.path(name).is_dir() if self.is_local else bool(self._fs.isdir(self._key(name)))

    def names(
        self, folder: str = "", *, recursive: bool = True, unreadable: Callable[[OSError], None] | None = None
    ) -> list[str]:
        """The files in a folder, and in those below it, sorted, relative to the root. Hidden ones are left out.

        ``unreadable`` is told of local folders that cannot be listed; without it they are passed over.
        """
        if self.is_local:
            base = self.path()
            names = []
            for place, folders, files in os.walk(self.path(folder), onerror=unreadable):
                names += [Path(place, file).relative_to(base).as_posix() for file in files]
                if not recursive:
                    folders.clear()
        else:
            start = len(self._base.rstrip("/")) + 1
            found = self._fs.find(self._key(folder), maxdepth=None if recursive else 1)
            names = [str(key)[start:] for key in found]
        return sorted(name for name in names if not any(part.startswith(".") for part in name.split("/")))

    def stamp(self, name: str) -> str:
        """Size and time of change of a file: what tells quickly that it is still the same. Empty if it is not there."""
        try:
            if self.is_local:
                status = self.path(name).stat()
                return f"{status.st_size}-{status.st_mtime_ns}"
            info = self._fs.info(self._key(name))
        except OSError:
            return ""
        return f"{info.get('size')}-{info.get('ETag') or info.get('mtime') or info.get('created')}"

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises ``ReadError``."""
        try:
            if self.is_local:
                return self.path(name).read_bytes()
            return bytes(self._fs.cat_file(self._key(name)))
        except OSError as error:
            raise ReadError(f"{self.address(name)} cannot be read: {error}.", "Check the path.") from error

    def write(self, name: str, data: bytes) -> None:
        """Write a file; it appears complete or not at all. Raises ``OutputError``."""
        if self.is_local:
            with written_atomically(self.path(name)) as temporary:
                temporary.write_bytes(data)
            return
        with self._uploading(name) as key:
            self._fs.pipe_file(key, data)

    def delete(self, name: str) -> None:
        """Remove a file; one that is gone already is no error."""
        try:
            if self.is_local:
                self.path(name).unlink(missing_ok=True)
            elif self._fs.exists(self._key(name)):
                self._fs.rm_file(self._key(name))
        except OSError as error:
            raise output_error(Path(self.address(name)), error) from error

    def prune(self, folder: str) -> None:
        """Remove a local folder in the root if it is empty, and those above it that it was the only thing in."""
        if self.is_local and folder:
            for name in (folder, *map(str, PurePosixPath(folder).parents[:-1])):
                try:
                    self.path(name).rmdir()
                except OSError:  # something is in it, or it is gone already
                    return

    @contextmanager
    def fetched(self, names: Sequence[str]) -> Iterator[list[Path]]:
        """Local paths of files while the block runs; copies, placed to each other as here, if the root is elsewhere.

        Raises ``ReadError`` when one cannot be had.
        """
        if self.is_local:
            yield [self.path(name) for name in names]
            return
        with tempfile.TemporaryDirectory(prefix="vista3d-") as folder:
            paths = [Path(folder, name) for name in names]
            for name, path in zip(names, paths, strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    self._fs.get_file(self._key(name), str(path))
                except OSError as error:
                    raise ReadError(f"{self.address(name)} cannot be fetched: {error}.", "Check it.") from error
            yield paths

    @contextmanager
    def filled(self, folder: str) -> Iterator[Path]:
        """A local folder to write complete files to; when the block ends well they are in ``folder`` of the root.

        For a local root it is the folder itself, so writers must be atomic. Raises ``OutputError``.
        """
        if self.is_local:
            path = self.path(folder)
            try:
                path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise output_error(path, error) from error
            self.tidy(folder)
            yield path
            return
        with tempfile.TemporaryDirectory(prefix="vista3d-") as temporary:
            yield Path(temporary)
            for path in sorted(p for p in Path(temporary).rglob("*") if p.is_file()):
                with self._uploading(f"{folder}/{path.relative_to(temporary).as_posix()}") as key:
                    self._fs.put_file(str(path), key)

    def tidy(self, folder: str, *, recursive: bool = False) -> None:
        """Remove what a killed process left in a local folder: the hidden folders that files are first written to."""
        if self.is_local:
            path = self.path(folder)
            for left in list(path.rglob(".*") if recursive else path.glob(".*")):
                if left.is_dir():
                    shutil.rmtree(left, ignore_errors=True)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A local path to write one large file to; it appears under ``name`` when the block ends well."""
        if self.is_local:
            with written_atomically(self.path(name)) as temporary:
                yield temporary
            return
        with tempfile.TemporaryDirectory(prefix="vista3d-") as folder:
            path = Path(folder, PurePosixPath(name).name)
            yield path
            with self._uploading(name) as key:
                self._fs.put_file(str(path), key)

    @contextmanager
    def _uploading(self, name: str) -> Iterator[str]:
        key = self._key(name)
        at_once = self.scheme in _WHOLE_OR_NOT
        temporary = key if at_once else f"{PurePosixPath(key).parent}/.{uuid.uuid4().hex}.part"
        try:
            if self.scheme not in _WHOLE_OR_NOT or self.scheme == "memory":
                self._fs.makedirs(str(PurePosixPath(key).parent), exist_ok=True)
            yield temporary
            if not at_once:
                self._fs.mv(temporary, key)
        except OSError as error:
            raise output_error(Path(self.address(name)), error) from error

    def _key(self, name: str) -> str:
        return f"{self._base.rstrip('/')}/{name}" if name else self._base

    @property
    def _fs(self) -> Any:
        return self._opened[0]

    @property
    def _base(self) -> str:
        return self._opened[1]

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        if self.is_local:
            return None, self.root.removeprefix("file://") or "."
        try:
            return _arrow_filesystem(self.scheme, self.root) if self.scheme in _ARROW else _other_filesystem(self.root)
        except (ImportError, ValueError, OSError) as error:
            raise SettingsError(
                f"{self.root} cannot be opened: {error}.", "Check the address and its driver."
            ) from error


def split(path: str | Path) -> tuple[Store, str]:
    """A file's folder as a store, and the file's name in it."""
    text = str(path)
    if "://" in text and not text.lower().startswith("file://"):
        head, _, tail = text.rstrip("/").rpartition("/")
        return Store(head), tail
    local = Path(text.removeprefix("file://"))
    return Store(local.parent), local.name


def _arrow_filesystem(scheme: str, root: str) -> tuple[Any, str]:
    from fsspec.implementations.arrow import ArrowFSWrapper
    from pyarrow import fs

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if scheme in {"s3", "s3a"} and endpoint:
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        return ArrowFSWrapper(fs.S3FileSystem(endpoint_override=endpoint, region=region)), root.partition("://")[2]
    bucket, _, key = root.partition("://")[2].partition("/")
    # The bucket alone: names may hold what a URL would have to escape.
    filesystem, base = fs.FileSystem.from_uri(f"{'gs' if scheme == 'gcs' else scheme}://{bucket}")
    return ArrowFSWrapper(filesystem), f"{base.rstrip('/')}/{key}".rstrip("/")


def _other_filesystem(root: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    filesystem, base = url_to_fs(root)
    return filesystem, str(base)
