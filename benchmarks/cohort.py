"""Cohorts: what the scheduling costs, and what a second worker brings. Prints Markdown.

``python -m benchmarks.cohort overhead [SCANS] [WORKERS]``: a segmenter that only sleeps for half a second, so that
everything beyond that time is ours. ``python -m benchmarks.cohort scaling [SCANS]``: one worker against two, one core
each, with the built-in weights on slabs of the built-in phantom.
"""

from __future__ import annotations

import functools
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import psutil
import pyarrow.parquet as pq

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.cohort.pace import CohortProgress
from VISTA3DLib.cohort.run import CohortRequest, CohortRun
from VISTA3DLib.cohort.segmenter import ModelDescription, Segmented
from VISTA3DLib.cohort.settings import CohortSettings, RunOptions
from VISTA3DLib.results import ClassesResult
from VISTA3DLib.volume import Volume

SLEEP = 0.5  # seconds that the stand-in for a network takes


class Sleeper:
    """A stand-in for a model: it waits, and calls bright voxels bone."""

    def describe(self) -> ModelDescription:
        """No model."""
        return ModelDescription(id="sleeper", hash="0" * 64, device="cpu", catalogue=ClassCatalogue.load("ct"))

    def segment(self, volume: Volume) -> tuple[Segmented, ClassesResult]:
        """Wait."""
        time.sleep(SLEEP)
        labels = np.where(volume.array > 200, 127, 0).astype(np.uint8)
        result = ClassesResult(grid=volume.grid, class_ids=(127,), model="sleeper", labelmap=labels)
        return Segmented(device="cpu", seconds={"network": SLEEP}), result


@dataclass
class Watch:
    """Notes when scans were done, and this process's memory."""

    times: list[float]
    memory: list[int]

    def __call__(self, report: CohortProgress) -> None:
        """Take note."""
        self.times.append(time.monotonic())
        if report.done % 100 == 0:
            self.memory.append(psutil.Process().memory_info().rss)


def small_scans(folder: Path, count: int) -> None:
    """Small scans with different contents."""
    random = np.random.default_rng(0)
    for number in range(count):
        array = random.integers(-1000, 1000, (12, 12, 12)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(array, np.diag([3.0, 3.0, 3.0, 1.0])), folder / f"scan{number:05d}.nii")


def overhead(count: int, workers: int) -> None:
    """Print what is spent beyond the time of the sleeping segmenter."""
    with tempfile.TemporaryDirectory() as place:
        source = Path(place, "in")
        source.mkdir()
        small_scans(source, count)
        watch = Watch([], [])
        options = RunOptions(workers=workers, cpus_per_worker=0.25, object_store_bytes=200 * 2**20)
        request = CohortRequest(
            source=str(source), output=str(Path(place, "out")), settings=CohortSettings(picture=False), options=options
        )
        before = psutil.Process().cpu_times()
        summary = CohortRun(request, progress=watch, make=Sleeper).run()
        after = psutil.Process().cpu_times()
        assert summary.counts == {"ok": count}, summary
    # From the first result on: the start of the processes is told apart.
    wall = watch.times[-1] - watch.times[0]
    ideal = (count - 1) * SLEEP / workers
    cpu = (after.user + after.system - before.user - before.system) / count
    print(f"Load of the machine: {psutil.getloadavg()[0]:.1f} on {psutil.cpu_count()} cores.\n")
    print(
        "| scans | workers | wall time | ideal | beyond it | CPU time of the driver per scan "
        "| driver's memory after 300 scans |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    # The first part of the manifest loads the Parquet writer: from the third hundred on nothing may grow.
    memory = (
        f"{watch.memory[min(2, len(watch.memory) - 1)] / 2**20:.0f} MB, {watch.memory[-1] / 2**20:.0f} MB at the end"
    )
    print(
        f"| {count:,} | {workers} | {wall:.1f} s | {ideal:.1f} s | {wall / ideal - 1:.1%} | {cpu * 1000:.1f} ms "
        f"({cpu / SLEEP:.1%} of {SLEEP} s) | {memory} |"
    )


def phantoms(folder: Path, count: int) -> None:
    """A slab of the built-in torso, one window of the built-in weights high, each with other noise."""
    from VISTA3DLib.phantom import make_phantom

    phantom = make_phantom()
    slab = phantom.array[:, :, : round(190 / float(np.linalg.norm(phantom.affine[:3, 2])))]
    random = np.random.default_rng(0)
    for number in range(count):
        noise = random.normal(0, 3, slab.shape)
        array = (slab + noise).round().astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(array, phantom.affine), folder / f"torso{number}.nii.gz")


def scaling(count: int) -> None:
    """Print the throughput of one worker and of two."""
    rates: dict[int, float] = {}
    shares: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as place:
        source = Path(place, "in")
        source.mkdir()
        phantoms(source, count)
        for workers in (1, 2):
            output = Path(place, f"out{workers}")
            options = RunOptions(workers=workers, cpus_per_worker=1, object_store_bytes=400 * 2**20)
            request = CohortRequest(source=str(source), output=str(output), options=options)
            watch = Watch([], [])
            CohortRun(request, progress=watch).run()
            rates[workers] = (count - workers) / (watch.times[-1] - watch.times[workers - 1]) * 3600
            shares[workers] = stage_means(output)
            print(f"{workers} worker(s): load {psutil.getloadavg()[0]:.1f} on {psutil.cpu_count()} cores", flush=True)
    stages = [name for name in shares[1] if shares[1][name] > 0.005]
    print("\n| workers | scans per hour | ratio | " + " | ".join(f"{name} s" for name in stages) + " |")
    print("| --- " * (3 + len(stages)) + "|")
    for workers, rate in rates.items():
        times = " | ".join(f"{shares[workers][name]:.2f}" for name in stages)
        print(f"| {workers} | {rate:.0f} | {rate / rates[1]:.2f} | {times} |")


def stage_means(output: Path) -> dict[str, float]:
    """Mean seconds of each stage."""
    table = pq.read_table(output / "scans.parquet").to_pydict()
    names = [name for name in table if name.startswith("seconds_") and name != "seconds_total"]
    return {name.removeprefix("seconds_"): float(np.mean([v or 0.0 for v in table[name]])) for name in names}


def main(arguments: list[str]) -> None:
    """Run what is named."""
    numbers = [int(text) for text in arguments[1:]]
    runs: dict[str, Any] = {
        "overhead": functools.partial(overhead, *(numbers or [2000, 4])),
        "scaling": functools.partial(scaling, *(numbers or [8])),
    }
    if not arguments or arguments[0] not in runs:
        sys.exit(__doc__)
    # Ray runs its workers at niceness 15: on a machine with other work they would wait for that, not for us.
    os.environ.setdefault("RAY_worker_niceness", "0")
    runs[arguments[0]]()


if __name__ == "__main__":
    main(sys.argv[1:])
