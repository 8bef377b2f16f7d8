"""A transport for tests: a real worker process, its pipes read by threads, callbacks on the test's own thread."""

from __future__ import annotations

import contextlib
import heapq
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class ThreadTransport:
    """Runs ``python -m VISTA3DLib.worker``; ``pump`` delivers what has arrived, as an event loop would."""

    def __init__(self, folder: Path, *, command: list[str] | None = None) -> None:
        self._command = command or [sys.executable, "-m", "VISTA3DLib.worker", str(folder)]
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self._calls: queue.Queue[Callable[[], None]] = queue.Queue()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0

    def start(self, received: Callable[[bytes], None], ended: Callable[[int | None], None]) -> None:
        self.started += 1
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environment,
            cwd="/",
        )
        self.process = process

        def read() -> None:
            assert process.stdout is not None
            while data := os.read(process.stdout.fileno(), 4096):
                self._calls.put(lambda data=data: received(data))  # type: ignore[misc]
            status = process.wait()
            self._calls.put(lambda: ended(status))

        threading.Thread(target=read, daemon=True).start()

    def send(self, data: bytes) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.write(data)
            self.process.stdin.flush()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, len(self._timers), function))

    def pump(self, until: Callable[[], bool], seconds: float = 600.0) -> None:
        """Deliver callbacks until a condition holds; fails the test when that takes too long."""
        limit = time.monotonic() + seconds
        while not until():
            if time.monotonic() > limit:
                raise AssertionError("the worker did not answer in time")
            with contextlib.suppress(queue.Empty):
                self._calls.get(timeout=0.02)()
            while self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()

    def end(self) -> None:
        """Make sure that nothing is left running."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
