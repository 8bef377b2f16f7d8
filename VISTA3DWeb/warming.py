"""Ahead of a click: a rehearsal when a CT is there, so that the first one is as quick as the tenth, and the window
under a pointer that rests."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from VISTA3DScene.frames import from_world, volume_grid
from VISTA3DScene.jobs import State
from VISTA3DScene.workbench import Workbench

from VISTA3DLib.client import Handlers
from VISTA3DLib.errors import VISTA3DError
from VISTA3DLib.geometry import Vector3

PATIENT_SECONDS = 3.0  # a worker that takes longer for one window would keep a click elsewhere waiting


class Warmer:
    """Asks the worker ahead of a person, and steps aside as soon as the person asks for anything.

    A rehearsal is one whole click in the middle of the CT whose answer is thrown away: it loads what a first click
    loads, compiles what it compiles, and tells how quick this worker is.
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._rehearsed: tuple[Any, Any] = (None, None)
        self._request: int | None = None
        self._seconds: float | None = None
        workbench.changed.connect(self._changed)

    def rest(self, ras: Vector3) -> None:
        """The pointer rests at a place (world RAS): compute the window there, if nothing else goes on."""
        if self._idle() and self._seconds is not None and self._seconds < PATIENT_SECONDS:
            self.rest_ended()
            self._submit("warm", {"ras": list(from_world(self._workbench.volume, ras))})

    def rest_ended(self) -> None:
        """The pointer moved on: what was not begun yet is not computed."""
        request, self._request = self._request, None
        if request is not None:
            self._workbench.client.cancel(request)

    def close(self) -> None:
        """Ask nothing any more."""
        self._workbench.changed.disconnect(self._changed)

    def _changed(self) -> None:
        bench = self._workbench
        if bench.state is not State.IDLE:
            self.rest_ended()
        elif self._idle() and self._rehearsed != (bench.model, bench.volume):
            self._rehearsed = (bench.model, bench.volume)
            self._seconds = None
            grid = volume_grid(bench.volume)
            r, a, s = grid.to_world([(n - 1) / 2 for n in grid.shape])
            point = {"ras": [float(r), float(a), float(s)], "positive": True}
            self._submit("segment_points", {"points": [point], "class_id": None})

    def _idle(self) -> bool:
        bench = self._workbench
        model = bench.model
        return bench.state is State.IDLE and bench.volume is not None and model is not None and model.interactive

    def _submit(self, op: str, arguments: Mapping[str, Any]) -> None:
        client, begun = self._workbench.client, time.monotonic()

        def done(values: Mapping[str, Any]) -> None:
            self._request, self._seconds = None, time.monotonic() - begun
            if values.get("array") is not None:
                client.array(values["array"])  # its file goes with the reading

        def failed(_: object) -> None:
            self._request = None

        try:
            self._request = client.submit(op, arguments, Handlers(result=done, error=failed))
        except VISTA3DError:
            self._request = None
