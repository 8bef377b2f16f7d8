"""Files on their way between the page and the viewer: uploads into a folder of the session, downloads out of it."""

from __future__ import annotations

import asyncio
import errno
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from aiohttp import web

from VISTA3DLib.errors import OutputError, ReadError, VISTA3DError

MOST_FILES = 20_000  # of one upload; a DICOM folder has some hundreds
_PIECE = 2**20
_BATCH = re.compile(r"[a-z0-9]{8,40}")
_REASONS = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}


@dataclass(kw_only=True)
class _Batch:
    """Files that were dropped or chosen together."""

    folder: Path
    size: int = 0
    files: list[Path] = field(default_factory=list)


class Exchange:
    """The folder for files in transit and the routes to it. ``limit``: bytes of all the files of one upload.

    A batch of uploads is opened under a name that the page makes up; ``take`` hands its files on.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._batches: dict[str, _Batch] = {}
        self._offers: dict[str, Path] = {}

    @property
    def routes(self) -> list[web.RouteDef]:
        """For the router of ``aiohttp``. Addresses are relative to the page, so a path prefix does no harm."""
        return [
            web.put("/upload/{batch}/{name:.+}", self._receive),
            web.delete("/upload/{batch}", self._discard),
            web.get("/download/{key}/{name}", self._send),
        ]

    def take(self, batch: str) -> tuple[list[Path], Path]:
        """The files of a batch and their folder, which the caller owns from now on.

        Raises ``ReadError`` if nothing arrived under this name.
        """
        found = self._batches.pop(batch, None)
        if found is None or not found.files:
            raise ReadError("Nothing was uploaded.", "Choose the file again.")
        return found.files, found.folder

    def offer(self, path: Path) -> str:
        """An address, relative to the page, at which a file of the session can be fetched; it replaces older ones."""
        for old in self._offers.values():
            if old != path:
                shutil.rmtree(old.parent, ignore_errors=True)
        self._offers.clear()
        key = secrets.token_hex(8)
        self._offers[key] = path
        return f"download/{key}/{quote(path.name)}"

    def forget(self, tab: str) -> None:
        """A tab has gone: what it was uploading is not needed any more. Its batches begin with its name."""
        for name in [name for name in self._batches if name.startswith(tab)]:
            self._drop(name)

    @contextmanager
    def outgoing(self) -> Iterator[Path]:
        """An empty folder for a file that is going to be offered; it goes when that fails. Raises ``OutputError``."""
        folder = self._folder / f"out_{secrets.token_hex(6)}"
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise _no_room(error, self._folder) from error
        try:
            yield folder
        except VISTA3DError:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    async def _receive(self, request: web.Request) -> web.Response:
        name, stored = request.match_info["batch"], False
        try:
            await self._store(name, request)
            stored = True
        except VISTA3DError as error:
            return web.json_response({"message": error.message, "fix": error.fix}, status=422)
        finally:
            if not stored:  # refused, or the page has gone away
                self._drop(name)
        return web.json_response({})

    async def _store(self, name: str, request: web.Request) -> None:
        if not _BATCH.fullmatch(name):
            raise ReadError(f"'{name[:40]}' is no name of an upload.", "Reload the page.")
        batch = self._batches.setdefault(name, _Batch(folder=self._folder / f"in_{name}"))
        if len(batch.files) >= MOST_FILES:
            raise ReadError(f"These are more than {MOST_FILES:,} files.", "Choose the folder of one series.")
        self._check_size(batch.size + (request.content_length or 0))
        path = _inside(batch.folder, request.match_info["name"])
        loop = asyncio.get_running_loop()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                while piece := await request.content.read(_PIECE):
                    batch.size += len(piece)
                    self._check_size(batch.size)
                    await loop.run_in_executor(None, file.write, piece)
        except OSError as error:
            raise _no_room(error, self._folder) from error
        batch.files.append(path)

    def _check_size(self, size: int) -> None:
        if size > self._limit:
            raise ReadError(
                f"The upload is larger than the limit of {_megabytes(self._limit)}.",
                "Start the viewer with the file's path, or with a larger --upload-limit.",
            )

    async def _discard(self, request: web.Request) -> web.Response:
        self._drop(request.match_info["batch"])
        return web.json_response({})

    def _drop(self, name: str) -> None:
        batch = self._batches.pop(name, None)
        if batch is not None:
            shutil.rmtree(batch.folder, ignore_errors=True)

    async def _send(self, request: web.Request) -> web.StreamResponse:
        path = self._offers.get(request.match_info["key"])
        if path is None or not path.is_file():
            raise web.HTTPNotFound(text="This download is not there any more. Ask for it again in the page.")
        disposition = f"attachment; filename*=UTF-8''{quote(path.name)}"
        return web.FileResponse(path, headers={"Content-Disposition": disposition, "Cache-Control": "no-store"})


def _inside(folder: Path, name: str) -> Path:
    """The path of an uploaded file; folders of a DICOM tree stay. Raises ``ReadError`` for a name that leads out."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    safe = [part for part in parts if part not in {"", ".", "/"}]
    if not safe or ".." in safe or any("\0" in part or ":" in part or len(part) > 200 for part in safe):
        raise ReadError(f"'{name[:80]}' is no usable file name.", "Rename the file.")
    return folder.joinpath(*safe)


def _no_room(error: OSError, folder: Path) -> OutputError:
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    return OutputError(f"The file cannot be stored: {reason}.", f"Free some space on the disk of {folder}.")


def _megabytes(size: int) -> str:
    return f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{size / 2**20:.3g} MB"
