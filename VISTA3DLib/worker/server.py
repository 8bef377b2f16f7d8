"""The worker's loop: one thread reads requests, the main thread answers them one after the other."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, BinaryIO

from VISTA3DLib import __version__
from VISTA3DLib.errors import VISTA3DError
from VISTA3DLib.progress import Cancel, Progress
from VISTA3DLib.protocol import LineBuffer, ProtocolError, Request, decode_request, encode, progress_values

_BUGS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, OSError)
_REPORT_SECONDS = 0.05  # between two progress messages; notes and the last one always go


class WorkerServer:
    """Answers requests from ``requests`` on ``replies``; arrays lie in ``folder``.

    ``cancel`` takes effect at once, also on a request that waits or runs. When the client goes away (end of input),
    the process ends, whatever it is doing.
    """

    def __init__(self, folder: Path, requests: BinaryIO, replies: BinaryIO) -> None:
        self._folder, self._requests, self._replies = folder, requests, replies
        self._queue: queue.Queue[Request | None] = queue.Queue()
        self._cancels: dict[int, Cancel] = {}
        self._lock = threading.Lock()

    def run(self) -> None:
        """Serve until the input ends or a ``shutdown`` comes."""
        self._send({"type": "ready", "pid": os.getpid(), "version": __version__})
        threading.Thread(target=self._read, name="requests", daemon=True).start()
        from VISTA3DLib.worker.operations import Operations

        operations = Operations(self._folder)
        while (request := self._queue.get()) is not None:
            self._answer(operations, request)

    def _read(self) -> None:
        lines = LineBuffer()
        while data := os.read(self._requests.fileno(), 65536):
            for line in lines.feed(data):
                self._accept(line)
        # Nobody listens any more. The main thread may be deep inside a library: do not wait for it.
        os._exit(0)

    def _accept(self, line: bytes) -> None:
        try:
            request = decode_request(line)
        except ProtocolError as error:
            self._send({"type": "log", "text": f"{error.message} {error.fix}"})
            return
        if request.op == "cancel":
            with self._lock:
                target = self._cancels.get(int(request.arguments.get("target", -1)))
            if target is not None:
                target.cancel()
        elif request.op == "shutdown":
            self._queue.put(None)
        else:
            with self._lock:
                self._cancels[request.id] = Cancel()
            self._queue.put(request)

    def _answer(self, operations: Any, request: Request) -> None:
        cancel = self._cancels[request.id]
        reporter = _Reporter(self, request.id)
        try:
            cancel.check()
            values = operations.perform(request.op, request.arguments, reporter, cancel)
            self._send({"type": "result", "id": request.id, "values": values})
        except VISTA3DError as error:
            self._fail(request.id, error.kind, error.message, error.fix)
        except MemoryError:
            fix = "Close other programs, use a region of interest, or a smaller precision."
            self._fail(request.id, "MemoryLimitError", "Memory ran out.", fix)
        except _BUGS as error:  # it must reach the person, and must not take the loaded model with it
            sys.stderr.write(traceback.format_exc())
            text = f"An unexpected error happened: {type(error).__name__}: {error}"
            self._fail(request.id, "InternalError", text, "Please report it with the log.")
        finally:
            with self._lock:
                del self._cancels[request.id]

    def _fail(self, number: int, kind: str, message: str, fix: str) -> None:
        self._send({"type": "error", "id": number, "kind": kind, "message": message, "fix": fix})

    def _send(self, message: dict[str, Any]) -> None:
        data = encode(message)
        with self._lock:
            try:
                while data:
                    data = data[self._replies.write(data) :]
            except OSError:  # the client is gone
                os._exit(0)

    def report(self, number: int, progress: Progress) -> None:
        """Send a progress message."""
        self._send({"type": "progress", "id": number, **progress_values(progress)})


class _Reporter:
    """Passes progress on, not more often than a person can see."""

    def __init__(self, server: WorkerServer, number: int) -> None:
        self._server, self._number, self._last = server, number, 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.note or progress.values or progress.done >= progress.total or now - self._last >= _REPORT_SECONDS:
            self._last = now
            self._server.report(self._number, progress)
