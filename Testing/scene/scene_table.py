"""A workbench on the table of a test, with a worker that answers when it is told to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fake_worker import FakeWorker
from VISTA3DScene.workbench import Workbench

from VISTA3DLib.geometry import Grid


class Table:
    """A workbench with its fake worker, and what it said."""

    def __init__(self, scene: Any, folder: Path) -> None:
        self.scene, self.folder = scene, folder
        self.worker = FakeWorker(folder)
        self.bench = Workbench(scene, self.worker, folder)
        self.said: list[str] = []
        self.failures: list[tuple[str, str, str]] = []
        self.changes = 0
        self.bench.said.connect(self.said.append)
        self.bench.failed.connect(lambda *failure: self.failures.append(failure))
        self.bench.changed.connect(self._count)

    def _count(self) -> None:
        self.changes += 1

    def prepare(self, volume: Any) -> None:
        """Load the model, choose the volume, wait."""
        self.bench.load_model("vista3d-mini")
        self.bench.set_volume(volume)
        self.settle()

    def settle(self) -> None:
        """Let everything happen."""
        self.worker.settle()

    @property
    def grid(self) -> Grid:
        """The volume's grid."""
        grid = self.bench.volume_grid
        assert grid is not None
        return grid

    def at(self, *index: float) -> tuple[float, float, float]:
        """The volume's own RAS of a voxel."""
        r, a, s = (float(v) for v in self.grid.to_world(index))
        return r, a, s

    def mask(self, segment_id: str | None = None) -> Any:
        """A segment's voxels on the volume's grid."""
        chosen = segment_id or self.bench.selected
        assert chosen is not None
        mask = self.bench.mask_on_volume(chosen)
        assert mask is not None
        return mask
