"""The loop of ``auto+point`` in one window: three trials of clicks, and the truth decides what is kept (spec 7.1).

This is an upper bound of what clicks can repair, not a person: nobody knows the Dice of a window while clicking.
Against the reference the merge is the corrected one of ``merge.py``, object by object and without NaN (spec 4.3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from VISTA3DLib.evaluation.window_clicks import WindowClick, trial_clicks
from VISTA3DLib.merge import merge_by_components
from VISTA3DLib.results import BoolArray

TRIALS = 3

PointLogits = Callable[[Sequence[WindowClick]], torch.Tensor]


def corrected_by_oracle(
    automatic: torch.Tensor, target: BoolArray, ask: PointLogits, rng: np.random.Generator
) -> tuple[torch.Tensor, int]:
    """The best logits (*window) of automatic ones and ``TRIALS`` corrections, and how many clicks were tried.

    Each trial goes on from where the last one ended, kept or not, as in the reference; its own clicks alone are
    shown to the network. ``ask`` gives the point branch's logits (*window, float32, on the CPU) of some clicks.
    """
    best, best_score = automatic, window_score(automatic, target)
    current, given = automatic, 0
    for trial in range(TRIALS):
        clicks = trial_clicks((current > 0).numpy(), target, rng, first=trial == 0)
        if not clicks:
            break
        given += len(clicks)
        current = merged_logits(current, ask(clicks), clicks)
        score = window_score(current, target)
        if score > best_score:
            best, best_score = current, score
    return best, given


def merged_logits(base: torch.Tensor, proposed: torch.Tensor, clicks: Sequence[WindowClick]) -> torch.Tensor:
    """``base`` with the components that the clicks hit taken from ``proposed`` (Algorithm 1, in logits)."""
    places = np.array([c.index for c in clicks], dtype=np.float64)
    merged = base.clone()
    parts = merge_by_components((base > 0).numpy(), (proposed > 0).numpy(), places, [c.positive for c in clicks])
    for part in parts:
        view, chosen = merged[part.box.slices], torch.from_numpy(part.mask)
        view[chosen] = proposed[part.box.slices][chosen]
    return merged


def window_score(logits: torch.Tensor, target: BoolArray) -> float:
    """Dice of a window; where the object is absent, minus the number of voxels, so that fewer are better."""
    predicted = (logits > 0).numpy()
    count, true = int(np.count_nonzero(predicted)), int(np.count_nonzero(target))
    if not true:
        return -float(count)
    return 2.0 * int(np.count_nonzero(predicted & target)) / (count + true)
