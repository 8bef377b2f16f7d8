"""The client of the worker process: requests with handlers, cancelling, restarting. No torch, no I/O of its own.

A transport moves the bytes (QProcess in Slicer, asyncio in the viewer, threads in tests) and calls back on the thread
that owns the client. The client keeps what a fresh worker must be told (model and volume), so that a worker that dies
is replaced without the person losing anything but a moment.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from VISTA3DLib.errors import OutputError, ReadError
from VISTA3DLib.progress import Progress
from VISTA3DLib.protocol import (
    Advance,
    Event,
    EventReader,
    Failure,
    Garbage,
    Log,
    ProtocolError,
    Ready,
    Request,
    Result,
    encode_request,
    file_in,
)

CANCEL_SECONDS = 20.0  # a cancelled request that does not end in this time costs the worker its life
MOST_RESTARTS = 3  # within RESTART_SECONDS; then something is wrong that a restart does not cure
RESTART_SECONDS = 120.0


class Transport(Protocol):
    """Starts the worker and moves bytes. All methods return at once; calls come back on the client's thread."""

    def start(self, received: Callable[[bytes], None], ended: Callable[[int | None], None]) -> None:
        """Start a process; ``received`` gets what it writes, ``ended`` its exit status when it is gone."""

    def send(self, data: bytes) -> None:
        """Write to the process; does nothing when it is gone."""

    def kill(self) -> None:
        """End the process: ask, then force. ``ended`` is still called."""

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call a function once, later, on the client's thread."""


@dataclass(kw_only=True)
class Handlers:
    """What happens with the replies to a request; each is called at most once, but for ``progress``."""

    result: Callable[[Mapping[str, Any]], None]
    error: Callable[[Failure], None]
    progress: Callable[[Progress], None] = field(default=lambda _: None)


@dataclass(kw_only=True)
class _Pending:
    request: Request
    handlers: Handlers
    files: tuple[str, ...] = ()
    retries: int = 0
    cancelled: bool = False


class WorkerClient:
    """One worker, restarted when it dies. ``say`` gets single lines for the person, ``log`` everything for the log.

    ``folder`` is the session folder; it is the client's own and goes away with ``close``.
    """

    def __init__(
        self,
        transport: Transport,
        folder: Path,
        *,
        say: Callable[[str], None] = lambda _: None,
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._transport, self._folder, self._say, self._log = transport, folder, say, log
        self._reader = EventReader()
        self._pending: dict[int, _Pending] = {}
        self._state: dict[str, _Pending] = {}  # what a fresh worker is told first, by operation
        self._next, self._files = 1, 0
        self._running = self._closed = False
        self._ready = False  # the process that runs now has said so
        self._restarts: list[float] = []

    @property
    def busy(self) -> bool:
        """Whether any request is under way."""
        return any(not p.cancelled for p in self._pending.values())

    def submit(
        self, op: str, arguments: Mapping[str, Any], handlers: Handlers, *, arrays: Mapping[str, Any] | None = None
    ) -> int:
        """Ask the worker; returns the request's number. Starts the worker if there is none.

        ``arrays`` maps names used in ``arguments`` as ``"array"`` values to numpy arrays; they are written to the
        session folder and removed when the request is done. Raises ``OutputError`` if they cannot be written.
        """
        names = {key: self._write(array) for key, array in (arrays or {}).items()}
        request = Request(id=self._number(), op=op, arguments=_with_files(arguments, names))
        self._pending[request.id] = _Pending(request=request, handlers=handlers, files=tuple(names.values()))
        self._send(request)
        return request.id

    def set_state(
        self, op: str, arguments: Mapping[str, Any], handlers: Handlers, *, arrays: Mapping[str, Any] | None = None
    ) -> int:
        """Like ``submit``, for ``load_model`` and ``set_volume``: repeated to a worker that replaces this one.

        An older request of the same operation that is still under way is cancelled: its answer would be out of date.
        """
        self._drop_state(op)
        if op == "load_model":  # the volume belongs to a model's session: it follows when it is set again
            self._drop_state("set_volume")
        names = {key: self._write(array) for key, array in (arrays or {}).items()}
        request = Request(id=self._number(), op=op, arguments=_with_files(arguments, names))
        self._state[op] = _Pending(request=request, handlers=handlers, files=tuple(names.values()))
        self._pending[request.id] = _Pending(request=request, handlers=handlers)
        self._send(request)
        return request.id

    def cancel(self, number: int) -> None:
        """Forget a request: its replies are dropped. If the worker does not stop in time it is replaced."""
        pending = self._pending.get(number)
        if pending is None or pending.cancelled:
            return
        pending.cancelled = True
        self._transport.send(encode_request(Request(id=self._number(), op="cancel", arguments={"target": number})))
        self._transport.call_later(CANCEL_SECONDS, lambda: self._kill_if_stuck(number))

    def array(self, name: str) -> npt.NDArray[Any]:
        """Read an array of a reply, and remove its file. Raises ``ReadError``."""
        path = file_in(self._folder, name)
        try:
            loaded: npt.NDArray[Any] = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ReadError(f"The worker's answer {name} cannot be read: {error}.", "Try again.") from error
        self._remove((name,))
        return loaded

    def close(self) -> None:
        """End the worker and remove the session folder; no handler is called any more."""
        self._closed = True
        self._pending.clear()
        self._state.clear()
        if self._running:
            self._transport.send(encode_request(Request(id=self._number(), op="shutdown")))
            self._transport.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _send(self, request: Request) -> None:
        if not self._running:
            self._start()
        self._transport.send(encode_request(request))

    def _start(self) -> None:
        self._reader = EventReader()
        self._running, self._ready = True, False
        self._transport.start(self._received, self._ended)

    def _received(self, data: bytes) -> None:
        for event in self._reader.feed(data):
            if not self._closed:
                self._handle(event)

    def _handle(self, event: Event) -> None:
        if isinstance(event, Ready):
            self._ready = True
            self._log(f"Worker {event.pid}, VISTA3D {event.version}.")
        elif isinstance(event, Log):
            self._log(event.text)
        elif isinstance(event, Garbage):
            self._log(f"Not understood ({event.reason}): {event.text}")
        elif isinstance(event, Advance):
            pending = self._pending.get(event.id)
            if pending is not None and not pending.cancelled:
                pending.handlers.progress(event.progress)
        else:
            self._finish(event)

    def _finish(self, event: Result | Failure) -> None:
        pending = self._pending.pop(event.id, None)
        if pending is None:
            if isinstance(event, Result):
                self._remove(_files_of(event.values))
            return
        self._remove(pending.files)
        if isinstance(event, Failure):
            self._forget_state(pending.request)
        if pending.cancelled:
            if isinstance(event, Result):
                self._remove(_files_of(event.values))
        elif isinstance(event, Result):
            pending.handlers.result(event.values)
        else:
            pending.handlers.error(event)

    def _drop_state(self, op: str) -> None:
        """Forget what a fresh worker would be told, and the request for it if it is still under way."""
        old = self._state.pop(op, None)
        if old is not None:
            self.cancel(old.request.id)
            self._remove(old.files)

    def _forget_state(self, request: Request) -> None:
        """A model or volume that failed must not be repeated to the next worker."""
        state = self._state.get(request.op)
        if state is not None and state.request.id == request.id:
            del self._state[request.op]
            self._remove(state.files)

    def _ended(self, status: int | None) -> None:
        self._running = False
        if self._closed:
            return
        self._log(f"The worker ended with status {status}.")
        waiting = [p for p in self._pending.values() if not p.cancelled]
        for dropped in [p for p in self._pending.values() if p.cancelled]:
            self._remove(dropped.files)
        self._pending.clear()
        if self._too_many_restarts():
            self._give_up(waiting, status)
            return
        again = [p for p in waiting if not p.retries]  # what killed the worker twice is not tried a third time
        for lost in [p for p in waiting if p.retries]:
            self._remove(lost.files)
            lost.handlers.error(self._lost(lost.request, status))
        if again or self._state:
            self._say("The segmentation process stopped and is being started again; nothing is lost.")
            self._restart(again)

    def _restart(self, waiting: list[_Pending]) -> None:
        self._start()
        for op in ("load_model", "set_volume"):
            if op in self._state:
                self._repeat_state(op, waiting)
        for pending in waiting:
            if pending.request.id not in self._pending:
                pending.retries += 1
                self._pending[pending.request.id] = pending
                self._transport.send(encode_request(pending.request))

    def _repeat_state(self, op: str, waiting: list[_Pending]) -> None:
        """Tell the fresh worker; only a request that was still open hears the reply."""
        state = self._state[op]
        open_request = next((p for p in waiting if p.request.id == state.request.id), None)
        silent = Handlers(result=lambda _: None, error=lambda failure: self._say(f"{failure.message} {failure.fix}"))
        handlers = open_request.handlers if open_request is not None else silent
        self._pending[state.request.id] = _Pending(request=state.request, handlers=handlers)
        self._transport.send(encode_request(state.request))

    def _too_many_restarts(self) -> bool:
        now = time.monotonic()
        self._restarts = [t for t in self._restarts if now - t < RESTART_SECONDS] + [now]
        return len(self._restarts) > MOST_RESTARTS

    def _give_up(self, waiting: list[_Pending], status: int | None) -> None:
        for state in self._state.values():
            self._remove(state.files)
        self._state.clear()
        for pending in waiting:
            self._remove(pending.files)
            pending.handlers.error(self._lost(pending.request, status))

    def _lost(self, request: Request, status: int | None) -> Failure:
        if not self._ready:
            message = f"The segmentation process cannot be started (status {status})."
            fix = "The log has its last words. Most often packages are missing in the Python that is set up for it."
        else:
            message = f"The segmentation process ended twice while it worked on '{request.op}' (status {status})."
            fix = "Most often memory ran out: close other programs, use a region of interest, or another device."
        return Failure(id=request.id, kind="WorkerDied", message=message, fix=fix)

    def _kill_if_stuck(self, number: int) -> None:
        if number in self._pending and self._running and not self._closed:
            self._log(f"Request {number} did not stop; the worker is replaced.")
            self._transport.kill()

    def _write(self, array: npt.NDArray[Any]) -> str:
        self._files += 1
        name = f"request_{self._files}.npy"
        path = file_in(self._folder, name)
        try:
            np.save(path, array)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise OutputError(
                f"The image cannot be handed to the segmentation process: {error.strerror or error}.",
                f"Free some space on the disk of {self._folder}.",
            ) from error
        return name

    def _remove(self, names: tuple[str, ...]) -> None:
        for name in names:
            try:
                file_in(self._folder, name).unlink(missing_ok=True)
            except (OSError, ProtocolError):  # a mapped file on Windows: it goes with the folder
                self._log(f"{name} stays until the session ends.")

    def _number(self) -> int:
        self._next += 1
        return self._next - 1


def _with_files(arguments: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Replace ``{"array": key}`` values by file names, one level deep."""
    values = dict(arguments)
    for key, value in values.items():
        if key == "array" and value in names:
            values[key] = names[value]
        elif isinstance(value, Mapping) and value.get("array") in names:
            values[key] = {**value, "array": names[value["array"]]}
    return values


def _files_of(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Every array file that a result names."""
    found = [values[k] for k in ("array", "labelmap") if isinstance(values.get(k), str)]
    masks = values.get("masks")
    if isinstance(masks, Mapping):
        found += [m["array"] for m in masks.values() if isinstance(m.get("array"), str)]
    return tuple(found)
