"""One file from a model hub into the hub's cache, watched: progress, a prompt cancel, errors a person can act on.

``huggingface_hub`` (0.34 to 2.x) does the work and is imported only when something is fetched or looked up.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import importlib
import inspect
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from VISTA3DLib.errors import CancelledError, DownloadError, VISTA3DError
from VISTA3DLib.progress import Cancel, Progress, ProgressCallback
from VISTA3DLib.weights import Origin

DEFAULT_ENDPOINT = "https://huggingface.co"
SHA256 = re.compile(r"[0-9a-f]{64}")
OFFLINE = (
    "Without a network: fetch the file on another machine and give its path instead of the id, or put it into the "
    "models folder under the name of the id. A mirror is set with HF_ENDPOINT, a proxy with HTTPS_PROXY."
)
OTHER_MIRROR = f"Use another mirror (HF_ENDPOINT), or none. {OFFLINE}"
_TICK = 0.1  # seconds between two looks at the cancel flag
_REPORT_SPAN = 1.0  # seconds after which a transfer that stands still is reported again
_SPEED_SPAN = 5.0  # seconds over which the speed is averaged
_GRACE = 2.0  # seconds that a cancelled transfer has to clean up while the person waits
_TIMEOUT = 10.0  # seconds for the first answer
_PIECE = 256 * 1024  # bytes after which a transfer looks whether it is still wanted
_WRONG_SIZE = "Consistency check failed"  # the only mark of the hub's error for it
_T = TypeVar("_T")


class Meter:
    """What the transfer's thread has done, for the caller's thread to read, and the way to stop it."""

    def __init__(self, note: str = "") -> None:
        self.state = ("download", 0, 0)  # stage, bytes done, bytes in all; replaced as a whole, so never torn
        self.note = note
        self.stop = threading.Event()

    def set(self, stage: str, done: int, total: int) -> None:
        """Say how far the work is. Raises ``CancelledError`` in the transfer's thread once nobody waits for it."""
        if self.stop.is_set():
            raise CancelledError
        self.state = (stage, done, total)


# Of the transfer that runs in this thread; none in a thread of somebody else.
_METER: ContextVar[Meter | None] = ContextVar("_METER", default=None)


class _Bar:
    """What ``huggingface_hub`` takes for a progress bar: it feeds the meter of the thread."""

    def __init__(self, *_: Any, total: int | None = None, initial: int = 0, **__: Any) -> None:
        self._meter = _METER.get() or Meter()
        self.n, self.total = initial, total or self._meter.state[2]
        self._meter.set("download", self.n, self.total)

    def update(self, count: float | None = 1) -> None:
        self.n += int(count or 0)
        self._meter.set("download", self.n, self.total)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None: ...

    def refresh(self, *_: Any, **__: Any) -> None: ...

    def set_postfix_str(self, *_: Any, **__: Any) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What a server announces about a file: its bytes (None when it does not say) and its ETag."""

    size: int | None
    etag: str

    @property
    def sha256(self) -> str | None:
        """The ETag of a large file is the SHA-256 of its content; that of a small one is git's hash."""
        return self.etag if SHA256.fullmatch(self.etag) else None


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file at an endpoint, and the cache it goes to."""

    origin: Origin
    endpoint: str
    cache_dir: Path
    token: str | None = None

    @classmethod
    def of(
        cls, origin: Origin, cache_dir: Path | None = None, endpoint: str | None = None, token: str | None = None
    ) -> Source:
        """With HF_ENDPOINT and the hub's own cache where None is given. ``DownloadError`` for a malformed endpoint."""
        address = (endpoint or os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).strip().rstrip("/")
        if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", address):
            raise DownloadError(f"The endpoint '{address}' is no web address.", f"Give one such as {DEFAULT_ENDPOINT}.")
        folder = cache_dir or Path(_hub("constants").HF_HUB_CACHE)
        return cls(origin=origin, endpoint=address, cache_dir=folder, token=token)

    def cached(self) -> Path | None:
        """The file in the cache, if it is there; no network."""
        o = self.origin
        with self.explaining_errors():
            found = _hub().try_to_load_from_cache(o.repo, o.filename, cache_dir=self.cache_dir, revision=o.revision)
        return Path(found) if isinstance(found, str) else None

    def promised(self, meter: Meter) -> Promise:
        """Ask the server about the file; ``DownloadError`` when it has another version of it, or is no hub."""
        meter.set(*meter.state)
        hub, origin = _hub(), self.origin
        url = hub.hf_hub_url(origin.repo, origin.filename, revision=origin.revision, endpoint=self.endpoint)
        with self.explaining_errors():
            answer = hub.get_hf_file_metadata(url, token=self.token, timeout=_TIMEOUT)
        if answer.commit_hash is None or answer.etag is None:
            raise self._no_hub()
        if answer.commit_hash != origin.revision:
            raise DownloadError(
                f"{self.endpoint} offers commit {answer.commit_hash} of {origin.repo} instead of {origin.revision}.",
                OTHER_MIRROR,
            )
        return Promise(size=answer.size, etag=answer.etag)

    def fetch(self, promise: Promise, meter: Meter) -> Path:
        """Transfer the file into the cache; ``CancelledError`` soon after ``meter.stop`` is set."""
        hub, origin = _hub(), self.origin
        _METER.set(meter)
        with _PLAIN_TRANSFERS, self.explaining_errors(promise):
            path = hub.hf_hub_download(
                origin.repo,
                origin.filename,
                revision=origin.revision,
                cache_dir=self.cache_dir,
                endpoint=self.endpoint,
                token=self.token,
                **({"tqdm_class": _Bar} if _takes_bar() else {}),
            )
        return Path(path)

    def discard(self, path: Path) -> None:
        """Remove the cache's link ``path`` and what it points to, link by link (a cache may share its blobs)."""
        with self.explaining_errors():
            chain = [path]
            while chain[-1].is_symlink():
                chain.append(chain[-1].parent / chain[-1].readlink())
            for link in chain:
                link.unlink(missing_ok=True)

    def explained(self, error: BaseException) -> DownloadError:
        """What went wrong, for a person, and what to do."""
        if type(error).__name__ == "LocalEntryNotFoundError" and error.__cause__ is not None:
            error = error.__cause__  # the hub hides why it could not ask
        kinds = {kind.__name__ for kind in type(error).__mro__}
        text = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        status = getattr(getattr(error, "response", None), "status_code", None)
        host, page = urlsplit(self.endpoint).netloc, self.origin.page
        number = error.errno if isinstance(error, OSError) else None
        if number in {errno.ENOSPC, errno.EDQUOT}:
            return self.full_disk(str(error))
        if number in {errno.EACCES, errno.EPERM, errno.EROFS}:
            return DownloadError(f"The cache cannot be written: {error}.", "Choose another folder with HF_HOME.")
        if "OfflineModeIsEnabled" in kinds:
            return DownloadError("HF_HUB_OFFLINE forbids downloads.", f"Unset it. {OFFLINE}")
        if status == 407 or "ProxyError" in kinds:
            return DownloadError(
                f"The proxy on the way to {host} refused: {text}", f"Check HTTPS_PROXY and NO_PROXY. {OFFLINE}"
            )
        if status in {401, 403} or "GatedRepoError" in kinds:
            return DownloadError(
                f"{host} refuses access to {self.origin.repo} (status {status}).",
                f"Accept the terms at {page} when it asks for that, and set HF_TOKEN to a token of your account. "
                f"{OFFLINE}",
            )
        if status == 404:
            return DownloadError(
                f"{host} has no {self.origin.filename} in {self.origin.repo} at {self.origin.revision}.", OTHER_MIRROR
            )
        if status is not None:
            return DownloadError(f"{host} answers with status {status}.", f"Try again in some minutes. {OFFLINE}")
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return DownloadError(
                f"The certificate of {host} is not trusted: {text}",
                f"Give the certificate of your institution's proxy with SSL_CERT_FILE. {OFFLINE}",
            )
        if "FileMetadataError" in kinds:
            return self._no_hub()
        if _WRONG_SIZE in text:
            return DownloadError(f"{host} sent another number of bytes: {text}", f"Try again. {OFFLINE}")
        return DownloadError(f"{host} could not be reached: {text}", f"Check the network and try again. {OFFLINE}")

    def full_disk(self, how: str) -> DownloadError:
        """The error for a cache on a disk that is full."""
        return DownloadError(
            f"The disk of the cache {self.cache_dir} is full: {how}.",
            "Free some space, or choose another place with HF_HOME.",
        )

    def _no_hub(self) -> DownloadError:
        return DownloadError(
            f"What answers at {self.endpoint} is no model hub.",
            f"Open any web page first: the network may want a log-in, or a firewall answers instead. {OFFLINE}",
        )

    @contextlib.contextmanager
    def explaining_errors(self, promise: Promise | None = None) -> Iterator[None]:
        """Turn errors of the hub's library and of the file system into ``DownloadError``."""
        errors = _hub("errors")
        try:
            yield
        # The bases of the hub's own error are its HTTP client's, whichever client that is (requests, httpx, httpx2).
        except (OSError, errors.EntryNotFoundError, *errors.HfHubHTTPError.__bases__) as error:
            if promise is not None and _WRONG_SIZE in str(error):
                self._drop_part(promise)
            raise self.explained(error) from error

    def _drop_part(self, promise: Promise) -> None:
        """Versions before 1.2 go on with a part that is left, even where a server without ranges made it too long."""
        folder = self.cache_dir / f"models--{self.origin.repo.replace('/', '--')}" / "blobs"
        (folder / f"{promise.etag}.incomplete").unlink(missing_ok=True)


def watched(work: Callable[[], _T], meter: Meter, progress: ProgressCallback, cancel: Cancel) -> _T:
    """Run ``work`` in a thread; report, and look at the cancel flag, from this one.

    A stalled connection blocks for many seconds, the caller must not. A transfer that is left behind stops at its next
    piece and removes what it wrote.
    """
    cancel.check()
    outcome: concurrent.futures.Future[_T] = concurrent.futures.Future()

    def target() -> None:
        try:
            outcome.set_result(work())
        except VISTA3DError as error:
            outcome.set_exception(error)
        finally:
            if not outcome.done():  # a fault of this program; the thread prints it
                outcome.set_exception(DownloadError("The download failed unexpectedly.", "See the log for the reason."))

    thread = threading.Thread(target=target, name="vista3d-download", daemon=True)
    reporter = _Reporter(progress)
    thread.start()
    try:
        while not concurrent.futures.wait([outcome], timeout=_TICK).done:
            cancel.check()
            reporter.report(meter)
        result = outcome.result()
        reporter.report(meter)
        return result
    finally:
        meter.stop.set()
        thread.join(_GRACE)


class _Reporter:
    """Turns the meter's bytes into progress with speed and time left."""

    def __init__(self, callback: ProgressCallback) -> None:
        self._callback = callback
        self._last = ("", 0, 0)
        self._samples: deque[tuple[float, int]] = deque()

    def report(self, meter: Meter) -> None:
        """Report what is new, or that nothing is."""
        (stage, done, total), now = meter.state, time.monotonic()
        if self._last == meter.state and now - self._samples[-1][0] < _REPORT_SPAN:
            return
        if stage != self._last[0]:
            self._samples.clear()
        self._last = (stage, done, total)
        self._samples.append((now, done))
        while now - self._samples[0][0] > _SPEED_SPAN:
            self._samples.popleft()
        then, before = self._samples[0]
        speed = (done - before) / (now - then) if now > then else 0.0
        left = (total - done) / speed if speed > 0 and total else None
        note, meter.note = meter.note or (f"{speed / 1e6:.1f} MB/s" if now > then else ""), ""
        self._callback(Progress(stage=stage, done=done, total=total, seconds_left=left, note=note))


class _PlainTransfers:
    """Has the hub's library use HTTP in small pieces while at least one transfer runs; then all is as it was.

    Its newer ways (Xet, hf_transfer) ignore progress bars that raise, and so a cancel; they also leave HF_ENDPOINT and
    the proxy for other hosts, which hospitals block. Pieces of its usual 10 MB would make a cancel wait on a slow line.
    None of this is an argument of ``hf_hub_download``, and before 1.2 neither is the progress bar.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._before: list[tuple[Any, str, object]] = []

    def __enter__(self) -> None:
        constants = _hub("constants")
        changes: list[tuple[Any, str, object]] = [
            (constants, "HF_HUB_DISABLE_XET", True),
            (constants, "HF_HUB_ENABLE_HF_TRANSFER", False),
            (constants, "DOWNLOAD_CHUNK_SIZE", _PIECE),
        ]
        if not _takes_bar():
            changes.append((_hub("utils.tqdm"), "tqdm", _Bar))
        with self._lock:
            self._running += 1
            if self._running > 1:
                return
            for place, name, value in changes:
                if hasattr(place, name):  # each version has its own
                    self._before.append((place, name, getattr(place, name)))
                    setattr(place, name, value)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._running -= 1
            while self._before and not self._running:
                place, name, value = self._before.pop()
                setattr(place, name, value)


_PLAIN_TRANSFERS = _PlainTransfers()


def _takes_bar() -> bool:
    return "tqdm_class" in inspect.signature(_hub().hf_hub_download).parameters


def _hub(part: str = "") -> Any:
    try:
        return importlib.import_module(f"huggingface_hub.{part}" if part else "huggingface_hub")
    except ImportError as error:
        raise DownloadError(
            f"Downloads need the package huggingface_hub ({error}).", "Run: pip install 'vista3d-slicer[engine]'"
        ) from error
