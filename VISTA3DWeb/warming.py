"""Ahead of a click: a rehearsal when a CT is there, so that the first one is as quick as the tenth, and the window
under a pointer that rests."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from VISTA3DScene.frames import from_world, volume_grid
from VISTA3DScene.jobs import State
from VISTA3DScene.workbench import Workbench

from VISTA3DLib.client import Handlers
from VISTA3DLib.errors import VISTA3DError
from VISTA3DLib.geometry import Vector3

PATIENT_SECONDS = 3.0  # a worker that takes longer for one window would keep a click elsewhere waiting


@dataclass(frozen=True, kw_only=True)
class _Request:
    """What the worker does ahead of a person now."""

    number: int
    rehearsal: bool
    begun: float


class Warmer:
    """Asks the worker ahead of a person, and steps aside as soon as the person asks for anything.

    A rehearsal is one whole click in the middle of the CT whose answer is thrown away: it loads what a first click
    loads, compiles what it compiles, and tells how quick this worker is. A pointer that rests meanwhile gets its window
    afterwards. ``rehearsing`` is called with True when a rehearsal begins and with False when it is over.
    """

    def __init__(self, workbench: Workbench, rehearsing: Callable[[bool], None]) -> None:
        self._workbench, self._rehearsing = workbench, rehearsing
        self._rehearsed: tuple[Any, Any] = (None, None)
        self._request: _Request | None = None
        self._resting: Vector3 | None = None
        self._slowest = 0.0  # seconds of a request, as far as that is known of this model and volume
        workbench.changed.connect(self._changed)

    def rest(self, ras: Vector3) -> None:
        """The pointer rests at a place (world RAS): compute the window there, when nothing else goes on."""
        self.rest_ended()
        self._resting = ras
        self._go_on()

    def rest_ended(self) -> None:
        """The pointer moved on: a window that was not begun yet is not computed."""
        self._resting = None
        if self._request is not None and not self._request.rehearsal:
            self._cancel()

    def close(self) -> None:
        """Ask nothing any more."""
        self._workbench.changed.disconnect(self._changed)

    def _changed(self) -> None:
        if self._workbench.state is not State.IDLE:
            self._cancel()
        else:
            self._go_on()

    def _go_on(self) -> None:
        bench = self._workbench
        if self._request is not None or not self._idle():
            return
        if self._rehearsed != (bench.model, bench.volume):
            self._rehearsed, self._slowest = (bench.model, bench.volume), 0.0
            grid = volume_grid(bench.volume)
            r, a, s = grid.to_world([(n - 1) / 2 for n in grid.shape])
            point = {"ras": [float(r), float(a), float(s)], "positive": True}
            self._submit("segment_points", {"points": [point], "class_id": None}, rehearsal=True)
        elif self._resting is not None and self._slowest < PATIENT_SECONDS:
            ras, self._resting = self._resting, None
            self._submit("warm", {"ras": list(from_world(bench.volume, ras))}, rehearsal=False)

    def _idle(self) -> bool:
        bench = self._workbench
        model = bench.model
        return bench.state is State.IDLE and bench.volume is not None and model is not None and model.interactive

    def _submit(self, op: str, arguments: Mapping[str, Any], *, rehearsal: bool) -> None:
        client = self._workbench.client

        def done(values: Mapping[str, Any]) -> None:
            try:
                if values.get("array") is not None:
                    client.array(values["array"])  # its file goes with the reading
            finally:
                self._over()

        try:
            number = client.submit(op, arguments, Handlers(result=done, error=lambda _: self._over()))
        except VISTA3DError:
            return
        self._request = _Request(number=number, rehearsal=rehearsal, begun=time.monotonic())
        if rehearsal:
            self._rehearsing(True)

    def _cancel(self) -> None:
        if self._request is not None:
            self._workbench.client.cancel(self._request.number)
            self._ended()

    def _over(self) -> None:
        self._ended()
        self._go_on()

    def _ended(self) -> None:
        request, self._request = self._request, None
        if request is not None:
            self._slowest = max(self._slowest, time.monotonic() - request.begun)
            if request.rehearsal:
                self._rehearsing(False)
