"""The training loop, from top to bottom: stages, epochs, cases, patches; resumable after every epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from monai.networks.nets.vista3d import VISTA3D
from monai.optimizers import WarmupCosineSchedule

from VISTA3DLib.checkpoint import fill_network, save_checkpoint
from VISTA3DLib.devices import Runtime
from VISTA3DLib.files.atomic import written_atomically
from VISTA3DLib.progress import Cancel, ProgressCallback, Tracker
from VISTA3DLib.settings import NetworkSettings
from VISTA3DLib.training.datalist import Case, DataList
from VISTA3DLib.training.distributed import World, wrapped
from VISTA3DLib.training.fast_norm import layout_keeping_norms
from VISTA3DLib.training.history import EpochRecord, History
from VISTA3DLib.training.joint import JointForward
from VISTA3DLib.training.joint_steps import JointTrainer
from VISTA3DLib.training.muon import Muon
from VISTA3DLib.training.patches import PatchSource
from VISTA3DLib.training.run_identity import check_same_run, run_identity
from VISTA3DLib.training.settings import OptimiserKind, StageSettings, TrainingSettings
from VISTA3DLib.training.steps import PatchTrainer
from VISTA3DLib.training.weight_mean import WeightMean

LAST = "last.safetensors"
BEST = "best.safetensors"
STATE = "state.pt"
OPTIMISERS: Mapping[OptimiserKind, Callable[..., torch.optim.Optimizer]] = MappingProxyType(
    {"adamw": torch.optim.AdamW, "muon": Muon}
)

Validator = Callable[[VISTA3D, StageSettings], Mapping[str, float]]
# What an interrupted stage needs again.
_Going = torch.optim.Optimizer | torch.optim.lr_scheduler.LRScheduler | WeightMean


class Trainer:
    """Trains ``network`` by the stages of ``settings`` on the cases of ``data`` that are not held back.

    ``validate`` scores the network on held-back cases (name -> Dice; the mean decides which weights are the best).
    ``about`` is added to the checkpoints' metadata. The output folder gets ``last`` and ``best`` weights, the history,
    and the state to resume from.
    """

    def __init__(
        self,
        network: VISTA3D,
        network_settings: NetworkSettings,
        settings: TrainingSettings,
        data: DataList,
        runtime: Runtime,
        *,
        world: World | None = None,
        validate: Validator | None = None,
        progress: ProgressCallback | None = None,
        cancel: Cancel | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self._about = dict(about or {})
        self._identity = run_identity(settings, data, network.state_dict(), network_settings)
        self.network = network.to(runtime.device, memory_format=runtime.memory_format)
        self.network_settings, self.settings, self.data, self.runtime = network_settings, settings, data, runtime
        self.world = world or World()
        self._validate, self._progress, self._cancel = validate, progress, cancel
        self._stage_index, self._epoch, self._best = 0, 0, -1.0
        self._history = History(settings.output)
        self._loop_state: dict[str, Any] = {}

    def check(self) -> None:
        """Raise ``CheckpointError`` if the output folder is another run's."""
        self._earlier_state()

    def run(self) -> Path:
        """Train all stages, from where this run stopped if it was begun before. Returns the path of the best weights.

        Raises ``CheckpointError`` if the output folder is another run's, ``TrainingError`` for a loss that is not
        finite, ``OutputError`` for a full disk and ``CancelledError``; the last three keep the last checkpoint, and
        the run can go on from it.
        """
        self._resume()
        try:
            for index in range(self._stage_index, len(self.settings.stages)):
                self._stage_index = index
                self._run_stage(self.settings.stages[index])
                self._epoch = 0
                self._loop_state = {}
        finally:
            self._history.close()
        best = self.settings.output / BEST
        return best if best.exists() else self.settings.output / LAST

    def _run_stage(self, stage: StageSettings) -> None:
        source = self._source(stage)
        freeze_branches(self.network, stage)
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        optimiser = OPTIMISERS[stage.optimiser](parameters, lr=stage.learning_rate, weight_decay=stage.weight_decay)
        per_epoch = len(self.world.share(range(len(source))))
        schedule = self._schedule(optimiser, stage, per_epoch)
        mean = WeightMean(self.network, optimiser, stage.mean_decay)
        going: dict[str, _Going] = {"optimiser": optimiser, "schedule": schedule, "mean": mean}
        for name, state in self._loop_state.items():
            going[name].load_state_dict(state)
        network = wrapped(JointForward(self.network) if stage.joint else self.network, self.world)
        trainer = (JointTrainer if stage.joint else PatchTrainer)(
            network,
            optimiser,
            self.network_settings.catalogue,
            stage,
            self.runtime,
            self.world,
            point_only=self.settings.point_only,
        )
        tracker = Tracker(stage.name, (stage.epochs - self._epoch) * per_epoch, self._progress, self._cancel)
        for epoch in range(self._epoch, stage.epochs):
            start = time.monotonic()
            with layout_keeping_norms(self.network):
                losses = self._run_epoch(trainer, source, epoch, schedule, tracker)
            self._epoch = epoch + 1
            rate = float(optimiser.param_groups[0]["lr"])
            with mean.in_network():
                record = self._finish_epoch(stage, losses, time.monotonic() - start, rate)
            if self._epoch == stage.epochs:
                mean.keep()
            self._save_state(going)
            tracker.step(0, values=_measured(record))

    def _run_epoch(
        self,
        trainer: PatchTrainer,
        source: PatchSource,
        epoch: int,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        tracker: Tracker,
    ) -> list[float]:
        self.network.train()
        key = (self.settings.seed, self._stage_index, epoch)
        order = np.random.default_rng(key).permutation(len(source)).tolist()
        losses: list[float] = []
        for place, index in enumerate(self.world.share(order)):
            for n, patch in enumerate(source.patches(index, self._stage_index * 100_000 + epoch)):
                own = np.random.default_rng((*key, place, n, self.world.rank))
                result = trainer.train_on(patch, own, np.random.default_rng((*key, place, n)))
                if result is not None and result.losses:
                    losses.append(result.losses[-1])
            schedule.step()
            tracker.step()
        return losses

    def _source(self, stage: StageSettings) -> PatchSource:
        everything = self.network_settings.catalogue.sets.get("everything", ())
        return PatchSource(
            cases_for(stage, self.data, self.settings.fold),
            self.data,
            self.network_settings,
            patches_per_case=stage.patches_per_case,
            augment=self.settings.augment,
            cache=self.settings.cache,
            pseudo_ids=everything if self.settings.pseudo_ids is None else self.settings.pseudo_ids,
            crop_on=self.settings.crop_on,
            seed=self.settings.seed,
            window=stage.window,
            background_crops=stage.background_crops,
            warp_prob=stage.warp_prob,
        )

    def _schedule(
        self, optimiser: torch.optim.Optimizer, stage: StageSettings, steps_per_epoch: int
    ) -> torch.optim.lr_scheduler.LRScheduler:
        total = (stage.schedule_epochs or stage.epochs) * steps_per_epoch + 1
        return WarmupCosineSchedule(  # type: ignore[no-any-return]
            optimiser, warmup_steps=stage.warmup_steps, t_total=total, warmup_multiplier=0.1
        )

    def _finish_epoch(self, stage: StageSettings, losses: Sequence[float], seconds: float, rate: float) -> EpochRecord:
        if not self.world.leads:
            return EpochRecord(
                stage=stage.name, epoch=self._epoch, patches=len(losses), loss=0.0, seconds=seconds, learning_rate=rate
            )
        last_epoch = self._epoch == stage.epochs
        scores: Mapping[str, float] = {}
        if self._validate is not None and (last_epoch or self._epoch % stage.validate_every == 0):
            self.network.eval()
            scores = self._validate(self.network, stage)
        dice = float(np.mean(list(scores.values()))) if scores else None
        record = EpochRecord(
            stage=stage.name,
            epoch=self._epoch,
            patches=len(losses),
            loss=float(np.mean(losses)) if losses else 0.0,
            seconds=seconds,
            learning_rate=rate,
            dice=dice,
        )
        self._history.add(record, scores)
        metadata = self.metadata(scores)
        self._save(LAST, metadata)
        final_stage = self._stage_index == len(self.settings.stages) - 1
        if final_stage and dice is not None and dice > self._best:
            self._best = dice
            self._save(BEST, metadata)
        return record

    def metadata(self, scores: Mapping[str, float]) -> dict[str, Any]:
        """What is written into a checkpoint beside its settings."""
        return {
            "title": self.settings.name,
            **self._about,
            "training": self.settings.to_dict(),
            "data_list": {"name": self.data.name, "sha256": self.data.digest},
            "dice": dict(scores),
            "stage": self.settings.stages[self._stage_index].name,
            "epoch": self._epoch,
        }

    def _save(self, name: str, metadata: Mapping[str, Any]) -> None:
        save_checkpoint(self.settings.output / name, self.network, self.network_settings, metadata=metadata)

    def _save_state(self, going: Mapping[str, _Going]) -> None:
        self.world.barrier()
        if not self.world.leads:
            return
        state = {
            "run": self._identity,
            "stage": self._stage_index,
            "epoch": self._epoch,
            "best": self._best,
            "network": self.network.state_dict(),
            "going": {name: part.state_dict() for name, part in going.items()},
            "history": [asdict(r) for r in self._history.records],
        }
        # An open file, since PyTorch's own writer does not say so when the disk is full.
        with written_atomically(self.settings.output / STATE) as temporary, temporary.open("wb") as file:
            torch.save(state, file)

    def _earlier_state(self) -> dict[str, Any] | None:
        path = self.settings.output / STATE
        if not path.exists():
            return None
        state: dict[str, Any] = torch.load(path, map_location=self.runtime.device, weights_only=True)
        check_same_run(state.get("run", {}), self._identity, path)
        return state

    def _resume(self) -> None:
        state = self._earlier_state()
        if state is None:
            return
        fill_network(self.network, state["network"], origin=str(self.settings.output / STATE))
        self._stage_index, self._epoch, self._best = state["stage"], state["epoch"], state["best"]
        self._history.records = [EpochRecord(**r) for r in state["history"]]
        if self._epoch >= self.settings.stages[self._stage_index].epochs:
            self._stage_index, self._epoch = self._stage_index + 1, 0
        else:
            self._loop_state = state["going"]


def _measured(record: EpochRecord) -> dict[str, float]:
    values = {"epoch": float(record.epoch), "loss": record.loss, "learning_rate": record.learning_rate}
    return values if record.dice is None else {**values, "dice": record.dice}


def freeze_branches(network: VISTA3D, stage: StageSettings) -> None:
    """Set which parameters are trained; the shared encoder is frozen with either branch (spec 5.3)."""
    # MONAI's own switch looks at changes only, so it is brought to a known state first.
    network.set_auto_grad(auto_freeze=True, point_freeze=True)
    network.set_auto_grad(auto_freeze=stage.freeze == "automatic", point_freeze=stage.freeze == "point")


def cases_for(stage: StageSettings, data: DataList, fold: int | None) -> list[Case]:
    """The cases that a stage can learn from; those of ``fold`` are held back."""
    return [c for c in data.split(fold)[0] if _usable(c, stage)]


def _usable(case: Case, stage: StageSettings) -> bool:
    return case.label is not None or (stage.unlabelled and bool(case.pseudo_label or case.supervoxels))
