"""Getting weights: the licence first, then the transfer, then the check of what arrived."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from VISTA3DLib.consents import accept, is_accepted
from VISTA3DLib.errors import CancelledError, DownloadError, LicenceError, OutputError
from VISTA3DLib.progress import Cancel, ProgressCallback, ignore_progress
from VISTA3DLib.transfer import DEFAULT_ENDPOINT, OTHER_MIRROR, SHA256, Meter, Source, watched
from VISTA3DLib.weights import WeightsEntry

_READ_PIECE = 4 * 2**20  # bytes
_LONGEST_TEXT = 200_000  # characters of a licence text


def download(
    entry: WeightsEntry,
    *,
    accept_licence: bool,
    cache_dir: Path | None = None,
    endpoint: str | None = None,
    progress: ProgressCallback | None = None,
    cancel: Cancel | None = None,
    token: str | None = None,
) -> Path:
    """Fetch the file of ``entry`` into the hub's cache, unless it is there, and check it. Returns its path.

    ``accept_licence`` accepts the licence and remembers that; once accepted, False will do. ``cache_dir``: None is the
    hub's own. ``endpoint``: a mirror; None is HF_ENDPOINT or the hub. ``progress`` counts bytes (stages ``download``
    and ``verify``) and is called in this thread. A file in the cache is checked again, without a network. Raises
    ``LicenceError`` (then no request was made), ``DownloadError`` or ``CancelledError``; nothing unchecked remains.
    """
    if entry.origin is None:
        if entry.path is not None and entry.path.is_file():
            return entry.path
        raise DownloadError(f"{entry.title} is no download, and {entry.path} is missing.", "Restore that file.")
    meter = Meter(_settle_licence(entry, accept_licence))
    meter.set("download", 0, entry.size or 0)
    source = Source.of(entry.origin, cache_dir, endpoint, token)
    return watched(lambda: _obtain(entry, source, meter), meter, progress or ignore_progress, cancel or Cancel())


def licence_text(
    entry: WeightsEntry,
    *,
    cache_dir: Path | None = None,
    endpoint: str | None = None,
    cancel: Cancel | None = None,
    token: str | None = None,
) -> str:
    """What to show before a person accepts: name, summary, link, then the repository's own texts if it is reachable.

    The texts (model card, LICENSE) stay in the cache beside the weights. Without a network the answer says where to
    read them. Raises ``CancelledError``.
    """
    parts = [f"{entry.title}: {entry.licence.name}", entry.licence.summary, entry.licence.url]
    origins = [replace(entry.origin, filename=name) for name in entry.licence.files] if entry.origin else []
    for origin in origins:
        try:
            text = _small_text(Source.of(origin, cache_dir, endpoint, token), cancel or Cancel())
        except DownloadError as error:
            parts.append(f"{origin.filename} could not be fetched: {error.message} Read it at {origin.page}.")
            break
        parts.append(f"--- {origin.filename} of {origin.repo} ---\n{text}")
    return "\n\n".join(part for part in parts if part)


def is_downloaded(entry: WeightsEntry, cache_dir: Path | None = None) -> bool:
    """Whether the file is on this machine with its full size; quick, and without a network."""
    return cached_path(entry, cache_dir) is not None


def cached_path(entry: WeightsEntry, cache_dir: Path | None = None) -> Path | None:
    """Where the file lies; None when it is not on this machine or its size is wrong. Never uses a network."""
    path = entry.path
    if entry.origin is not None:
        path = Source.of(entry.origin, cache_dir, DEFAULT_ENDPOINT).cached()
    if path is None or not path.is_file() or (entry.size is not None and path.stat().st_size != entry.size):
        return None
    return path


def expected_sha256(entry: WeightsEntry, path: Path) -> str | None:
    """The SHA-256 that the file must have: the published one, else the one the hub announced when it was fetched."""
    if entry.sha256 is not None:
        return entry.sha256
    # The cache names a large file after the SHA-256 of its content and puts a link to it into the snapshot. Only the
    # first link counts: a store that several repositories share has names of another kind.
    blob = path.readlink() if path.is_symlink() else path
    return blob.name if blob.parent.name == "blobs" and SHA256.fullmatch(blob.name) else None


def sha256_of(path: Path, report: Callable[[int], None] | None = None) -> str:
    """SHA-256 of a file in hexadecimal; ``report`` gets the bytes read so far and may raise to stop."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_READ_PIECE):
            digest.update(piece)
            if report is not None:
                report(file.tell())
    return digest.hexdigest()


def _settle_licence(entry: WeightsEntry, accept_licence: bool) -> str:
    """Raise ``LicenceError`` unless accepted; returns a note for the person, mostly empty."""
    if is_accepted(entry):
        return ""
    licence = entry.licence
    if not accept_licence:
        raise LicenceError(
            f"The licence of {entry.title} has not been accepted: {licence.name}. {licence.summary}",
            f"Read it at {licence.url}, then run: vista3d weights download {entry.id} --accept-license",
        )
    try:
        accept(entry)
    except OutputError as error:  # a read-only home must not stand in the way; the person is asked again next time
        return f"The acceptance could not be remembered: {error.message}"
    return ""


def _obtain(entry: WeightsEntry, source: Source, meter: Meter) -> Path:
    """In the transfer's thread: from the cache, else from the network; checked either way, or removed."""
    path = source.cached()
    if path is not None:
        try:
            return _checked(path, entry.size, expected_sha256(entry, path), source, meter)
        except DownloadError as error:
            meter.note = f"The copy in the cache is of no use and is fetched again: {error.message}"
            source.discard(path)
    promise = source.promised(meter)
    if entry.size is not None and promise.size is not None and promise.size != entry.size:
        raise DownloadError(
            f"{source.endpoint} offers {promise.size} bytes instead of {entry.size} for {entry.id}.", OTHER_MIRROR
        )
    if entry.sha256 and promise.sha256 and promise.sha256 != entry.sha256:
        raise DownloadError(
            f"{source.endpoint} offers other weights for {entry.id}: SHA-256 {promise.sha256} instead of "
            f"{entry.sha256}.",
            OTHER_MIRROR,
        )
    size = promise.size if entry.size is None else entry.size
    _check_space(source, size or 0)
    meter.set("download", 0, size or 0)
    path = source.fetch(promise, meter)
    try:
        return _checked(path, size, entry.sha256 or promise.sha256, source, meter)
    except (DownloadError, CancelledError):
        source.discard(path)
        raise


def _checked(path: Path, size: int | None, sha256: str | None, source: Source, meter: Meter) -> Path:
    with source.explaining_errors():
        actual = path.stat().st_size
        if size is not None and actual != size:
            raise DownloadError(f"{path} has {actual} bytes instead of {size}; it was removed.", "Download it again.")
        found = sha256 and sha256_of(path, lambda done: meter.set("verify", done, actual))
    if found != sha256:
        raise DownloadError(
            f"{path} is damaged: its SHA-256 is {found} instead of {sha256}; it was removed.",
            "Download it again. If that does not help, something on the way (proxy, virus scanner, mirror) changes it.",
        )
    return path


def _check_space(source: Source, needed: int) -> None:
    folder = source.cache_dir.absolute()
    existing = next((place for place in (folder, *folder.parents) if place.is_dir()), folder)
    with source.explaining_errors():
        free = shutil.disk_usage(existing).free
    if free < needed:
        raise source.full_disk(f"{needed / 1e6:.1f} MB are needed, {free / 1e6:.1f} MB are free")


def _small_text(source: Source, cancel: Cancel) -> str:
    meter = Meter()

    def work() -> str:
        path = source.cached()
        if path is None:
            path = source.fetch(source.promised(meter), meter)
        return path.read_text(encoding="utf-8", errors="replace")[:_LONGEST_TEXT]

    return watched(work, meter, ignore_progress, cancel)
