"""Teaching existing weights from a few cases (spec 6): settings, the run, and what it changed."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from monai.networks.nets.vista3d import VISTA3D

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.devices import choose_runtime
from VISTA3DLib.errors import ReadError, SettingsError
from VISTA3DLib.files.atomic import written_atomically
from VISTA3DLib.loading import load_weights
from VISTA3DLib.model import Model
from VISTA3DLib.progress import Cancel, ProgressCallback, Tracker
from VISTA3DLib.training.case_check import check_cases
from VISTA3DLib.training.datalist import DataList, no_such_fold
from VISTA3DLib.training.finetune_report import FinetuneReport, measure
from VISTA3DLib.training.replay import known_classes, with_answers
from VISTA3DLib.training.run import start_network, trained_ids
from VISTA3DLib.training.settings import STAGES, OptimiserKind, StageSettings, TrainingSettings
from VISTA3DLib.training.trainer import Trainer
from VISTA3DLib.training.validation import DiceValidator
from VISTA3DLib.weights import ENDINGS, official_ids

Trained = Literal["automatic", "everything"]
_PAPER_RATE, _PAPER_FILTERS = 5e-5, 48
_MUON_RATE = 4.0  # times AdamW's; measured at 16 filters (docs/training.md)
_WARP_PROB = 0.8
_REPORT = "finetune.json"
_CHOSEN = "The best epoch was chosen on the cases that 'after' is measured on: new cases may be somewhat worse."


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings:
    """How weights are taught from a few cases.

    ``name`` of the new weights, also their file's. ``output``: folder of the run. ``weights`` to start from.
    ``classes`` names new class ids. ``single_piece``: taught classes of whose automatic answers only the largest piece
    is kept, now and whenever the weights are used (docs/classes.md). ``train``: the ``automatic`` branch alone (encoder
    and point branch are frozen and stay what they are), or ``everything`` but the point branch's own layers, as the
    paper does (its features change under it). ``replay``: hold the other classes by the start weights' own answers on
    the cases. ``warp``: turn, stretch and shear the windows, so that a few cases show more than a few people; without
    it the paper's zoom alone. ``optimiser``: the paper's AdamW, or ``muon``, which goes further in as many steps.
    ``learning_rate`` None: the paper's 5e-5, for smaller networks more, with the square of (48 / filters), and four
    times that for Muon. ``epochs`` over the cases, each giving ``patches_per_case`` windows. ``fold`` is held back;
    without it the list's ``testing`` cases are. ``install``: a folder of models that the result is copied to, so that
    it is listed with the others.
    """

    name: str
    output: Path
    weights: str = "vista3d-mini"
    classes: Mapping[int, str] = field(default_factory=dict)
    single_piece: tuple[int, ...] = ()
    train: Trained = "automatic"
    replay: bool = True
    warp: bool = True
    optimiser: OptimiserKind = "adamw"
    learning_rate: float | None = None
    epochs: int = 100
    patches_per_case: int = 2
    validate_every: int = 10
    fold: int | None = None
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    augment: bool = True
    install: Path | None = None

    def __post_init__(self) -> None:
        if not self.name or Path(self.name).name != self.name or self.name.startswith("."):
            raise SettingsError(f"{self.name!r} is no name for weights.", "Use letters, digits, '-' and '_'.")
        if self.train not in ("automatic", "everything"):
            raise SettingsError(f"There is no way '{self.train}' to train.", "Use automatic or everything.")
        if self.name.casefold() in official_ids():
            raise SettingsError(f"{self.name!r} is the name of official weights.", "Give the result a name of its own.")
        self.stage(_PAPER_FILTERS)  # refuses what no stage can do

    def stage(self, filters: int) -> StageSettings:
        """The training stage for a network with so many filters."""
        rate = self.learning_rate
        if rate is None:
            rate = _PAPER_RATE * (_PAPER_FILTERS / filters) ** 2 * (_MUON_RATE if self.optimiser == "muon" else 1.0)
        return replace(
            STAGES["automatic-finetune"],
            name="finetune",
            epochs=self.epochs,
            learning_rate=rate,
            freeze="point" if self.train == "automatic" else "none",
            max_foreprompt=16,
            max_backprompt=4,
            pseudo_labels=self.replay,
            balance_gt=False,
            patches_per_case=self.patches_per_case,
            validate_every=self.validate_every,
            warp_prob=_WARP_PROB if self.warp else 0.0,
            optimiser=self.optimiser,
        )


def finetune(
    data: DataList,
    settings: FinetuneSettings,
    *,
    progress: ProgressCallback | None = None,
    cancel: Cancel | None = None,
) -> FinetuneReport:
    """Teach weights from the training cases of ``data``; writes the checkpoint, its logs and ``finetune.json``.

    A run that was stopped goes on where it was when it is started again with the same settings and cases. Raises
    ``CheckpointError`` (``output`` is another run's), ``SettingsError`` (other weights have the name),
    ``TrainingError`` (nothing to learn from, a loss that is not finite), ``ReadError``, ``ClassError``,
    ``CancelledError``; what was there before stays.
    """
    training, held, on_training = _split(data, settings.fold)
    _check_name_free(settings)
    runtime = choose_runtime(settings.device, settings.precision)
    original, original_settings = load_weights(settings.weights)
    stage = settings.stage(original_settings.filters)
    _check_classes(training, settings, original_settings.catalogue)
    notes = check_cases(training, original_settings.catalogue, names=settings.classes, progress=progress, cancel=cancel)
    plan = TrainingSettings(
        name=settings.name,
        data=settings.output / "datalist",
        output=settings.output,
        stages=(stage,),
        seed=settings.seed,
        start=settings.weights,
        classes=settings.classes,
        single_piece=settings.single_piece,
        device=settings.device,
        precision=settings.precision,
        augment=settings.augment,
        crop_on="label",
    )
    network, network_settings = start_network(plan, training)
    learned = trained_ids(training)
    start_model = Model(original, original_settings, runtime, id=settings.weights)
    others = known_classes(start_model, learned)
    if settings.replay:
        cases = with_answers(
            training.training, start_model, others, settings.output / "known", progress=progress, cancel=cancel
        )
        training, plan = replace(training, training=cases, pseudo_mappings={}), replace(plan, pseudo_ids=others)
    validate = DiceValidator(held.training, held, network_settings, runtime)
    trainer = Trainer(
        network,
        network_settings,
        plan,
        training,
        runtime,
        validate=None if on_training else validate,
        progress=progress,
        cancel=cancel,
        about={"base": settings.weights},
    )
    trainer.check()
    if not on_training and settings.epochs > settings.validate_every:
        notes = (*notes, _CHOSEN)
    tracker = Tracker("before and after", 2, progress, cancel)
    before = measure(start_model, network_settings, held, learned, others, cancel=cancel)
    tracker.step()
    best = trainer.run()
    trained, _ = load_weights(best)
    after = measure(
        Model(trained, network_settings, runtime, id=settings.name),
        network_settings,
        held,
        learned,
        others,
        reference=before,
        cancel=cancel,
    )
    tracker.step()
    final = settings.output / f"{settings.name}.safetensors"
    _copy(best, final)
    if settings.install is not None:
        _copy(final, settings.install / final.name)
    report = FinetuneReport(
        name=settings.name,
        path=final,
        installed=None if settings.install is None else settings.install / final.name,
        weights=settings.weights,
        cases=tuple(c.id for c in training.training),
        measured_on=tuple(c.id for c in held.training),
        measured_on_training=on_training,
        before=before,
        after=after,
        point_branch_unchanged=_same_points(original, trained),
        notes=notes,
    )
    report.write(settings.output / _REPORT)
    return report


def _check_name_free(settings: FinetuneSettings) -> None:
    """Refuse a name that other weights have where the result will be listed; this run's own earlier result may go."""
    if settings.install is None:
        return
    own = settings.output / f"{settings.name}.safetensors"
    for taken in (settings.install / f"{settings.name}{ending}" for ending in ENDINGS):
        earlier = taken.suffix == own.suffix and own.exists()
        if taken.exists() and not (earlier and filecmp.cmp(taken, own, shallow=False)):
            raise SettingsError(f"{taken} holds other weights of this name.", "Give another name, or move that file.")


def _check_classes(data: DataList, settings: FinetuneSettings, catalogue: ClassCatalogue) -> None:
    taught = trained_ids(data)
    for class_id in taught:
        if not 0 < class_id < catalogue.table_size:
            raise SettingsError(
                f"Class {class_id} is not in the model's table.", f"Use an id from 1 to {catalogue.table_size - 1}."
            )
    if others := sorted(set(settings.single_piece) - set(taught)):
        raise SettingsError(
            f"Class {others[0]} is said to be of a single piece, but is not taught.", f"Taught are: {list(taught)}."
        )
    unused = sorted(set(settings.classes) - set(taught))
    if unused:
        raise SettingsError(
            f"Class {unused[0]} is named but not in the mapping of a training case.", "Map a label to it."
        )


def _split(data: DataList, fold: int | None) -> tuple[DataList, DataList, bool]:
    """What is trained (with the measured cases as ``testing``); what is measured, as ``training``; if both are one."""
    training, held = data.split(fold)
    if fold is not None and not held:
        raise no_such_fold(fold, data)
    held = held or data.testing
    labelled = tuple(c for c in held if c.label is not None)
    if not data.training:
        raise ReadError(f"{data.name} holds no training cases.", "Add at least one labelled case under 'training'.")
    if not training:
        raise ReadError(f"All cases are in fold {fold}: none is left to train on.", "Hold another fold back.")
    measured = labelled or training
    held_list = replace(data, training=measured, testing=())
    return replace(data, training=training, testing=measured), held_list, not labelled


def _copy(source: Path, target: Path) -> None:
    with written_atomically(target) as temporary:
        shutil.copyfile(source, temporary)


def _same_points(before: VISTA3D, after: VISTA3D) -> bool:
    """Whether everything that clicks use is bit for bit the same."""
    found = after.state_dict()
    return all(
        bool((tensor.cpu() == found[name].cpu()).all())
        for name, tensor in before.state_dict().items()
        if not name.startswith(("class_head.", "image_encoder.up_layers_auto."))
    )
