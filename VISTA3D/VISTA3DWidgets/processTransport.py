"""The worker behind a ``QProcess``: the transport that ``VISTA3DLib.client.WorkerClient`` needs, in Slicer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import qt

from VISTA3DLib.errors import SettingsError
from VISTA3DWidgets.workerEnvironment import findPython, workerEnvironment

KILL_SECONDS = 2.0  # from asking the process to end to forcing it
RETIRE_SECONDS = 1.0  # that the object of a process is kept after its end
END_MS = 1500  # what closing waits for, twice at most


def workerArguments(folder: Path) -> list[str]:
    """What makes Python the worker of a session folder."""
    return ["-u", "-m", "VISTA3DLib.worker", str(folder)]


class ProcessTransport:
    """Starts a Python program with ``arguments`` and moves bytes; everything happens on the main thread.

    ``python`` gives the person's choice of a program, or an empty text. ``log`` gets what the process writes to its
    standard error, and what went wrong with the process itself. ``faults`` is entered around every call back.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        python: Callable[[], str],
        log: Callable[[str], None],
        faults: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._arguments, self._python, self._log, self._faults = list(arguments), python, log, faults
        self._process: qt.QProcess | None = None
        self._retired: list[qt.QProcess] = []
        self._received: Callable[[bytes], None] | None = None
        self._ended: Callable[[int | None], None] | None = None
        self._laters: list[Later] = []
        self._closed = False

    def start(self, received: Callable[[bytes], None], ended: Callable[[int | None], None]) -> None:
        """Start a process. One that cannot be started ends a moment later."""
        self._received, self._ended = received, ended
        try:
            python = findPython(self._python())
        except SettingsError as error:
            self._log(f"{error.message} {error.fix}")
            self.call_later(0.0, self._neverStarted)
            return
        process = qt.QProcess()
        process.setProcessEnvironment(workerEnvironment(python))
        for signal, slot in self._slots():
            process.connect(signal, slot)
        self._process = process
        process.start(str(python), self._arguments)

    def send(self, data: bytes) -> None:
        """Write to the process; nothing happens when it is gone."""
        if self._process is not None and self._process.state() != qt.QProcess.NotRunning:
            self._process.write(data)

    def kill(self) -> None:
        """Ask the process to end, and force it a little later."""
        if self._process is not None and self._process.state() != qt.QProcess.NotRunning:
            self._process.terminate()
            self.call_later(KILL_SECONDS, Killer(self._process).kill)

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call a function once, later."""
        if not self._closed:
            for later in [later for later in self._laters if later.done]:
                self._laters.remove(later)
                later.stop()
            self._laters.append(Later(seconds, function, self._faults))

    def close(self) -> None:
        """End the process and wait for that a moment; nobody is called any more."""
        self._closed = True
        for later in self._laters:
            later.stop()
        self._laters.clear()
        self._received = self._ended = None
        process = self._process
        self._letGo()
        self._release()
        if process is None or process.state() == qt.QProcess.NotRunning:
            return
        process.closeWriteChannel()
        process.terminate()
        if not process.waitForFinished(END_MS):
            process.kill()
            process.waitForFinished(END_MS)

    def _slots(self) -> tuple[tuple[str, Callable[..., None]], ...]:
        return (
            ("readyReadStandardOutput()", self._onOutput),
            ("readyReadStandardError()", self._onErrorOutput),
            ("finished(int,QProcess::ExitStatus)", self._onFinished),
            ("errorOccurred(QProcess::ProcessError)", self._onError),
        )

    def _onOutput(self) -> None:
        if self._process is not None and self._received is not None:
            with self._faults():
                self._received(bytes(self._process.readAllStandardOutput().data()))

    def _onErrorOutput(self) -> None:
        if self._process is not None:
            text = bytes(self._process.readAllStandardError().data()).decode("utf-8", errors="replace")
            for line in text.splitlines():
                self._log(line)

    def _onFinished(self, status: int, exitStatus: int) -> None:
        if self._process is None:
            return
        self._onOutput()  # what came with the end
        self._letGo()
        self._finish(int(status))

    def _onError(self, error: int) -> None:
        if error == qt.QProcess.FailedToStart and self._process is not None:
            self._log(f"{self._process.program()} cannot be started: {self._process.errorString()}.")
            self._letGo()
            self.call_later(0.0, self._neverStarted)

    def _letGo(self) -> None:
        """Forget the process. Its object must not die while its own signal is being delivered: it is held a moment."""
        process, self._process = self._process, None
        if process is not None:
            self._retired.append(process)
            self.call_later(RETIRE_SECONDS, self._release)

    def _release(self) -> None:
        retired, self._retired = self._retired, []
        for process in retired:
            for signal, slot in self._slots():
                process.disconnect(signal, slot)

    def _neverStarted(self) -> None:
        self._finish(None)

    def _finish(self, status: int | None) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            with self._faults():
                ended(status)


class Killer:
    """Forces one process to end, if it still runs."""

    def __init__(self, process: qt.QProcess) -> None:
        self._process = process

    def kill(self) -> None:
        """Force it."""
        if self._process.state() != qt.QProcess.NotRunning:
            self._process.kill()


class Later:
    """A timer that calls a function once."""

    def __init__(
        self, seconds: float, function: Callable[[], None], faults: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._function, self._faults = function, faults
        self._waiting = True
        self.done = False  # only after the call: the timer must not die in it
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.connect("timeout()", self._onTimeout)
        self._timer.start(round(seconds * 1000.0))

    def stop(self) -> None:
        """Call it no more."""
        self._waiting = False
        self._timer.stop()
        self._timer.disconnect("timeout()", self._onTimeout)

    def _onTimeout(self) -> None:
        if self._waiting:
            self._waiting = False
            try:
                with self._faults():
                    self._function()
            finally:
                self.done = True
