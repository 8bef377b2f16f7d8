"""Whatever is killed, the final table is the one of a run that nobody disturbed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from VISTA3DLib.cohort.cluster import LOST_SECONDS, Cluster, ClusterLostError
from VISTA3DLib.cohort.pace import CohortProgress
from VISTA3DLib.cohort.run import CohortRun, run_cohort
from VISTA3DLib.cohort.settings import RunOptions

PATIENCE = 240.0  # seconds, for a busy machine; nothing depends on how long it takes


def without_interruption(source: Path, tmp_path: Path, tools: SimpleNamespace) -> Any:
    output = tmp_path / "undisturbed"
    run_cohort(tools.request_of(source, output), tools.thresholds())
    return tools.final_tables(output)


@pytest.fixture
def scans(tmp_path: Path, tools: SimpleNamespace) -> Path:
    folder = tmp_path / "scans"
    for number in range(8):
        tools.write_ct(folder / f"ct{number}.nii.gz", seed=number)
    (folder / "ct3 zero.nii.gz").touch()
    (folder / "ct5 copy.nii.gz").write_bytes((folder / "ct5.nii.gz").read_bytes())
    return folder


def processes(name: str) -> list[psutil.Process]:
    """The cluster's processes of one actor class."""
    return [p for p in psutil.Process().children(recursive=True) if p.name().startswith(name[:14])]


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("victim", ["ray::ModelActor", "ray::HandActor"])
def test_killing_a_process_changes_nothing(scans: Path, tmp_path: Path, tools: SimpleNamespace, victim: str) -> None:
    killed = []

    def kill_once(report: CohortProgress) -> None:
        if report.done == 4:
            victims = processes(victim)
            victims[0].kill()
            killed.append(victims[0])

    request = tools.request_of(scans, tmp_path / "out", options=tools.two)
    CohortRun(request, progress=kill_once, make=tools.thresholds(seconds=0.3)).run()

    assert killed
    assert tools.final_tables(tmp_path / "out") == without_interruption(scans, tmp_path, tools)


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("depth", [1, 4])
def test_a_scan_that_kills_its_process_once_is_done_again(
    scans: Path, tmp_path: Path, tools: SimpleNamespace, depth: int
) -> None:
    make = tools.thresholds(deadly="ct2", once=str(tmp_path / "died"))
    options = replace(tools.one, depth=depth)
    run_cohort(tools.request_of(scans, tmp_path / "out", options=options), make)
    assert (tmp_path / "died").exists()
    if depth == 1:  # with another scan in the model, too, it is not known which of them did it: neither is blamed
        assert tools.scans_of(tmp_path / "out")["ct2"]["attempts"] == 2
    assert tools.final_tables(tmp_path / "out") == without_interruption(scans, tmp_path, tools)


@pytest.mark.usefixtures("cluster")
def test_a_scan_that_always_kills_its_process_is_the_only_one_to_fail(
    scans: Path, tmp_path: Path, tools: SimpleNamespace
) -> None:
    summary = run_cohort(tools.request_of(scans, tmp_path / "out"), tools.thresholds(deadly="ct2"))
    rows = tools.scans_of(tmp_path / "out")
    assert summary.counts == {"ok": 7, "failed": 2, "duplicate": 1}
    assert (rows["ct2"]["status"], rows["ct2"]["cause"], rows["ct2"]["stage"]) == (
        "failed",
        "the process died",
        "segment",
    )
    assert all(row["attempts"] == 1 for name, row in rows.items() if name != "ct2")


DRIVER = """
import pickle, sys
from ray import cloudpickle
request, make = cloudpickle.loads(open(sys.argv[1], "rb").read())
from VISTA3DLib.cohort.run import run_cohort
summary = run_cohort(request, make)
print(summary.ended)
"""


def start_driver(tmp_path: Path, request: Any, make: Any) -> subprocess.Popen[str]:
    """A cohort in a process of its own."""
    from ray import cloudpickle

    job = tmp_path / "job.pickle"
    job.write_bytes(cloudpickle.dumps((request, make)))
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(job)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"},
    )


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    start = time.monotonic()
    while not condition():
        if process.poll() is not None:
            pytest.fail(f"The run ended too early: {process.communicate()[0][-3000:]}")
        assert time.monotonic() - start < PATIENCE
        time.sleep(0.05)


def records(output: Path) -> int:
    return sum(1 for _ in (output / "manifest" / "records").glob("*/*.json"))


@pytest.mark.parametrize("finished", [0, 3, 6])
def test_killing_the_driver_loses_only_what_was_in_the_air(
    cluster: str, scans: Path, tmp_path: Path, tools: SimpleNamespace, finished: int
) -> None:
    output = tmp_path / "out"
    options = RunOptions(ray=cluster, workers=2, cpus_per_worker=1)
    request = tools.request_of(scans, output, options=options)
    driver = start_driver(tmp_path, request, tools.thresholds(seconds=0.2))
    wait_for(lambda: (output / "cohort.json").exists() and records(output) >= finished, driver)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    done = records(output)
    assert done >= finished

    again = run_cohort(tools.request_of(scans, output, resume=True), tools.thresholds())

    # Only finished scans with a result are skipped; a row that failed and a duplicate are looked at again.
    assert again.skipped >= done - 2
    assert tools.final_tables(output) == without_interruption(scans, tmp_path, tools)


def test_losing_the_cluster_leaves_a_table_that_can_be_resumed(
    cluster: str, scans: Path, tmp_path: Path, tools: SimpleNamespace
) -> None:
    output = tmp_path / "out"
    options = RunOptions(workers=1, cpus_per_worker=1, object_store_bytes=200 * 2**20)
    driver = start_driver(tmp_path, tools.request_of(scans, output, options=options), tools.thresholds(seconds=0.5))
    wait_for(lambda: records(output) >= 2, driver)
    for process in psutil.Process(driver.pid).children(recursive=True):  # the machine goes down
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    said, _ = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 0, said[-3000:]

    rows = tools.scans_of(output)
    assert len(rows) == 10
    lost = [row for row in rows.values() if row["cause"] == "cluster lost"]
    assert "failed" in {row["status"] for row in lost}
    assert all(row["error"] for row in lost)

    run_cohort(tools.request_of(scans, output, resume=True), tools.thresholds())
    assert tools.final_tables(output) == without_interruption(scans, tmp_path, tools)


def test_a_head_that_does_not_answer_is_noticed(cluster: str) -> None:
    del cluster
    with Cluster(RunOptions()) as joined:
        joined.check()
        joined._address = "127.0.0.1:9"  # nobody listens there
        joined.check(clock=lambda: 100.0)
        with pytest.raises(ClusterLostError, match="does not answer"):
            joined.check(clock=lambda: 100.0 + LOST_SECONDS)


def test_no_cluster_at_an_address_is_said(tmp_path: Path, tools: SimpleNamespace, scans: Path) -> None:
    request = tools.request_of(scans, tmp_path / "out", options=RunOptions(ray="127.0.0.1:9"))
    driver = start_driver(tmp_path, request, tools.thresholds())
    said, _ = driver.communicate(timeout=PATIENCE)
    assert driver.returncode != 0
    assert "There is no Ray cluster at 127.0.0.1:9" in said
    assert json.loads((tmp_path / "out" / "cohort.json").read_text())["model"] is None
