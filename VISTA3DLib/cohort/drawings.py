"""The small drawings of the report, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from VISTA3DLib.cohort.population import FloatArray, Usual

_BINS = 40


def volume_drawing(usual: Usual, low: float, high: float, *, width: int = 360, height: int = 34) -> str:
    """A histogram of volumes on a logarithmic axis from ``low`` to ``high`` ml, the usual range shaded."""
    if not usual.volumes.size:
        return ""
    left, right = math.log10(low), math.log10(high)

    def place(ml: float) -> float:
        return (min(max(math.log10(ml), left), right) - left) / (right - left) * width

    parts = []
    if usual.low is not None and usual.high is not None:
        start, stop = place(usual.low), place(usual.high)
        parts.append(f'<rect class="usual" x="{start:.1f}" y="0" width="{stop - start:.1f}" height="{height}"/>')
    counts, _ = np.histogram(np.log10(usual.volumes), bins=_BINS, range=(left, right))
    step = width / _BINS
    for index, count in enumerate(counts):
        if count:
            tall = max(2.0, count / counts.max() * (height - 3))
            parts.append(
                f'<rect class="bar" x="{index * step + 0.5:.1f}" y="{height - tall:.1f}" width="{step - 1:.1f}" '
                f'height="{tall:.1f}"/>'
            )
    middle = place(float(np.median(usual.volumes)))
    parts.append(f'<line class="middle" x1="{middle:.1f}" y1="0" x2="{middle:.1f}" y2="{height}"/>')
    return f'<svg width="{width}" height="{height}" role="img" aria-label="volumes">{"".join(parts)}</svg>'


def axis_drawing(low: float, high: float, *, width: int = 360) -> str:
    """The axis of the volume drawings: 0.1, 1, 10 ... ml."""
    left, right = math.log10(low), math.log10(high)
    ticks = []
    for power in range(math.ceil(left), math.floor(right) + 1):
        x = (power - left) / (right - left) * width
        anchor = "start" if x < 8 else "end" if x > width - 8 else "middle"
        ticks.append(f'<text x="{x:.1f}" y="11" text-anchor="{anchor}">{10.0**power:g}</text>')
    return f'<svg width="{width}" height="14">{"".join(ticks)}</svg>'


def pace_drawing(finished: Sequence[float], *, width: int = 900, height: int = 130) -> str:
    """Scans per hour over the time of the run; ``finished`` are times in seconds, in any order."""
    if len(finished) < 2:
        return ""
    times: FloatArray = np.sort(np.asarray(finished, dtype=np.float64))
    span = float(times[-1] - times[0])
    if span <= 0:
        return ""
    bins = int(min(60, max(4, len(times) // 5)))
    counts, _ = np.histogram(times, bins=bins, range=(float(times[0]), float(times[-1])))
    rates = counts / (span / bins) * 3600
    top = float(rates.max())
    step, base = width / bins, height - 16
    bars = "".join(
        f'<rect class="bar" x="{i * step + 0.5:.1f}" y="{base - rate / top * (base - 14):.1f}" width="{step - 1:.1f}" '
        f'height="{rate / top * (base - 14):.1f}"><title>{rate:.0f} scans/h</title></rect>'
        for i, rate in enumerate(rates)
    )
    labels = (
        f'<text x="0" y="10">{top:,.0f} scans/h</text><text x="0" y="{height - 2}">start</text>'
        f'<text x="{width}" y="{height - 2}" text-anchor="end">{duration(span)} later</text>'
    )
    line = f'<line class="axis" x1="0" y1="{base}" x2="{width}" y2="{base}"/>'
    return f'<svg viewBox="0 0 {width} {height}" style="width:100%;max-width:{width}px">{bars}{line}{labels}</svg>'


def stages_drawing(seconds: Mapping[str, float], scans: int, *, width: int = 900) -> str:
    """Where the time of a scan goes, stage by stage."""
    shown = [(name, value / scans) for name, value in seconds.items() if value > 0] if scans else []
    if not shown:
        return ""
    top = max(value for _, value in shown)
    total = sum(value for _, value in shown)
    rows = []
    for index, (name, value) in enumerate(shown):
        y = index * 20
        long = value / top * (width - 260)
        rows.append(
            f'<text x="0" y="{y + 13}">{name}</text>'
            f'<rect class="bar" x="90" y="{y + 2}" width="{long:.1f}" height="14"/>'
            f'<text x="{96 + long:.1f}" y="{y + 13}">{value:.2f} s ({value / total:.0%})</text>'
        )
    return f'<svg viewBox="0 0 {width} {len(shown) * 20}" style="width:100%;max-width:{width}px">{"".join(rows)}</svg>'


def duration(seconds: float) -> str:
    """``3 s``, ``12 min``, ``4.2 h``, ``3.1 days``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
