"""What the report tells, gathered row by row: counts, causes, times, and the few scans that are shown."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from VISTA3DLib.cohort.flags import Flag, codes, score, summary
from VISTA3DLib.cohort.rows import FAILED, NOT_RUN, OK, SAME, STAGES, Row

MOST_EXAMPLES = 20  # of scans named for a cause
MOST_FLAGGED = 200  # scans shown with flags
MOST_LISTED = 2000  # scans in the list of all


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """A scan as the report lists it."""

    scan: str
    status: str
    cause: str
    error: str
    codes: tuple[str, ...]
    text: str
    score: int
    structures: int
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    seconds: float
    picture: str


@dataclass
class Digest:
    """Takes rows in the order of the scans; memory stays bounded."""

    counts: Counter[str] = field(default_factory=Counter)
    flagged: int = 0
    flag_counts: Counter[str] = field(default_factory=Counter)
    causes: dict[str, list[Shown]] = field(default_factory=dict)
    cause_counts: Counter[str] = field(default_factory=Counter)
    stage_seconds: Counter[str] = field(default_factory=Counter)
    devices: Counter[str] = field(default_factory=Counter)
    input_bytes: int = 0
    finished: list[float] = field(default_factory=list)
    listed: list[Shown] = field(default_factory=list)
    _worst: list[tuple[int, int, Shown]] = field(default_factory=list)

    def add(self, row: Row, flags: Sequence[Flag]) -> None:
        """Take in one scan."""
        shown = _shown(row, flags)
        self.counts[row.status] += 1
        if row.status in {FAILED, SAME, NOT_RUN}:
            self.cause_counts[row.cause] += 1
            examples = self.causes.setdefault(row.cause, [])
            if len(examples) < MOST_EXAMPLES:
                examples.append(shown)
        if row.status == OK:
            self._add_result(row, shown)
        if len(self.listed) < MOST_LISTED:
            self.listed.append(shown)

    @property
    def worst(self) -> list[Shown]:
        """The most suspicious scans, the worst first."""
        return [item[2] for item in sorted(self._worst, key=lambda item: (-item[0], -item[1]))]

    @property
    def total(self) -> int:
        """All scans."""
        return sum(self.counts.values())

    def _add_result(self, row: Row, shown: Shown) -> None:
        for stage in STAGES:
            self.stage_seconds[stage] += row.seconds.get(stage, 0.0)  # type: ignore[assignment]
        self.devices[row.device] += 1
        self.input_bytes += row.input_bytes
        if row.finished:
            self.finished.append(datetime.fromisoformat(row.finished).timestamp())
        if not shown.codes:
            return
        self.flagged += 1
        self.flag_counts.update(shown.codes)
        item = (shown.score, -self.total, shown)  # of equal scores the first in the list
        if len(self._worst) < MOST_FLAGGED:
            heapq.heappush(self._worst, item)
        else:
            heapq.heappushpop(self._worst, item)


def _shown(row: Row, flags: Sequence[Flag]) -> Shown:
    return Shown(
        scan=row.scan,
        status=row.status,
        cause=row.cause,
        error=f"{row.error} {row.fix}".strip(),
        codes=codes(flags),
        text=summary(flags),
        score=score(flags),
        structures=sum(1 for s in row.structures if s["voxels"]),
        shape=row.shape,
        spacing=row.spacing,
        seconds=sum(row.seconds.values()),
        picture=next((name for name in row.outputs if name.endswith(".png")), ""),
    )
