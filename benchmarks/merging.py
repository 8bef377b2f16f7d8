"""Algorithm 1 on one window of 128 x 128 x 128 with three clicks."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from benchmarks.measure import measured, report

POINTS = np.array([[40, 64, 64], [90, 30, 70], [64, 100, 50]])
SIGNS = (True, False, True)
REPEATS = 5


def the_masks() -> tuple[np.ndarray, np.ndarray]:
    """An old mask and a proposal with many components each."""
    rng = np.random.default_rng(0)
    smooth = [ndimage.gaussian_filter(rng.normal(size=(128,) * 3), 2.0) for _ in range(2)]
    return smooth[0] > 0.02, smooth[0] * 0.7 + smooth[1] * 0.7 > 0.02


def ours() -> None:
    """cc3d, boolean masks, only the sides that were clicked."""
    from VISTA3DLib.merge import apply_parts, merge_by_components

    base, proposal = the_masks()

    def work() -> dict[str, Any]:
        for _ in range(REPEATS):
            merged = apply_parts(base, merge_by_components(base, proposal, POINTS, SIGNS))
        return {"voxels": int(merged.sum())}

    report(measured(work))


def theirs() -> None:
    """MONAI's combination of logits by components."""
    from monai.networks.nets.vista3d import VISTA3D

    base, proposal = the_masks()
    shell = VISTA3D(torch.nn.Identity(), torch.nn.Identity(), torch.nn.Identity())
    old, new = (torch.from_numpy(np.where(m, 2.0, -2.0).astype(np.float32))[None, None] for m in (base, proposal))
    points = torch.from_numpy(POINTS.astype(np.float32))[None]
    labels = torch.tensor([[int(s) for s in SIGNS]])

    def work() -> dict[str, Any]:
        for _ in range(REPEATS):
            merged = shell.connected_components_combine(old.clone(), new.clone(), points, labels, torch.tensor([True]))
        return {"voxels": int((merged > 0).sum())}

    report(measured(work))


if __name__ == "__main__":
    {"ours": ours, "theirs": theirs}[sys.argv[1]]()
