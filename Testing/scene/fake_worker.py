"""A worker in this process, for tests of the scene: it speaks the protocol, answers by simple rules, and waits.

Not the model: a click makes a ball of ``RADIUS`` mm (positive) or takes one away (negative), each automatic class is a
slab of the volume. The answers depend on nothing but the request, so tests know what must come out. Nothing is
delivered before ``settle``, as nothing is before an event loop turns; time is made of calls, not of seconds.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.geometry import Box, Grid
from VISTA3DLib.protocol import LineBuffer, encode

RADIUS = 9.0  # mm
SOON = 1.0  # seconds: what is to be called later than that waits until ``pass_time``


class FakeWorker:
    """A transport for ``WorkerClient``. ``requests`` lists what was asked, ``fail`` the operations that fail."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines = LineBuffer()
        self._received: Callable[[bytes], None] = lambda _: None
        self._ended: Callable[[int | None], None] = lambda _: None
        self._queue: deque[dict[str, Any]] = deque()
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self._loaded = False
        self._grid: Grid | None = None
        self._files = 0
        self.running = False
        self.starts = 0
        self.interactive = True
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.fail: dict[str, tuple[str, str, str]] = {}
        self.on_answer: Callable[[str], None] = lambda _: None
        self.notes: list[str] = []  # what the model says about the points

    # The transport

    def start(self, received: Callable[[bytes], None], ended: Callable[[int | None], None]) -> None:
        self._received, self._ended = received, ended
        self._queue.clear()
        self._lines = LineBuffer()
        self._loaded, self._grid = False, None
        self.running = True
        self.starts += 1

    def send(self, data: bytes) -> None:
        if not self.running:
            return
        for line in self._lines.feed(data):
            message = json.loads(line)
            if message["op"] == "cancel":
                target = message["args"]["target"]
                for waiting in self._queue:
                    if waiting["id"] == target:
                        waiting["cancelled"] = True
            elif message["op"] != "shutdown":
                self.requests.append((message["op"], message["args"]))
                self._queue.append(message)

    def kill(self) -> None:
        if self.running:
            self.running = False
            self._queue.clear()
            self.call_later(0.0, lambda: self._ended(-9))

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        self._timers.append((seconds, function))

    # What tests do

    def settle(self) -> None:
        """Let everything happen that is due: callbacks and answers, until nothing is left."""
        while self.call_due() or self.answer_next():
            pass

    def call_due(self) -> bool:
        """Call what was to be called soon; whether there was anything."""
        due = [function for seconds, function in self._timers if seconds <= SOON]
        self._timers = [t for t in self._timers if t[0] > SOON]
        for function in due:
            function()
        return bool(due)

    def answer_next(self) -> bool:
        """Deliver the answer to the oldest request; whether there was one."""
        if not self._queue:
            return False
        message = self._queue.popleft()
        self.on_answer(message["op"])
        if not self.running:  # it died of it
            return True
        reply = self._reply(message)
        self._received(encode({"id": message["id"], **reply}))
        return True

    @property
    def waiting(self) -> int:
        """Requests that are not answered yet."""
        return len(self._queue)

    @property
    def due(self) -> int:
        """Callbacks that are to be called soon."""
        return sum(seconds <= SOON for seconds, _ in self._timers)

    def _reply(self, message: Mapping[str, Any]) -> dict[str, Any]:
        op = message["op"]
        if message.get("cancelled"):
            return _error("CancelledError", "Cancelled.", "")
        if op in self.fail:
            return _error(*self.fail[op])
        if op not in {"load_model", "hello", "download"} and not self._loaded:
            return _error("VolumeError", "No model is loaded.", "Send load_model first.")
        if op not in {"load_model", "hello", "download", "set_volume"} and self._grid is None:
            return _error("VolumeError", "No volume is set.", "Send set_volume first.")
        try:
            return {"type": "result", "values": getattr(self, f"_{op}")(message["args"])}
        except FileNotFoundError as problem:
            return _error("ReadError", f"The array cannot be read: {problem}.", "Send it again.")

    # The operations

    def _hello(self, _: Any) -> dict[str, Any]:
        return {"version": "0", "torch": "0", "devices": {"cpu": "processor"}}

    def _load_model(self, arguments: Any) -> dict[str, Any]:
        self._loaded, self._grid = True, None
        return {
            "id": str(arguments["weights"]),
            "title": "A model for tests",
            "note": "",
            "demonstration": True,
            "device": "cpu",
            "device_description": "processor",
            "precision": "fp32",
            "automatic": True,
            "interactive": self.interactive,
            "modality": "CT",
            "spacing": [1.5, 1.5, 1.5],
            "window": [128, 128, 128],
            "catalogue": ClassCatalogue.load("ct").to_dict(),
        }

    def _set_volume(self, arguments: Any) -> dict[str, Any]:
        array = np.load(self._folder / arguments["array"], mmap_mode="r")
        self._grid = Grid(shape=array.shape, affine=np.asarray(arguments["affine"]))
        return {"findings": [{"code": "small-field", "message": "Small."}] if min(array.shape) < 12 else []}

    def _segment_points(self, arguments: Any) -> dict[str, Any]:
        grid = self._grid
        assert grid is not None
        base = np.zeros(grid.shape, dtype=bool)
        if arguments.get("base"):
            part = np.load(self._folder / arguments["base"]["array"]).astype(bool)
            box = Box.whole(part.shape).shifted(arguments["base"]["start"])
            base[box.slices] = part
        points = [(np.array(p["ras"]), p["positive"]) for p in arguments["points"]]
        new = clicked(grid, base, points)
        box = Box.of_mask(new != base) if arguments.get("base") else Box.of_mask(new)
        changes = [
            {
                "kind": kind,
                "voxels": n,
                "ml": n * grid.voxel_ml,
                "start": list(box.start),
                "stop": list(box.stop),
                "center": [0.0, 0.0, 0.0],
                "points": [0],
            }
            for kind, n in (("added", int((new & ~base).sum())), ("removed", int((base & ~new).sum())))
            if n
        ]
        values = {"start": list(box.start), "stop": list(box.stop), "class_id": arguments.get("class_id")}
        array = self._save(new[box.slices].astype(np.uint8)) if box.size else None
        return {**values, "array": array, "model": "fake", "notes": self.notes, "seconds": {}, "changes": changes}

    def _segment_classes(self, arguments: Any) -> dict[str, Any]:
        grid = self._grid
        assert grid is not None
        ids = ClassCatalogue.load("ct").resolve_many(arguments["classes"])
        roi = arguments.get("roi")
        box = grid.box if roi is None else Box(start=tuple(roi["start"]), stop=tuple(roi["stop"]))
        values: dict[str, Any] = {"class_ids": list(ids), "model": "fake", "notes": [], "seconds": {}}
        if arguments["overlapping"]:
            return {**values, "masks": {str(c): self._slab(c, box) for c in ids}}
        labels = np.zeros(grid.shape, dtype=np.uint8)
        for c in ids:
            labels[slab(grid, c).slices] = c
        cut = np.zeros_like(labels)
        cut[box.slices] = labels[box.slices]
        return {**values, "labelmap": self._save(cut)}

    def _slab(self, class_id: int, roi: Box) -> dict[str, Any]:
        assert self._grid is not None
        box = slab(self._grid, class_id).grown((1, 0, 0)) & roi
        array = self._save(np.ones(box.shape, dtype=np.uint8)) if box.size else None
        return {"start": list(box.start), "stop": list(box.stop), "class_id": class_id, "array": array}

    def _estimate(self, arguments: Any) -> dict[str, Any]:
        return {"windows": len(arguments["classes"]), "seconds": 1.0, "fits": True, "text": "1 window"}

    def _warm(self, _: Any) -> dict[str, Any]:
        return {}

    def _download(self, arguments: Any) -> dict[str, Any]:
        return {"path": f"/models/{arguments['weights']}"}

    def _save(self, array: npt.NDArray[Any]) -> str:
        self._files += 1
        name = f"reply_{self._files}.npy"
        np.save(self._folder / name, array)
        return name


def clicked(grid: Grid, base: npt.NDArray[np.bool_], points: list[tuple[Any, bool]]) -> npt.NDArray[np.bool_]:
    """What the fake model makes of points: balls added to ``base``, then balls taken away."""
    new = base.copy()
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)
    world = grid.to_world(index)
    for sign in (True, False):
        for ras, positive in points:
            if positive is sign:
                ball = ((world - np.asarray(ras)) ** 2).sum(axis=-1) <= RADIUS**2
                own = np.floor(grid.to_voxel(ras) + 0.5).astype(int).clip(0, np.array(grid.shape) - 1)
                ball[tuple(own)] = True
                new = new | ball if sign else new & ~ball
    return new


def slab(grid: Grid, class_id: int) -> Box:
    """The part of the volume that an automatic class is: slices along i, by its id."""
    i, j, k = grid.shape
    start = (class_id * 3) % (i - 3)
    return Box(start=(start, 2, 2), stop=(start + 3, j - 2, k - 2))


def _error(kind: str, message: str, fix: str) -> dict[str, Any]:
    return {"type": "error", "kind": kind, "message": message, "fix": fix}
