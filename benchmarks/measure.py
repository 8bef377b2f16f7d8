"""Measuring one piece of work in a process of its own: wall and CPU seconds, peak memory beyond the start."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one piece of work took; ``result`` is whatever it wants to report."""

    wall: float
    cpu: float
    peak_mb: float
    result: dict[str, Any]


def measured(work: Callable[[], dict[str, Any]]) -> Measurement:
    """Run work here and watch its memory (every 2 ms) and CPU time."""
    process = psutil.Process()
    base = process.memory_info().rss
    peak, running = [base], [True]

    def watch() -> None:
        while running[0]:
            peak[0] = max(peak[0], process.memory_info().rss)
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    running[0] = False
    watcher.join()
    return Measurement(wall=wall, cpu=cpu, peak_mb=(max(peak[0], base) - base) / 1e6, result=result)


def in_process(module: str, side: str) -> Measurement:
    """Run ``module``'s ``side`` (``ours`` or ``theirs``) in a fresh process and return what it measured."""
    command = [sys.executable, "-W", "ignore", "-m", module, side]
    output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return Measurement(**json.loads(output.stdout.splitlines()[-1]))


def report(measurement: Measurement) -> None:
    """Print a measurement as the last line of a process started by ``in_process``."""
    print(json.dumps(asdict(measurement)))


def best_of(module: str, side: str, runs: int) -> Measurement:
    """The run with the least CPU time: the one that was disturbed least."""
    return min((in_process(module, side) for _ in range(runs)), key=lambda m: m.cpu)
