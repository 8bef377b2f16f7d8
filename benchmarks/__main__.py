"""Run all benchmarks and print their table; ``--write`` puts it into docs/benchmarks.md."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import psutil
import torch

from benchmarks import stitching
from benchmarks.measure import Measurement, best_of

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
START, END = "<!-- engine table: python -m benchmarks --write -->", "<!-- end of engine table -->"


def row(name: str, bar: str, ours: Measurement, theirs: Measurement, ratio: float, remark: str) -> str:
    """One line of the table."""
    return (
        f"| {name} | {theirs.cpu:.2f} s, {theirs.peak_mb:.0f} MB | {ours.cpu:.2f} s, {ours.peak_mb:.0f} MB | "
        f"1/{ratio:.1f} | {bar} | {remark} |"
    )


def table() -> list[str]:
    """Measure everything, reference and ours in turn."""
    lines = [
        "| what | reference: CPU time, peak memory | ours | ratio | bar | remarks |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    a, b = best_of("benchmarks.resampling", "ours", 3), best_of("benchmarks.resampling", "theirs", 1)
    equal = "labels equal" if a.result["back"] == b.result["back"] else "labels differ at ties"
    lines.append(
        row("resampling both ways, 512 x 512 x 600", "<= 1/10 of CPU time, <= 400 MB", a, b, b.cpu / a.cpu, equal)
    )
    a, b = best_of("benchmarks.stitching", "ours", 2), best_of("benchmarks.stitching", "theirs", 1)
    different, voxels = stitching.differing()
    lines.append(
        row(
            "stitching and classifying 117 classes, 416 x 160 x 160",
            "<= 1/6 of peak memory, 0 differing voxels",
            a,
            b,
            b.peak_mb / a.peak_mb,
            f"ratio of memory; {different} of {voxels:,} voxels differ",
        )
    )
    a, b = best_of("benchmarks.clicks", "ours", 1), best_of("benchmarks.clicks", "theirs", 1)
    first = f"first click {a.result['first_cpu']:.0f} s of CPU against {b.result['first_cpu']:.0f} s"
    lines.append(row("second click, full network", "<= 1/10 of CPU time", a, b, b.cpu / a.cpu, first))
    a, b = best_of("benchmarks.merging", "ours", 3), best_of("benchmarks.merging", "theirs", 3)
    same = "same mask" if a.result == b.result else f"{a.result} against {b.result}"
    lines.append(row("Algorithm 1 on 128 x 128 x 128, 5 times", "<= 1/5 of CPU time", a, b, b.cpu / a.cpu, same))
    return lines


def machine() -> str:
    """One line that names where the numbers come from."""
    memory = psutil.virtual_memory().total / 2**30
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{_processor()}, {psutil.cpu_count()} cores, {memory:.0f} GiB, {device}, "
        f"Python {platform.python_version()}, PyTorch {torch.__version__}"
    )


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in information.read_text().splitlines() if "model name" in line]
        if (information.exists())
        else []
    )
    return names[0] if names else platform.processor()


def main() -> None:
    """Print the table, or write it into the document."""
    text = "\n".join([f"Machine: {machine()}.", "", *table()])
    print(text)
    if "--write" in sys.argv:
        document = DOCUMENT.read_text()
        before, after = document.split(START)[0], document.split(END)[1]
        DOCUMENT.write_text(f"{before}{START}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
