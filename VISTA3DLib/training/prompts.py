"""What the network is asked about a patch during training: classes, points, and the right answers (spec 5.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.training.settings import StageSettings

PADDING = -1  # label of a point that is none
ZERO_SHOT_SHIFT = 512  # added to the id of a target that is no class of its own


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompts:
    """Questions about one patch, one row an object.

    ``class_ids`` (B, 1) or None: ask the automatic branch. ``points`` (B, N, 3) patch voxels with ``point_labels``
    (B, N), -1 for padding, or None: ask the point branch. ``prompt_class`` (B, 1): ids above the catalogue's
    ``last_supported`` take the zero-shot token. ``targets`` (B, 1, *window) bool. ``manual`` (B,): from a manual
    label rather than a pseudo label.
    """

    class_ids: torch.Tensor | None
    points: torch.Tensor | None
    point_labels: torch.Tensor | None
    prompt_class: torch.Tensor
    targets: torch.Tensor
    manual: torch.Tensor

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectPrompt:
    """One object to ask for: its target (*window) bool and its points; no points for an absent class."""

    class_id: int
    target: torch.Tensor
    points: tuple[tuple[float, float, float], ...] = ()
    labels: tuple[int, ...] = ()
    zero_shot: bool = False
    manual: bool = True


PointSampler = Callable[[int, torch.Tensor, int, int], ObjectPrompt]


def choose_classes(
    label: torch.Tensor,
    class_ids: Sequence[int],
    catalogue: ClassCatalogue,
    stage: StageSettings,
    rng: np.random.Generator,
) -> tuple[list[int], list[int]]:
    """Classes of a patch that will be asked for: some that are there, some that are annotated but absent.

    Only annotated classes are ever asked for: what was not annotated is unknown (partial labels).
    """
    present = {int(v) for v in torch.unique(label).tolist()} - {0}
    foreground = [c for c in class_ids if present & {c, *catalogue.contains.get(c, ())}]
    background = [c for c in class_ids if c not in foreground]
    return (
        _some(foreground, stage.max_foreprompt, rng),
        _some(background, stage.max_backprompt, rng),
    )


def class_target(label: torch.Tensor, class_id: int, catalogue: ClassCatalogue) -> torch.Tensor:
    """Where a class is (bool): its own voxels and those of the classes that it contains (liver: its tumours)."""
    target = label == class_id
    for part in catalogue.contains.get(class_id, ()):
        target |= label == part
    return target


def point_counts(max_point: int, rng: np.random.Generator) -> tuple[int, int]:
    """How many positive (at least one) and negative points to start with: mostly few (spec 5.4)."""
    spread = max_point // 2
    positive = min(max_point, int(abs(rng.normal(0, spread))) + 1)
    negative = min(max_point, int(abs(rng.normal(0, spread))))
    return positive, negative


def assemble(
    objects: Sequence[ObjectPrompt], stage: StageSettings, rng: np.random.Generator, *, zero_class: bool = False
) -> Prompts | None:
    """Put objects into one batch, dropping class prompts or points as the stage says; None if nothing is left.

    Points alone cannot ask for an absent class, and class prompts cannot ask for an object without a class.
    """
    use_classes = rng.random() >= stage.drop_label_prob
    use_points = not use_classes or rng.random() >= stage.drop_point_prob
    chosen = [o for o in objects if (use_classes or o.points) and not (use_classes and o.zero_shot)]
    if not chosen and use_classes and stage.drop_point_prob < 1.0:  # only objects without a class: ask by points
        use_classes, use_points = False, True
        chosen = [o for o in objects if o.points]
    if not chosen:
        return None
    points, labels = pad_points([o.points for o in chosen], [o.labels for o in chosen])
    return Prompts(
        class_ids=torch.tensor([[o.class_id] for o in chosen]) if use_classes else None,
        points=points if use_points and points.shape[1] else None,
        point_labels=labels if use_points and points.shape[1] else None,
        prompt_class=torch.tensor([[o.class_id + (ZERO_SHOT_SHIFT if o.zero_shot else 0)] for o in chosen]),
        targets=torch.stack([o.target for o in chosen])[:, None],
        manual=torch.tensor([o.manual for o in chosen]),
    )


def pad_points(
    points: Sequence[Sequence[tuple[float, float, float]]], labels: Sequence[Sequence[int]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Lists of different length as (B, N, 3) and (B, N), filled up with padding points."""
    longest = max((len(p) for p in points), default=0)
    coordinates = torch.zeros(len(points), longest, 3)
    signs = torch.full((len(points), longest), PADDING, dtype=torch.long)
    for row, (places, values) in enumerate(zip(points, labels, strict=True)):
        if places:
            coordinates[row, : len(places)] = torch.tensor(places, dtype=torch.float32)
            signs[row, : len(places)] = torch.tensor(values, dtype=torch.long)
    return coordinates, signs


def sample_voxels(mask: torch.Tensor, count: int, rng: np.random.Generator) -> tuple[tuple[float, float, float], ...]:
    """``count`` voxels of a mask, drawn with replacement; none if the mask is empty."""
    places = torch.nonzero(mask)
    if not len(places) or count <= 0:
        return ()
    drawn = rng.integers(0, len(places), count)
    return tuple((float(i), float(j), float(k)) for i, j, k in places[drawn].tolist())


def _some(values: list[int], most: int | None, rng: np.random.Generator) -> list[int]:
    if most is None or len(values) <= most:
        return values
    return [values[i] for i in sorted(rng.choice(len(values), most, replace=False))]
