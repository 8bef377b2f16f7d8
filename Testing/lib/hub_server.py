"""A server on the loopback address that answers like the Hugging Face Hub, well or badly, as a test wishes."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import huggingface_hub
import huggingface_hub.utils
import pytest

REVISION = "0123456789abcdef0123456789abcdef01234567"
_LARGE = 10_000  # bytes from which the hub keeps a file in LFS, whose ETag is the SHA-256
_PORTAL = b"<!DOCTYPE html><html><body>Please log in to Hospital Guest WiFi</body></html>"


@dataclass(frozen=True)
class Seen:
    """A request that arrived."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class HubServer:
    """``files`` maps ``repo/name`` to content; everything below ``files`` is a way to misbehave."""

    revision: str
    files: dict[str, bytes] = field(default_factory=dict)
    status: int = 0  # answer everything with this
    error_code: str = ""  # the hub's X-Error-Code beside it
    portal: bool = False  # answer everything with a login page
    portal_on_get: bool = False  # ... but only once the file is asked for
    corrupt: bool = False  # send other bytes of the same number
    announced_size: int | None = None
    announced_commit: str = ""
    cut_after: int | None = None  # close the connection after so many bytes of an answer ...
    cuts: int = 1  # ... this many times
    ignore_range: bool = False
    pause: float = 0.0  # seconds between pieces of 64 KiB
    stall: bool = False  # send half of the file, then nothing
    xet: bool = False  # offer the newer transfer, which no loopback server can do
    cdn: bool = False  # redirect to another host for the content, as the hub does for large files
    seen: list[Seen] = field(default_factory=list)
    port: int = 0
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """What to use as HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.port}"

    def sha256(self, name: str) -> str:
        """Of the true content of ``repo/name``."""
        return hashlib.sha256(self.files[name]).hexdigest()

    def fetched(self) -> list[str]:
        """The paths of the GET requests."""
        return [request.path for request in self.seen if request.method == "GET"]


@contextmanager
def serving(hub: HubServer) -> Iterator[HubServer]:
    """Run ``hub`` until the block ends."""

    class Handler(_Handler):
        server_hub = hub

    server = _Server(("127.0.0.1", 0), Handler)
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away in the middle are what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server_hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Tests read ``seen`` instead."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub = self.server_hub
        hub.seen.append(Seen(self.command, self.path, dict(self.headers)))
        if hub.portal or (hub.portal_on_get and self.command == "GET"):
            self._send(200, {"Content-Type": "text/html"}, _PORTAL)
            return
        if hub.status:
            self._send(hub.status, {"X-Error-Code": hub.error_code} if hub.error_code else {}, b"no")
            return
        cdn = re.fullmatch(r"/cdn/(.+)", self.path)
        found = re.fullmatch(r"/(.+)/resolve/([^/]+)/(.+)", unquote(self.path))
        name = unquote(cdn[1]) if cdn else f"{found[1]}/{found[3]}" if found else ""
        if name not in hub.files or (found and not cdn and found[2] != hub.revision):
            self._send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": hub.revision}, b"Entry not found")
            return
        self._send_file(name, redirect=hub.cdn and not cdn)

    def _send_file(self, name: str, *, redirect: bool) -> None:
        hub, content = self.server_hub, self.server_hub.files[name]
        large = len(content) >= _LARGE
        git_hash = hashlib.sha1(content).hexdigest()
        etag = hub.sha256(name) if large else git_hash
        size = hub.announced_size if hub.announced_size is not None else len(content)
        headers = {"X-Repo-Commit": hub.announced_commit or hub.revision, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        if large:
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(size)}
        if large and hub.xet:
            headers |= {"X-Xet-Hash": "0" * 64, "X-Xet-Refresh-Route": f"{hub.url}/xet-token"}
        if redirect:
            self._send(302, {**headers, "Location": f"http://localhost:{hub.port}/cdn/{name}"}, b"")
            return
        if hub.corrupt and large:
            content = bytes(255 - b for b in content)
        content = content[:size].ljust(size, b"\0")
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and not hub.ignore_range:
            start = int(wanted[1])
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
            self._send(206, headers, content[start:])
            return
        self._send(200, headers, content)

    def _send(self, status: int, headers: dict[str, str], content: bytes) -> None:
        hub = self.server_hub
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        limit = len(content)
        if hub.cut_after is not None and hub.cuts > 0 and limit >= _LARGE:
            limit, hub.cuts = min(limit, hub.cut_after), hub.cuts - 1
        if hub.stall and limit >= _LARGE:
            limit //= 2
        try:
            for start in range(0, limit, 65536):
                self.wfile.write(content[start : min(start + 65536, limit)])
                time.sleep(hub.pause)
            self.wfile.flush()
        except OSError:  # the client went away, as a cancelled one does
            self.close_connection = True
        if hub.stall:
            hub.closing.wait(30)
        if limit < len(content):
            self.close_connection = True


def forget_the_person(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make a test independent of the settings of whoever runs it."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("HF_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("VISTA3D_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("VISTA3D_MODELS", str(tmp_path / "models"))
    fresh_session()


def fresh_session() -> None:
    """Have the client of the hub's library read the proxy settings again."""
    reset = getattr(huggingface_hub, "close_session", None) or huggingface_hub.utils.reset_sessions
    reset()


@contextmanager
def disk_of_one_mebibyte(place: Path) -> Iterator[Path]:
    """A small file system at ``place`` where mounting is allowed; else the test is skipped."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs root on Linux")
    place.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", str(place).encode(), b"tmpfs", 0, b"size=1m") != 0:
        pytest.skip(f"cannot mount: {os.strerror(ctypes.get_errno())}")
    try:
        yield place
    finally:
        libc.umount2(str(place).encode(), 2)
