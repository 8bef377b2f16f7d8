"""What ``vista3d segment`` says at its end, to a person and to a program."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from VISTA3DLib import __version__
from VISTA3DLib.geometry import Vector3
from VISTA3DLib.results import Change
from VISTA3DLib.volume import Finding


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What was done, for a person and for a program."""

    ct: str
    shape: tuple[int, int, int]
    spacing: Vector3
    model: dict[str, Any]
    mode: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    segments: tuple[dict[str, Any], ...]
    changes: tuple[Change, ...]
    outputs: tuple[Path, ...]
    seconds: dict[str, float]
    peak: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; volumes in ml, times in seconds, memory in bytes."""
        changes = [
            {"kind": c.kind, "voxels": c.voxels, "ml": round(c.ml, 4), "center_ras": c.center} for c in self.changes
        ]
        return {
            "version": __version__,
            "ct": {"name": self.ct, "shape": self.shape, "spacing_mm": self.spacing},
            "model": self.model,
            "mode": self.mode,
            "findings": [{"code": f.code, "message": f.message} for f in self.findings],
            "notes": list(self.notes),
            "segments": list(self.segments),
            "changes": changes,
            "outputs": [str(p) for p in self.outputs],
            "seconds": {k: round(v, 4) for k, v in self.seconds.items()},
            "peak_memory_bytes": self.peak,
        }

    def lines(self) -> list[str]:
        """What a person wants to know: segments with volumes, files, time."""
        rows = [f"{s['id']:>5}  {s['name']:<34} {s['ml']:>10.1f} ml" for s in self.segments if s["voxels"]]
        empty = [s["name"] for s in self.segments if not s["voxels"]]
        if empty:
            more = f" and {len(empty) - 6} more" if len(empty) > 6 else ""
            rows.append(f"not found: {', '.join(empty[:6])}{more}")
        for change in self.changes:
            rows.append(f"{change.kind} {change.ml:.2f} ml")
        rows += [f"wrote {p}" for p in self.outputs]
        total = sum(self.seconds.values())
        return [*rows, f"{total:.1f} s ({', '.join(f'{k} {v:.1f}' for k, v in self.seconds.items())})"]


def peak_memory() -> dict[str, int]:
    """Peak bytes of this process and of the GPU, where they can be known."""
    import sys

    import torch

    peak: dict[str, int] = {}
    if sys.platform == "win32":
        import psutil

        peak["process"] = int(psutil.Process().memory_info().peak_wset)
    else:
        import resource

        scale = 1 if sys.platform == "darwin" else 1024
        peak["process"] = int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * scale
    if torch.cuda.is_available():
        peak["cuda"] = int(torch.cuda.max_memory_allocated())
    return peak
