"""How a run is getting on: scans per hour and the time that is left."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

_RECENT = 200  # scans that the pace is taken from: an hour ago may have been another cluster


@dataclass(frozen=True, kw_only=True)
class CohortProgress:
    """One report. ``done`` of ``total`` scans have a row; ``skipped`` of them had one before.

    ``per_hour`` and ``seconds_left`` are None until they can be known.
    """

    total: int
    done: int
    skipped: int
    failed: int
    in_air: int
    per_hour: float | None = None
    seconds_left: float | None = None


class Pace:
    """Counts rows and tells the pace of the last ones."""

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.counts = total, Counter[str]()
        self.skipped = 0
        self._clock = clock
        self._times: deque[float] = deque([clock()], maxlen=_RECENT + 1)

    def step(self, status: str) -> None:
        """Count a row that was made now."""
        self.counts[status] += 1
        self._times.append(self._clock())

    def skip(self) -> None:
        """Count a scan that has its row already."""
        self.skipped += 1

    def progress(self, in_air: int, failed: str) -> CohortProgress:
        """Where the run is now."""
        made = self.counts.total()
        done = made + self.skipped
        elapsed = self._times[-1] - self._times[0]
        pace = (len(self._times) - 1) / elapsed if made >= 2 and elapsed > 0 else None
        return CohortProgress(
            total=self.total,
            done=done,
            skipped=self.skipped,
            failed=self.counts[failed],
            in_air=in_air,
            per_hour=None if pace is None else pace * 3600,
            seconds_left=None if pace is None else (self.total - done) / pace,
        )
