"""The worker process on an asyncio loop: the transport that ``VISTA3DLib.client`` asks for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import VISTA3DLib

KILL_SECONDS = 3.0  # between asking the process to end and forcing it
_PIECE = 65536


class AsyncioTransport:
    """Runs ``python -m VISTA3DLib.worker FOLDER`` (or ``command``) on the running loop; calls back on that loop.

    ``log`` gets the lines that the process writes to its standard error.
    """

    def __init__(
        self, folder: Path, *, command: Sequence[str] | None = None, log: Callable[[str], None] = lambda _: None
    ) -> None:
        self._command = list(command or (sys.executable, "-m", "VISTA3DLib.worker", str(folder)))
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._unsent = bytearray()  # what was sent before the process was there
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()

    @property
    def pid(self) -> int | None:
        """Process id of the worker that runs now."""
        return self._process.pid if self._process is not None else None

    def start(self, received: Callable[[bytes], None], ended: Callable[[int | None], None]) -> None:
        """Start a process; ``received`` gets what it writes, ``ended`` its exit status (None: it never started)."""
        self._spawn(self._run(received, ended))

    def send(self, data: bytes) -> None:
        """Write to the process; does nothing when it is gone."""
        if self._process is None:
            self._unsent += data
        elif self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(data)

    def kill(self) -> None:
        """End the process: ask, then force."""
        if self._process is not None and self._process.returncode is None:
            self._spawn(_end(self._process))

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call a function once, later, on the loop."""

        def call() -> None:
            self._timers.discard(handle)
            function()

        handle = asyncio.get_running_loop().call_later(seconds, call)
        self._timers.add(handle)

    async def finish(self) -> None:
        """Wait until the process is gone and nothing calls back any more; to be called after ``WorkerClient.close``."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self._process is not None and self._process.returncode is None:
            await _end(self._process)
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, received: Callable[[bytes], None], ended: Callable[[int | None], None]) -> None:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=_environment(),
                start_new_session=True,  # Ctrl+C in the terminal is for the viewer, which ends the worker in order
            )
        except OSError as error:
            self._log(f"The worker cannot be started: {error}.")
            ended(None)
            return
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        errors = asyncio.get_running_loop().create_task(self._read_log(process.stderr))
        process.stdin.write(bytes(self._unsent))
        self._unsent.clear()
        while data := await process.stdout.read(_PIECE):
            received(data)
        status = await process.wait()
        await errors
        if self._process is process:
            self._process = None
        process.stdin.close()
        ended(status)

    async def _read_log(self, stream: asyncio.StreamReader) -> None:
        rest = b""
        while data := await stream.read(_PIECE):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._log(line.decode("utf-8", errors="replace"))
            rest = rest[-_PIECE:]


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), KILL_SECONDS)
        except asyncio.TimeoutError:
            process.kill()
            await process.wait()


def _environment() -> dict[str, str]:
    """This environment, in which the worker finds the same library as we do."""
    root = str(Path(VISTA3DLib.__file__).parents[1])
    known = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in (root, known) if part)}
