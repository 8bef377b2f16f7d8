"""One patch through training: objects, prompts, forward, backward, next clicks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.devices import Runtime
from VISTA3DLib.errors import TrainingError
from VISTA3DLib.training.clicks import with_next_clicks
from VISTA3DLib.training.distributed import World
from VISTA3DLib.training.losses import ObjectLoss
from VISTA3DLib.training.patches import Patch
from VISTA3DLib.training.point_sampler import PointSampler
from VISTA3DLib.training.prompts import ObjectPrompt, Prompts, assemble, choose_classes, class_target
from VISTA3DLib.training.settings import StageSettings


def patch_objects(
    patch: Patch,
    catalogue: ClassCatalogue,
    stage: StageSettings,
    rng: np.random.Generator,
    point_only: tuple[int, ...] = (),
) -> list[ObjectPrompt]:
    """The objects that a patch is asked for: from its manual label and, where there is one, its pseudo label.

    Classes of ``point_only`` are left out where class prompts are used.
    """
    by_points = stage.drop_label_prob == 1.0
    sampler = PointSampler(catalogue, stage.max_point, rng, central_prob=stage.central_prob)
    objects: list[ObjectPrompt] = []
    sources = [(patch.label, patch.class_ids, True)]
    if stage.pseudo_labels:
        sources.append((patch.pseudo_label, patch.pseudo_ids, False))
    for label, class_ids, manual in sources:
        if label is None:
            continue
        asked = [c for c in class_ids if by_points or c not in point_only]
        present, absent = choose_classes(label, asked, catalogue, stage, rng)
        vary = stage.supervoxels and patch.supervoxels is not None and (patch.reliable or manual)
        for class_id in present:
            target = class_target(label, class_id, catalogue)
            if vary and patch.supervoxels is not None:
                objects.append(sampler.varied(class_id, label, target, patch.supervoxels, manual=manual))
            else:
                objects.append(sampler.regular(class_id, target, manual=manual))
        if not by_points:  # only a class prompt can ask for what is not there
            objects += [sampler.regular(c, class_target(label, c, catalogue), manual=manual) for c in absent]
    if stage.supervoxels and patch.supervoxels is not None and not objects:
        objects += _supervoxel_objects(patch, sampler, stage)
    return objects


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What one patch gave: losses of its iterations, and how many objects it had."""

    losses: tuple[float, ...]
    objects: int


class PatchTrainer:
    """Trains a network on patches; the same seeds give the same losses."""

    def __init__(
        self,
        network: torch.nn.Module,
        optimiser: torch.optim.Optimizer,
        catalogue: ClassCatalogue,
        stage: StageSettings,
        runtime: Runtime,
        world: World,
        *,
        point_only: tuple[int, ...] = (),
        clip_norm: float | None = None,
    ) -> None:
        self._point_only = point_only
        self._network, self._optimiser, self._catalogue, self._stage = network, optimiser, catalogue, stage
        self._runtime, self._world, self._clip = runtime, world, clip_norm or stage.clip_norm
        self._loss = ObjectLoss(balance_gt=stage.balance_gt, absent_weight=stage.absent_weight)
        self._scaler = torch.amp.GradScaler(runtime.device.type, enabled=runtime.precision == "fp16")

    def train_on(self, patch: Patch, rng: np.random.Generator, shared_rng: np.random.Generator) -> StepResult | None:
        """All iterations on one patch; None when it has nothing to ask for (in every process).

        ``rng`` is this process's own; ``shared_rng`` is the same in all of them and decides what must agree.
        """
        objects = patch_objects(patch, self._catalogue, self._stage, rng, self._point_only)
        prompts = assemble(objects, self._stage, rng) if objects else None
        if not self._world.any(prompts is not None):
            return None
        image = self._placed(patch.image)
        count = 1 if shared_rng.random() < self._stage.skip_iterations else self._stage.iterations
        losses = []
        for iteration in range(count):
            logits, loss = self._iterate(image, prompts, patch)
            if loss is not None:
                losses.append(loss)
            if iteration + 1 == count:
                break
            clicked = None
            if prompts is not None and logits is not None:
                clicked = with_next_clicks(prompts, logits.float().cpu(), self._catalogue, rng)
            if not self._world.any(clicked is not None):
                break
            prompts = clicked or prompts
        return StepResult(losses=tuple(losses), objects=len(prompts) if prompts else 0)

    def _placed(self, image: torch.Tensor) -> torch.Tensor:
        image = image[None].to(self._runtime.device)
        if self._runtime.device.type == "mps":
            return image
        return image.contiguous(memory_format=torch.channels_last_3d)

    def _iterate(
        self, image: torch.Tensor, prompts: Prompts | None, patch: Patch
    ) -> tuple[torch.Tensor | None, float | None]:
        self._optimiser.zero_grad(set_to_none=True)
        if prompts is None:  # another process has work: take part with a loss of zero
            with self._runtime.autocast():
                nothing = self._network(image, class_vector=torch.ones(1, 1, dtype=torch.long, device=image.device))
            self._backward(nothing.float().sum() * 0.0)
            return None, None
        with self._runtime.autocast():
            logits = ask(self._network, image, prompts)
        loss = self._loss(logits.float(), prompts.targets.to(image.device), prompts.manual)
        value = float(loss.detach())
        check_loss(value, patch, self._stage)
        self._backward(loss)
        return logits, value

    def _backward(self, loss: torch.Tensor) -> None:
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.unscale_(self._optimiser)
        parameters = [p for group in self._optimiser.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, self._clip)
        self._scaler.step(self._optimiser)
        self._scaler.update()


def check_loss(value: float, patch: Patch, stage: StageSettings) -> None:
    """Raise ``TrainingError`` with the case's name for a loss that is not finite."""
    if not np.isfinite(value):
        raise TrainingError(
            f"The loss is {value} on case {patch.case}, stage {stage.name}.",
            "Look at that case's image and labels, or lower the learning rate; the last checkpoint is kept.",
        )


def ask(network: torch.nn.Module, image: torch.Tensor, prompts: Prompts) -> torch.Tensor:
    """Logits (B, 1, *window) of MONAI's own forward in its training form (no patch coordinates)."""

    def moved(tensor: torch.Tensor | None) -> torch.Tensor | None:
        return None if tensor is None else tensor.to(image.device)

    logits: torch.Tensor = network(
        image,
        point_coords=moved(prompts.points),
        point_labels=moved(prompts.point_labels),
        class_vector=moved(prompts.class_ids),
        prompt_class=moved(prompts.prompt_class),
    )
    return logits


def _supervoxel_objects(patch: Patch, sampler: PointSampler, stage: StageSettings) -> list[ObjectPrompt]:
    """A patch without any labelled class still has supervoxels to ask for."""
    assert patch.supervoxels is not None
    nothing = torch.zeros_like(patch.supervoxels)
    label = patch.label if patch.label is not None else nothing
    wanted = [sampler.random_supervoxel(label, patch.supervoxels) for _ in range(stage.max_foreprompt or 4)]
    return [w for w in wanted if w is not None and w.points]
