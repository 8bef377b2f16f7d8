"""A segmentation process for tests: speaks the worker's protocol with NumPy alone, and answers in milliseconds.

``python numpy_worker.py SESSION_FOLDER``. Points give balls around the positive ones without those around the negative
ones; each class gives a slab of the volume. Runs of classes report ``STEPS`` steps and can be cancelled between them.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.geometry import Box, Grid
from VISTA3DLib.protocol import LineBuffer, Request, decode_request, encode, file_in
from VISTA3DLib.weights import models_folders

RADIUS = 8.0  # mm, of the ball around a point
STEPS = 40
STEP_SECONDS = 0.02


class NumpyWorker:
    """Answers requests, one after the other; ``cancel`` is heard at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._queue: queue.Queue[Request | None] = queue.Queue()
        self._cancelled: set[int] = set()
        self._lock = threading.Lock()
        self._files = 0
        self._volume: Any = None
        self._grid: Grid | None = None

    def run(self) -> None:
        """Serve until the input ends."""
        self._send({"type": "ready", "pid": os.getpid(), "version": "test"})
        threading.Thread(target=self._read, daemon=True).start()
        while (request := self._queue.get()) is not None:
            self._answer(request)

    def _answer(self, request: Request) -> None:
        failure = {"type": "error", "id": request.id, "fix": ""}
        try:
            values = {} if request.id in self._cancelled else getattr(self, f"_{request.op}")(request)
        except OSError as error:  # as the real one: a volume that was replaced before it was read
            self._send({**failure, "kind": "ReadError", "message": str(error)})
            return
        if request.id in self._cancelled:
            self._send({**failure, "kind": "CancelledError", "message": "Cancelled."})
        else:
            self._send({"type": "result", "id": request.id, "values": values})

    def _read(self) -> None:
        lines = LineBuffer()
        while data := os.read(0, 65536):
            for line in lines.feed(data):
                request = decode_request(line)
                if request.op == "cancel":
                    self._cancelled.add(int(request.arguments["target"]))
                else:
                    self._queue.put(None if request.op == "shutdown" else request)
        os._exit(0)

    def _send(self, message: dict[str, Any]) -> None:
        with self._lock:
            os.write(1, encode(message))

    def _hello(self, _request: Request) -> dict[str, Any]:
        return {"version": "test", "torch": "none", "devices": {"cpu": "CPU of the test"}}

    def _load_model(self, request: Request) -> dict[str, Any]:
        title = "VISTA3D mini" if request.arguments["weights"] == "vista3d-mini" else str(request.arguments["weights"])
        return {
            "id": request.arguments["weights"],
            "title": title,
            "note": "",
            "demonstration": True,
            "device": "cpu",
            "device_description": "CPU, 2 threads, 10.0 of 16.0 GiB free",
            "precision": "fp32",
            "automatic": True,
            "interactive": True,
            "modality": "CT",
            "spacing": [3.0, 3.0, 3.0],
            "window": [64, 64, 64],
            "catalogue": ClassCatalogue.load().to_dict(),
        }

    def _set_volume(self, request: Request) -> dict[str, Any]:
        self._volume = np.load(file_in(self._folder, request.arguments["array"]), mmap_mode="r")
        self._grid = Grid(shape=self._volume.shape, affine=np.array(request.arguments["affine"], dtype=float))
        small = min(self._volume.shape) < 10
        return {"findings": [{"code": "small", "message": "The field of view is small."}] if small else []}

    def _download(self, request: Request) -> dict[str, Any]:
        for step in range(STEPS):
            progress = {"stage": "download", "done": step * 20_000_000, "total": STEPS * 20_000_000}
            self._send({"type": "progress", "id": request.id, **progress, "note": "12.5 MB/s"})
            if request.id in self._cancelled:
                break
            time.sleep(STEP_SECONDS)
        return {"path": str(self._folder / "weights.safetensors")}

    def _warm(self, _request: Request) -> dict[str, Any]:
        return {}

    def _estimate(self, request: Request) -> dict[str, Any]:
        text = f"{len(request.arguments['classes'])} windows, about 3 s, 0.4 GiB on the device (9.0 free)"
        sizes = {"device_bytes": 4 * 2**28, "host_bytes": 2**28, "free_device_bytes": 2**33, "free_host_bytes": 2**33}
        return {"windows": 1, "seconds": 3.0, **sizes, "fits": True, "text": text}

    def _segment_points(self, request: Request) -> dict[str, Any]:
        assert self._grid is not None
        positive = self._balls([p["ras"] for p in request.arguments["points"] if p["positive"]])
        negative = self._balls([p["ras"] for p in request.arguments["points"] if not p["positive"]])
        mask = positive & ~negative
        base = request.arguments.get("base")
        if base is not None:
            part = np.load(file_in(self._folder, base["array"])).astype(bool)
            before = np.zeros_like(mask)
            before[tuple(slice(a, a + n) for a, n in zip(base["start"], part.shape, strict=True))] = part
            mask = (mask | before) & ~negative
        box = Box.of_mask(mask)
        values = {"start": list(box.start), "stop": list(box.stop), "class_id": request.arguments.get("class_id")}
        array = self._save(mask[box.slices].astype(np.uint8)) if box.size else None
        return {**values, "array": array, "model": "test", "notes": [], "seconds": {}, "changes": []}

    def _finetune(self, request: Request) -> dict[str, Any]:
        """Three epochs, and a file without tensors in the models folder."""
        for case in request.arguments["cases"]:
            image, label = (np.load(file_in(self._folder, case[part])) for part in ("image", "label"))
            assert image.shape == label.shape
            assert set(np.unique(label)) <= {0, *(pair[0] for pair in request.arguments["mapping"])}
        for epoch in range(1, 4):
            time.sleep(5 * STEP_SECONDS)
            values = {"epoch": float(epoch), "loss": 1.0 / epoch, "dice": epoch / 4.0}
            progress = {"stage": "finetune", "done": epoch, "total": 3, "seconds_left": 0.1, "values": values}
            self._send({"type": "progress", "id": request.id, **progress})
        name = request.arguments["name"]
        path = models_folders()[0] / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((2).to_bytes(8, "little") + b"{}")
        scores = {"before": {"mean": 0.25}, "after": {"mean": 0.75}, "measured_on_training": True, "notes": []}
        return {"name": name, "installed": str(path), **scores}

    def _compare_segmentations(self, request: Request) -> dict[str, Any]:
        """Dice and volumes only."""
        names = (request.arguments[side] for side in ("truth", "predicted"))
        truth, predicted = (np.load(file_in(self._folder, name)) for name in names)
        segments = []
        for label, other in request.arguments["pairs"]:
            a, b = truth == label, predicted == other
            both = int(a.sum()) + int(b.sum())
            segments.append({
                "truth_label": label, "predicted_label": other, "outcome": "scored",
                "dice": 2.0 * int((a & b).sum()) / both if both else None, "nsd": None, "hd95_mm": None,
                "truth_ml": int(a.sum()) / 1000.0, "predicted_ml": int(b.sum()) / 1000.0,
                "volume_error_ml": 0.0, "volume_error_percent": None,
            })  # fmt: skip
        return {"tolerance_mm": 2.0, "segments": segments}

    def _balls(self, points: list[Any]) -> Any:
        assert self._grid is not None
        mask = np.zeros(self._grid.shape, dtype=bool)
        i, j, k = np.meshgrid(*[np.arange(n) for n in self._grid.shape], indexing="ij", sparse=True)
        affine = self._grid.affine
        for ras in points:
            distance = sum((affine[n, 0] * i + affine[n, 1] * j + affine[n, 2] * k + affine[n, 3] - ras[n]) ** 2
                           for n in range(3))  # fmt: skip
            mask |= distance <= RADIUS**2
        return mask

    def _segment_classes(self, request: Request) -> dict[str, Any]:
        assert self._grid is not None
        for step in range(STEPS):
            left = STEP_SECONDS * (STEPS - step)
            progress = {"stage": "windows", "done": step, "total": STEPS, "seconds_left": left}
            self._send({"type": "progress", "id": request.id, **progress})
            if request.id in self._cancelled:
                return {}
            time.sleep(STEP_SECONDS)
        ids = [int(i) for i in request.arguments["classes"]]
        labels = np.zeros(self._grid.shape, dtype=np.uint16)
        edges = np.linspace(0, labels.shape[0], len(ids) + 1).astype(int)
        for class_id, start, stop in zip(ids, edges[:-1], edges[1:], strict=True):
            labels[start:stop, 3:-3, 3:-3] = class_id
        return {"class_ids": ids, "labelmap": self._save(labels), "model": "test", "notes": [], "seconds": {}}

    def _save(self, array: Any) -> str:
        self._files += 1
        name = f"reply_{self._files}.npy"
        np.save(self._folder / name, array)
        return name


if __name__ == "__main__":
    NumpyWorker(Path(sys.argv[1])).run()
