"""A training step on both branches at once: what is asked for, and how the losses come together."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.training.clicks import with_next_clicks
from VISTA3DLib.training.implants import implanted
from VISTA3DLib.training.joint import JointAnswer
from VISTA3DLib.training.patches import Patch
from VISTA3DLib.training.pieces import visible_pieces
from VISTA3DLib.training.point_sampler import PointSampler
from VISTA3DLib.training.prompts import ObjectPrompt, Prompts, assemble, choose_classes, class_target
from VISTA3DLib.training.settings import StageSettings
from VISTA3DLib.training.steps import PatchTrainer, StepResult, check_loss, patch_objects

Source = Literal["labels", "masses", "pieces"]


class JointTrainer(PatchTrainer):
    """As ``PatchTrainer``, for a network in a ``JointForward``: one step of the optimiser a patch."""

    def train_on(self, patch: Patch, rng: np.random.Generator, shared_rng: np.random.Generator) -> StepResult | None:
        """Classes and clicks on one patch; None when there is nothing to ask for in any process."""
        stage = self._stage
        # Drawn together, so that processes that wait for each other do equal work.
        use_classes = shared_rng.random() >= stage.drop_label_prob
        use_points = shared_rng.random() >= stage.drop_point_prob
        chances = (stage.mirror_prob, stage.implant_prob, stage.piece_prob)
        mirror, implant, piece = (p > 0 and shared_rng.random() < p for p in chances)
        if mirror or implant or piece:
            source: Source = "masses" if implant else "pieces" if piece else "labels"
            patch, points = unnamed_objects(patch, self._catalogue, stage, rng, source, mirror=mirror)
            classes = None
        else:
            classes = class_objects(patch, self._catalogue, stage, rng, self._point_only) if use_classes else None
            points = click_objects(patch, self._catalogue, stage, rng) if use_points else None
        if not self._world.any(classes is not None or points is not None):
            return None
        rounds = 1 if shared_rng.random() < stage.skip_iterations else stage.iterations

        def next_clicks(asked: Prompts, logits: torch.Tensor) -> Prompts | None:
            return with_next_clicks(asked, logits, self._catalogue, rng)

        self._optimiser.zero_grad(set_to_none=True)
        image = self._placed(patch.image)
        class_ids = classes.class_ids if classes is not None else None
        if class_ids is None and points is None:  # another process has work: take part with a loss of zero
            class_ids = torch.ones(1, 1, dtype=torch.long)
        with self._runtime.autocast():
            answer = self._network(
                image, None if class_ids is None else class_ids.to(image.device), points, next_clicks, rounds
            )
        loss = self._joint_loss(answer, classes)
        value = float(loss.detach())
        check_loss(value, patch, stage)
        self._backward(loss)
        count = (len(classes) if classes is not None else 0) + (len(points) if points is not None else 0)
        return StepResult(losses=(value,) if count else (), objects=count)

    def _joint_loss(self, answer: JointAnswer, classes: Prompts | None) -> torch.Tensor:
        """The classes' loss plus the mean loss of the rounds of clicks."""
        parts = []
        if answer.classes is not None:
            logits = answer.classes.float()
            if classes is None:
                parts.append(logits.sum() * 0.0)
            else:
                parts.append(self._loss(logits, classes.targets.to(logits.device), classes.manual))
        for asked, logits in answer.rounds:
            targets = asked.targets.to(logits.device)
            parts.append(self._loss(logits.float(), targets, asked.manual) / len(answer.rounds))
        return torch.stack(parts).sum()


def class_objects(
    patch: Patch,
    catalogue: ClassCatalogue,
    stage: StageSettings,
    rng: np.random.Generator,
    point_only: tuple[int, ...] = (),
) -> Prompts | None:
    """Annotated classes, present and absent, without points; from the manual and the pseudo label."""
    objects = []
    sources = [(patch.label, patch.class_ids, True)]
    if stage.pseudo_labels:
        sources.append((patch.pseudo_label, patch.pseudo_ids, False))
    for label, class_ids, manual in sources:
        if label is not None:
            asked = [c for c in class_ids if c not in point_only]
            present, absent = choose_classes(label, asked, catalogue, stage, rng)
            objects += [
                ObjectPrompt(class_id=c, target=class_target(label, c, catalogue), manual=manual)
                for c in (*present, *absent)
            ]
    return assemble(objects, replace(stage, drop_label_prob=0.0, drop_point_prob=1.0), rng) if objects else None


def unnamed_objects(
    patch: Patch,
    catalogue: ClassCatalogue,
    stage: StageSettings,
    rng: np.random.Generator,
    source: Source,
    *,
    mirror: bool,
) -> tuple[Patch, Prompts | None]:
    """The patch, in a mirror or with masses in it, and clicks on what it shows, all of it without a name.

    In a mirror right is left, an organ with a mass in it is another organ, and a piece that one can see may be half of
    one: only as something new are they true.
    """
    if mirror:
        patch = patch.mirrored([axis for axis in range(3) if rng.random() < 0.5])
    if source == "labels":
        return patch, click_objects(patch, catalogue, replace(stage, zero_shot_prob=1.0), rng)
    if source == "masses":
        found = implanted(patch.image, stage.max_objects, rng)
        patch, masks = replace(patch, image=found.image), found.masks
    else:
        masks = visible_pieces(patch.image, stage.max_objects, rng)
    sampler = PointSampler(catalogue, stage.max_point, rng, central_prob=stage.central_prob)
    objects = [sampler.new_structure(mask) for mask in masks]
    by_points = replace(stage, drop_label_prob=1.0, drop_point_prob=0.0)
    return patch, assemble(objects, by_points, rng) if objects else None


def click_objects(
    patch: Patch, catalogue: ClassCatalogue, stage: StageSettings, rng: np.random.Generator
) -> Prompts | None:
    """Objects with points; each is called new (zero-shot) with the probability of the stage."""
    by_points = replace(
        stage, drop_label_prob=1.0, drop_point_prob=0.0, max_foreprompt=stage.max_objects, max_backprompt=0
    )
    objects = [o for o in patch_objects(patch, catalogue, by_points, rng) if o.points]
    if len(objects) > stage.max_objects:
        chosen = rng.choice(len(objects), stage.max_objects, replace=False)
        objects = [objects[i] for i in sorted(chosen)]
    objects = [as_new(o) if rng.random() < stage.zero_shot_prob else o for o in objects]
    return assemble(objects, by_points, rng) if objects else None


def as_new(item: ObjectPrompt) -> ObjectPrompt:
    """The object asked for as a structure that the model does not know: plain point labels, the zero-shot token."""
    return replace(item, zero_shot=True, labels=tuple(label % 2 for label in item.labels))
