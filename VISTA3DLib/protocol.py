"""What a client and the worker say to each other: one JSON object a line, arrays beside it as ``.npy`` files.

Sans I/O: bytes in, events out. The same code serves QProcess in Slicer, asyncio in the viewer, and tests.

A request is ``{"v": 1, "id": 7, "op": "segment_points", ...}``. Replies carry the request's id and a type: ``progress``
any number of times, then one ``result`` or one ``error`` (``kind``, ``message``, ``fix``). ``ready`` (once, at the
start) and ``log`` have no id. Arrays are named by file name inside the session folder; names with folders are refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from VISTA3DLib.errors import VISTA3DError
from VISTA3DLib.progress import Progress

VERSION = 1
LONGEST_LINE = 16 * 2**20  # bytes; arrays travel as files, so a longer line is rubbish


class ProtocolError(VISTA3DError):
    """The other side said something that is not of this protocol."""


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The worker is there: its process id and the library's version."""

    pid: int
    version: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """The answer to a request."""

    id: int
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A request failed; ``kind`` is the name of the library's error class."""

    id: int
    kind: str
    message: str
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class Advance:
    """A request goes on."""

    id: int
    progress: Progress


@dataclass(frozen=True, kw_only=True)
class Log:
    """A line for the log."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """A line that could not be understood, as it came (shortened), and why."""

    text: str
    reason: str


Event = Ready | Result | Failure | Advance | Log | Garbage


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the worker is asked: an operation and its arguments (JSON values; arrays as file names)."""

    id: int
    op: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def encode(message: Mapping[str, Any]) -> bytes:
    """One line. NaN and infinity are refused: they are no JSON."""
    text = json.dumps({"v": VERSION, **message}, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.encode("ascii") + b"\n"


def encode_request(request: Request) -> bytes:
    """A request as a line. Raises ``ProtocolError`` for arguments that are no JSON values."""
    try:
        return encode({"id": request.id, "op": request.op, "args": dict(request.arguments)})
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"The request '{request.op}' cannot be sent: {error}.", "Send plain values.") from error


def decode_request(line: bytes) -> Request:
    """Read a request line; raises ``ProtocolError`` for anything else."""
    message = _message(line)
    number, op, arguments = message.get("id"), message.get("op"), message.get("args", {})
    if not _is_id(number) or not isinstance(op, str) or not isinstance(arguments, dict):
        raise ProtocolError(f"This is no request: {_shown(line)}.", "Send id, op and args.")
    return Request(id=number, op=op, arguments=arguments)


class LineBuffer:
    """Cuts a stream of bytes into lines, however they are chopped up."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now, without their ends; empty ones are left out.

        A line without an end in sight is thrown away when it is longer than ``LONGEST_LINE``.
        """
        self._rest += data
        *lines, rest = self._rest.split(b"\n")
        self._rest = rest if len(rest) <= LONGEST_LINE else bytearray()
        return [bytes(line) for line in lines if line.strip()]


class EventReader:
    """Turns what a worker writes into events; never raises, rubbish becomes ``Garbage``."""

    def __init__(self) -> None:
        self._lines = LineBuffer()

    def feed(self, data: bytes) -> list[Event]:
        """The events that are complete now, in order."""
        return [decode_event(line) for line in self._lines.feed(data)]


def decode_event(line: bytes) -> Event:
    """One line of a worker."""
    try:
        return _event(_message(line))
    except ProtocolError as error:
        return Garbage(text=_shown(line), reason=error.message)
    except (KeyError, TypeError, ValueError) as error:
        return Garbage(text=_shown(line), reason=f"incomplete: {error!r}")


def file_in(folder: Path, name: Any) -> Path:
    """The path of an array file in the session folder; raises ``ProtocolError`` for a name that leaves it."""
    if not isinstance(name, str) or not name or Path(name).name != name or name in {".", ".."} or "\\" in name:
        raise ProtocolError(f"{name!r} is no name of a file in the session folder.", "Send plain file names.")
    return folder / name


def progress_values(progress: Progress) -> dict[str, Any]:
    """A progress report as JSON values."""
    return {
        "stage": progress.stage,
        "done": progress.done,
        "total": progress.total,
        "seconds_left": progress.seconds_left,
        "note": progress.note,
        **({"values": dict(progress.values)} if progress.values else {}),
    }


def _event(message: Mapping[str, Any]) -> Event:
    kind = message["type"]
    if kind == "ready":
        return Ready(pid=int(message["pid"]), version=str(message["version"]))
    if kind == "log":
        return Log(text=str(message["text"]))
    if not _is_id(message["id"]):
        raise ValueError(f"id {message['id']!r}")
    number = message["id"]
    if kind == "result":
        return Result(id=number, values=dict(message["values"]))
    if kind == "error":
        return Failure(
            id=number, kind=str(message["kind"]), message=str(message["message"]), fix=str(message.get("fix", ""))
        )
    if kind == "progress":
        left = message.get("seconds_left")
        return Advance(
            id=number,
            progress=Progress(
                stage=str(message["stage"]),
                done=int(message["done"]),
                total=int(message["total"]),
                seconds_left=None if left is None else float(left),
                note=str(message.get("note", "")),
                values={str(k): float(v) for k, v in dict(message.get("values", {})).items()},
            ),
        )
    raise ValueError(f"type {kind!r}")


def _message(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line.decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ProtocolError(f"This is no JSON: {_shown(line)}.", "One JSON object a line.") from error
    if not isinstance(message, dict):
        raise ProtocolError(f"This is no object: {_shown(line)}.", "One JSON object a line.")
    if message.get("v") != VERSION:
        raise ProtocolError(
            f"This is version {message.get('v')!r} of the protocol, not {VERSION}.",
            "Use the same version of VISTA3D on both sides.",
        )
    return message


def _is_id(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _shown(line: bytes) -> str:
    text = line.decode("utf-8", errors="replace")
    return text if len(text) <= 120 else f"{text[:117]}..."
