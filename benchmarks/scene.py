"""How long the scene layer takes at 512 x 512 x 300 (``python -m benchmarks.scene``): import, undo, memory, a click.

The labels are 117 structures that fill a torso-like body, of the sizes that organs have: a Voronoi diagram of seeds,
cut to an ellipse. The worker is the tests' own, in this process, so no time of a network is in the numbers.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / part) for part in ("VISTA3D", "Testing/lib", "Testing/scene")]

from scene_host import SceneHost, make_volume  # noqa: E402
from VISTA3DScene.bench import Bench  # noqa: E402
from VISTA3DScene.importing import Import, import_labels  # noqa: E402
from VISTA3DScene.lattice import LatticeMask  # noqa: E402
from VISTA3DScene.ledger import Ledger  # noqa: E402
from VISTA3DScene.prompts import Delta, Prompts, Round, prompts_of  # noqa: E402
from VISTA3DScene.segment_desk import SegmentDesk  # noqa: E402
from VISTA3DScene.segment_masks import LABELMAP  # noqa: E402

from VISTA3DLib.classes import ClassCatalogue  # noqa: E402
from VISTA3DLib.geometry import Box  # noqa: E402

COLUMNS = ROWS = 512
AFFINE = np.diag([-0.8, -0.8, 1.5, 1.0])
STEPS = 120


def body(class_ids: tuple[int, ...], slices: int) -> npt.NDArray[np.uint8]:
    """A label image [i, j, k] (i fastest in memory) of structures that fill a body."""
    random = np.random.default_rng(0)
    seeds = random.uniform((100, 130, 5), (412, 380, slices - 5), size=(len(class_ids), 3))
    coarse = [np.arange(0, n, 4) for n in (COLUMNS, ROWS, slices)]
    index = np.stack(np.meshgrid(*coarse, indexing="ij"), axis=-1)
    nearest = cKDTree(seeds).query(index.reshape(-1, 3))[1].reshape(index.shape[:3])
    labels = np.asarray(class_ids, dtype=np.uint8)[nearest]
    inside = ((index[..., 0] - 256) / 180) ** 2 + ((index[..., 1] - 256) / 130) ** 2 <= 1
    labels = np.where(inside, labels, 0).astype(np.uint8)
    full = np.zeros((slices, ROWS, COLUMNS), dtype=np.uint8)
    for k in range(slices):
        full[k] = np.kron(labels[:, :, k // 4], np.ones((4, 4), dtype=np.uint8)).T
    return full.transpose(2, 1, 0)


def ball(center: tuple[int, int, int], radius: float) -> LatticeMask:
    """A ball of voxels."""
    reach = int(radius) + 1
    axis = np.arange(-reach, reach + 1)
    i, j, k = np.meshgrid(axis, axis, axis, indexing="ij")
    box = Box(start=(-reach, -reach, -reach), stop=(reach + 1, reach + 1, reach + 1)).shifted(center)
    return LatticeMask(affine=AFFINE, box=box, mask=i**2 + j**2 + k**2 <= radius**2)


class Clock:
    """Prints and keeps times."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[tuple[float, float]]] = {}

    def time(self, name: str, function: Callable[[], Any]) -> Any:
        """Run and remember."""
        start, cpu = time.perf_counter(), time.process_time()
        result = function()
        taken = (time.perf_counter() - start, time.process_time() - cpu)
        self.seconds.setdefault(name, []).append(taken)
        return result

    def report(self) -> None:
        """Median and worst of each; CPU time says more than the clock where other programs run."""
        print(f"{'':58s} {'clock: median, worst':>26s} {'CPU: median, worst':>26s}")
        for name, values in self.seconds.items():
            (clock, cpu), (worst, worst_cpu) = np.median(values, axis=0) * 1000, np.max(values, axis=0) * 1000
            print(f"{name:58s} {clock:10.1f} {worst:10.1f} ms  {cpu:10.1f} {worst_cpu:10.1f} ms  n = {len(values)}")


def clicks(ledger: Ledger, ids: list[str], clock: Clock) -> None:
    """Repairs by clicks: points, voxels of a few cm, as 120 steps on 12 segments."""
    random = np.random.default_rng(1)
    for n in range(STEPS):
        segment_id = ids[(n * 7) % 12]
        i, j, k = random.integers((120, 160, 40), (390, 350, 260))
        part = ball((int(i), int(j), int(k)), float(random.uniform(8, 30)))

        def step(segment_id: str = segment_id, part: LatticeMask = part, grow: bool = n % 3 != 0) -> None:
            nothing = LatticeMask.empty(AFFINE)
            with ledger.action("Add point", segment_id) as action:
                action.change_mask(segment_id, *((part, nothing) if grow else (nothing, part)))
                delta = Delta.between(nothing, part)
                prompts = prompts_of(ledger.segmentation.GetSegmentation().GetSegment(segment_id))
                action.set_prompts(
                    segment_id, Prompts(class_id=prompts.class_id, rounds=(Round(answer=delta),), seal="1:0")
                )

        clock.time("take in an answer to a click (8 to 30 voxels radius)", step)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The scene layer with 117 segments, without the network's time.")
    parser.add_argument("--slices", type=int, default=300, help="of 512 x 512 voxels; default 300")
    slices = parser.parse_args().slices
    catalogue = ClassCatalogue.load("ct")
    class_ids = tuple(catalogue.resolve_many(["everything"]))[:117]
    labels, clock, host = body(class_ids, slices), Clock(), SceneHost()
    volume = make_volume(host.scene, np.zeros(labels.shape, dtype=np.int16), AFFINE)
    bench = Bench(host.scene, lambda _seconds, _function: None)
    bench.volume = volume
    desk = SegmentDesk(bench, lambda: catalogue, choose=lambda _: None, selection_changed=lambda: None)
    bench.segmentation = node = desk.ensure_segmentation()
    assert node.GetSegmentation().GetSourceRepresentationName() == LABELMAP
    ledger = bench.needed_ledger()
    found = Import(labels=labels, class_ids=class_ids, catalogue=catalogue, model="benchmark")

    def take_in() -> None:
        with ledger.action("Segment 117 classes") as action:
            import_labels(action, ledger, bench.place(), found, bench.policy)

    clock.time("import 117 classes", take_in)
    ids = bench.segment_ids()
    print(f"{len(ids)} segments on {node.GetSegmentation().GetNumberOfLayers()} layer(s)")
    clock.time("undo the import", ledger.undo)
    clock.time("redo the import", ledger.redo)
    clicks(ledger, ids, clock)
    print(
        f"{len(ledger.history)} steps: history {ledger.history.nbytes / 2**20:.1f} MB, copies of the labelmaps "
        f"{ledger.watcher.nbytes / 2**20:.1f} MB, together {ledger.nbytes / 2**20:.1f} MB"
    )
    for _ in range(STEPS):
        clock.time("undo a click", ledger.undo)
    for _ in range(STEPS):
        clock.time("redo a click", ledger.redo)
    image = node.GetSegmentation().GetSegment(ids[0]).GetRepresentation(LABELMAP)
    image.Modified()
    clock.time("look for an edit made elsewhere, nothing found", ledger.collect)
    clock.time("list the segments", lambda: desk.infos)
    clock.time("volume of a segment", lambda: desk.volume_ml(ids[0]))
    clock.time("import 117 classes again, nothing edited by a person", take_in)
    clock.report()
    bench.forget_ledgers()
    host.close()


if __name__ == "__main__":
    main()
