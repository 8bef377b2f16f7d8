"""Many scans: every one counted, memory of the driver flat, the cluster divided as asked."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from VISTA3DLib.cli.cohort import pace_text
from VISTA3DLib.cohort import journal
from VISTA3DLib.cohort.cluster import ClusterError, Share
from VISTA3DLib.cohort.pace import CohortProgress, Pace
from VISTA3DLib.cohort.run import CohortRun
from VISTA3DLib.cohort.settings import RunOptions

SCANS = 240


@pytest.mark.usefixtures("cluster")
def test_memory_of_the_driver_does_not_grow_with_the_scans(
    tmp_path: Path, tools: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "PART_ROWS", 20)
    for number in range(SCANS):
        tools.write_ct(tmp_path / "in" / f"{number:04d}.nii", seed=number, shape=(8, 7, 6))
    held: list[int] = []

    def measure(report: CohortProgress) -> None:
        if report.done % 60 == 0:
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        request = tools.request_of(tmp_path / "in", tmp_path / "out", options=tools.two)
        summary = CohortRun(request, progress=measure, make=tools.thresholds()).run()
    finally:
        tracemalloc.stop()

    assert summary.counts == {"ok": SCANS}
    assert len(held) == 4
    # A row with its structures takes some 10 kB in Python; what stays of a scan must be far below that.
    assert held[-1] - held[0] < 180 * 2000


RESOURCES = {"CPU": 16.0, "GPU": 2.0, "memory": 64e9}


@pytest.mark.parametrize(
    ("resources", "options", "expected"),
    [
        (RESOURCES, {}, (2, 1.0, 8.0, 7)),
        (RESOURCES, {"gpus_per_worker": 0.5}, (4, 0.5, 4.0, 3)),
        (RESOURCES, {"gpus_per_worker": 0, "workers": 4}, (4, 0, 4.0, 1)),
        ({"CPU": 2.0, "memory": 8e9}, {"workers": 2}, (2, 0.0, 1.0, 1)),
        ({"CPU": 2.0, "memory": 8e9}, {}, (1, 0.0, 2.0, 1)),
        ({"CPU": 32.0, "memory": 9e9}, {}, (2, 0.0, 16.0, 1)),  # memory for two models only
        ({"CPU": 8.0, "memory": 64e9}, {"cpus_per_worker": 2, "hands": 3}, (4, 0.0, 2.0, 3)),
    ],
)
def test_a_cluster_is_divided(
    resources: dict[str, float], options: dict[str, float], expected: tuple[int, float, float, int]
) -> None:
    share = Share.of(resources, RunOptions(**options))  # type: ignore[arg-type]
    assert (share.workers, share.gpus, share.cpus, share.hands) == expected
    assert share.depth == share.hands + 2
    assert share.device == ("cuda" if share.gpus else "cpu")


@pytest.mark.parametrize("options", [{"workers": 3}, {"gpus_per_worker": 4}, {"workers": 2, "cpus_per_worker": 9}])
def test_more_than_there_is_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ClusterError, match="no room"):
        Share.of(RESOURCES, RunOptions(**options))  # type: ignore[arg-type]


def test_the_pace_is_that_of_the_last_scans() -> None:
    times: Iterator[float] = iter([0.0, 10.0, 20.0, 30.0])
    pace = Pace(100, clock=lambda: next(times))
    assert pace.progress(0, "failed").per_hour is None
    pace.skip()
    for status in ("ok", "failed", "ok"):
        pace.step(status)
    report = pace.progress(2, "failed")
    assert (report.done, report.skipped, report.failed, report.in_air) == (4, 1, 1, 2)
    assert report.per_hour == pytest.approx(360)
    assert report.seconds_left == pytest.approx(960)
    assert pace_text(report) == "360 scans/h, 16 min left, 1 failed"
