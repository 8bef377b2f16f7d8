"""How the viewer is started: what to open, with which model, and who may reach it."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from VISTA3DLib.errors import ReadError, SettingsError
from VISTA3DLib.samples import check_source
from VISTA3DLib.weights import find_weights

DEFAULT_PORT = 8765
LOOPBACK = "127.0.0.1"
UPLOAD_LIMIT = 4 * 2**30  # bytes of one CT, with all of its files


@dataclass(frozen=True, kw_only=True)
class ViewerOptions:
    """The options of ``vista3d view``, checked before anything heavy is loaded.

    ``path``: a CT, a DICOM folder or a scene (None: ``sample``, or an empty page). ``port``: 0 takes a free one, None
    the usual one or, if that is taken, a free one. ``origins``: addresses at which a reverse proxy shows the viewer
    (``https://gpu.example.org``, with the path if there is one). ``token``: what the URL must hold; made up when one is
    needed and none is given. ``upload_limit``: bytes.
    """

    path: Path | None = None
    sample: str | None = None
    series: str | None = None
    weights: str = "vista3d-mini"
    device: str = "auto"
    precision: str = "auto"
    host: str = LOOPBACK
    port: int | None = None
    open_page: bool = True
    origins: tuple[str, ...] = ()
    token: str = ""
    upload_limit: int = UPLOAD_LIMIT
    needs_token: bool = field(init=False)
    public: str = field(init=False, default="")  # the first of the addresses at which a proxy shows the viewer

    def __post_init__(self) -> None:
        check_source(self.path, self.sample, example="vista3d view ct.nii.gz", needed=False)
        if self.path is not None and not self.path.exists():
            raise ReadError(f"{self.path} does not exist.", "Check the path.")
        find_weights(self.weights)
        if self.port is not None and not 0 <= self.port <= 65535:
            raise SettingsError(f"{self.port} is no port.", "Give a number from 1024 to 65535, or 0 for any.")
        if self.upload_limit < 1:
            raise SettingsError(f"The upload limit is {self.upload_limit} bytes.", "Give at least 1 MB.")
        object.__setattr__(self, "public", self.origins[0].rstrip("/") if self.origins else "")
        object.__setattr__(self, "origins", tuple(_checked_origin(text) for text in self.origins))
        object.__setattr__(self, "needs_token", not is_loopback(self.host) or bool(self.origins or self.token))
        if self.needs_token and not self.token:
            object.__setattr__(self, "token", secrets.token_urlsafe(24))


def is_loopback(host: str) -> bool:
    """Whether an address to bind to is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _checked_origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
        raise SettingsError(f"'{text}' is no origin.", "Write it as in the address bar: https://gpu.example.org")
    return f"{parts.scheme}://{parts.netloc}".lower()
