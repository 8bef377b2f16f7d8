"""A workbench on the table of a test, with a worker that answers when it is told to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from fake_worker import FakeWorker, clicked
from VISTA3DScene.lattice import LatticeMask, image_box
from VISTA3DScene.segment_masks import change_mask, labelmap_of
from VISTA3DScene.tags import PROMPTS_TAG
from VISTA3DScene.workbench import Workbench

from VISTA3DLib.geometry import Box, Grid


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


A, B, C = (10, 12, 9), (20, 22, 16), (12, 14, 10)  # voxels to click on: A and C are near each other


def ball(table: Table, *places: tuple[float, float, float], base: Any = None, off: Any = ()) -> np.ndarray:
    """What the fake model makes of positive points at voxels ``places`` and negative ones at ``off``."""
    start = np.zeros(table.grid.shape, bool) if base is None else base
    points = [(np.array(table.at(*p)), True) for p in places] + [(np.array(table.at(*p)), False) for p in off]
    return clicked(table.grid, start, points)


def foreign_segment(table: Table, *places: tuple[int, int, int]) -> str:
    """A segment that somebody else made."""
    segment_id = table.bench.new_segment(None, "foreign")
    assert segment_id is not None
    segment = table.bench.segmentation.GetSegmentation().GetSegment(segment_id)
    mask = ball(table, *places)
    there = LatticeMask(affine=table.grid.affine, box=Box.whole(mask.shape), mask=mask)
    change_mask(table.bench.segmentation, segment_id, there, LatticeMask.empty(table.grid.affine))
    segment.RemoveTag(PROMPTS_TAG)
    table.settle()
    return segment_id


def spot_in(table: Table, where: tuple[slice, slice, slice]) -> tuple[slice, slice, slice]:
    """A place on the volume's grid, in the array of the selected segment's labelmap."""
    image = labelmap_of(table.bench.segmentation.GetSegmentation().GetSegment(table.bench.selected or ""))
    start = image_box(image).start
    i, j, k = (slice(s.start - o, s.stop - o) for s, o in zip(where, start, strict=True))
    return i, j, k
