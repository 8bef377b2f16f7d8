"""How slow work reports itself and is stopped: progress with time left, cancel, seconds per stage."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from VISTA3DLib.errors import CancelledError


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One report: ``done`` of ``total`` steps of ``stage``; ``seconds_left`` is None until it can be known.

    ``note`` is a sentence for the person (a fallback that was taken, for example), empty most of the time. ``values``
    are numbers by name that the stage measures on its way (loss, Dice), for a plot.
    """

    stage: str
    done: int
    total: int
    seconds_left: float | None = None
    note: str = ""
    values: Mapping[str, float] = field(default_factory=dict)

    @property
    def fraction(self) -> float:
        """Share of the work done, 0 to 1."""
        return self.done / self.total if self.total else 1.0


ProgressCallback = Callable[[Progress], None]


def ignore_progress(_: Progress) -> None:
    """The callback of those who do not want to know."""


class Cancel:
    """A flag that another thread may raise; the work looks at it between windows."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the work to stop. It raises ``CancelledError`` within one window and changes nothing."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise ``CancelledError`` if somebody asked."""
        if self.cancelled:
            raise CancelledError


class Tracker:
    """Counts the steps of one stage, estimates the time left from the steps so far, and looks at the cancel flag."""

    def __init__(
        self, stage: str, total: int, callback: ProgressCallback | None = None, cancel: Cancel | None = None
    ) -> None:
        self.stage, self.total, self.done = stage, total, 0
        self._callback = callback or ignore_progress
        self._cancel = cancel or Cancel()
        self._start = time.monotonic()
        self._cancel.check()
        self._callback(Progress(stage=stage, done=0, total=total))

    def step(self, count: int = 1, note: str = "", values: Mapping[str, float] | None = None) -> None:
        """Report ``count`` more finished steps, and what was measured. Raises ``CancelledError`` if cancelled."""
        self._cancel.check()
        self.done += count
        elapsed = time.monotonic() - self._start
        left = elapsed / self.done * (self.total - self.done) if self.done else None
        self._callback(
            Progress(
                stage=self.stage,
                done=self.done,
                total=self.total,
                seconds_left=left,
                note=note,
                values=dict(values or {}),
            )
        )

    def note(self, text: str) -> None:
        """Report a sentence without a step."""
        self.step(0, text)


class StageClock:
    """Seconds spent per named stage; a stage that is entered again adds up."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of the block under ``name``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - start

    def add(self, name: str, seconds: float) -> None:
        """Count time that was measured elsewhere."""
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    @property
    def seconds(self) -> dict[str, float]:
        """Stage name -> seconds, in the order of first use."""
        return dict(self._seconds)
