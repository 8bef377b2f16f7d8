"""The next click of a simulated person during training: one where something is missing, one where too much is."""

from __future__ import annotations

import numpy as np
import torch

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.training.point_sampler import BORDER, eroded
from VISTA3DLib.training.prompts import PADDING, Prompts, sample_voxels


def with_next_clicks(
    prompts: Prompts, logits: torch.Tensor, catalogue: ClassCatalogue, rng: np.random.Generator
) -> Prompts | None:
    """Add to each object a positive point in what was missed and a negative one in what is too much (spec 5.6).

    Errors are eroded by a voxel first, and clicks keep away from the border along the first two axes. ``logits``
    (B, 1, *window). Returns None when no object has an error left to click on.
    """
    if prompts.points is None or prompts.point_labels is None:
        return None
    predicted = logits.detach()[:, 0] > 0
    added = torch.zeros(len(prompts), 2, 3)
    labels = torch.full((len(prompts), 2), PADDING, dtype=torch.long)
    for row in range(len(prompts)):
        target = prompts.targets[row, 0]
        known = int(prompts.prompt_class[row, 0])
        class_id = known if known <= catalogue.last_supported else None
        for column, (error, positive) in enumerate(
            ((target & ~predicted[row], True), (predicted[row] & ~target, False))
        ):
            place = sample_voxels(_clickable(error), 1, rng)
            if place:
                added[row, column] = torch.tensor(place[0])
                labels[row, column] = catalogue.point_label(class_id, positive)
    if bool((labels == PADDING).all()):
        return None
    return Prompts(
        class_ids=prompts.class_ids,
        points=torch.cat([prompts.points, added], dim=1),
        point_labels=torch.cat([prompts.point_labels, labels], dim=1),
        prompt_class=prompts.prompt_class,
        targets=prompts.targets,
        manual=prompts.manual,
    )


def _clickable(error: torch.Tensor) -> torch.Tensor:
    error = eroded(error)
    for axis in (0, 1):
        margin = round(BORDER * error.shape[axis] / 128)
        error.narrow(axis, 0, margin).zero_()
        error.narrow(axis, error.shape[axis] - margin, margin).zero_()
    return error
