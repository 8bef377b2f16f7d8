"""The paper's loss: Dice plus cross entropy on each object's logits, averaged over the objects (spec 5.2)."""

from __future__ import annotations

import torch
from monai.losses import DiceCELoss
from torch.nn import functional as F


class ObjectLoss:
    """DiceCE per object: sigmoid, squared prediction, smooth_nr 0, smooth_dr 1e-5; manual and pseudo labels apart.

    ``balance_gt`` multiplies the manual objects' loss by (pseudo objects / manual objects), as stage 4 does.
    ``absent_weight`` multiplies the cross entropy of objects that are not in the patch. Their Dice term is 1 whatever
    is answered (smooth_nr 0), so that only the mean cross entropy over all voxels speaks against a false piece.
    """

    def __init__(self, *, balance_gt: bool = False, absent_weight: float = 1.0) -> None:
        self._balance, self._absent_weight = balance_gt, absent_weight
        self._loss = DiceCELoss(
            include_background=True, sigmoid=True, squared_pred=True, smooth_nr=0.0, smooth_dr=1e-5, reduction="mean"
        )

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor, manual: torch.Tensor) -> torch.Tensor:
        """``logits`` and ``targets`` (B, 1, *window), ``manual`` (B,) bool; a scalar."""
        total = logits.new_zeros(())
        for chosen in (manual, ~manual):
            if not bool(chosen.any()):
                continue
            rows = torch.nonzero(chosen)[:, 0]
            loss = torch.stack([self._of(logits[r : r + 1], targets[r : r + 1].float()) for r in rows]).mean()
            if self._balance and chosen is manual and bool((~manual).any()):
                loss = loss * (float((~manual).sum()) / float(manual.sum()))
            total = total + loss
        return total

    def _of(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = self._loss(logits, target)
        if self._absent_weight == 1.0 or bool(target.any()):
            return loss
        return loss + (self._absent_weight - 1.0) * F.binary_cross_entropy_with_logits(logits, target)
