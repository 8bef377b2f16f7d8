"""What a training run does, as data: the four stages of the paper and everything that may be changed about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args

import yaml

from VISTA3DLib.errors import ReadError, SettingsError
from VISTA3DLib.geometry import Index3

Branch = Literal["none", "automatic", "point"]
LabelKind = Literal["label", "pseudo_label"]
OptimiserKind = Literal["adamw", "muon"]
_PROBABILITIES = (
    "drop_label_prob",
    "drop_point_prob",
    "skip_iterations",
    "zero_shot_prob",
    "mirror_prob",
    "implant_prob",
    "piece_prob",
    "central_prob",
    "warp_prob",
)


@dataclass(frozen=True, kw_only=True)
class StageSettings:
    """One stage (spec 5.3). Probabilities are 0..1, prompts are counted per patch.

    ``freeze``: the branch that is frozen, the shared encoder with it. ``drop_label_prob`` / ``drop_point_prob``: how
    often class prompts or points are left out. ``max_foreprompt`` / ``max_backprompt``: classes in the patch, and
    classes that are annotated but absent; None: all of them. ``max_point``: positive and negative points at the
    start. ``iterations``: forward passes with an optimiser step each, a click added after each; ``skip_iterations``:
    how often only the first is made. ``supervoxels``: sample points on supervoxels too (spec 5.5). ``unlabelled``:
    use cases without manual label. ``absent_weight``: of the cross entropy of classes that are not in the patch
    (``ObjectLoss``). ``background_crops``: share of patches that are centred on background; None: as often as on any
    one class. ``optimiser``: the paper's AdamW, or ``Muon``, which needs fewer steps from random weights.
    ``mirror_prob``, ``implant_prob`` and ``piece_prob``, of joint stages: how often a patch is mirrored, synthetic
    masses are put into it (``implants``), or bones and soft organs are found in it by their borders (``pieces``). Such
    patches are asked by points alone, for structures without a name.
    ``central_prob``: how often the first positive point lies in the middle of its object, not anywhere in it.
    ``warp_prob``: how often a patch is turned, stretched and sheared (``warping_transforms``), instead of the paper's
    zoom, where the run augments.
    ``mean_decay``: validate, save and go on with a mean of the weights over the last steps (``WeightMean``); 0: the
    weights themselves.
    """

    name: str
    epochs: int = 100
    learning_rate: float = 2e-5
    weight_decay: float = 1e-5
    warmup_steps: int = 0
    freeze: Branch = "none"
    drop_label_prob: float = 0.0
    drop_point_prob: float = 0.0
    max_foreprompt: int | None = 4
    max_backprompt: int | None = 4
    max_point: int = 3
    iterations: int = 5
    skip_iterations: float = 0.0
    supervoxels: bool = False
    pseudo_labels: bool = False
    unlabelled: bool = False
    balance_gt: bool = False
    patches_per_case: int = 2
    validate_every: int = 5
    joint: bool = False
    max_objects: int = 4
    zero_shot_prob: float = 0.0
    window: Index3 | None = None
    clip_norm: float = 12.0
    schedule_epochs: int | None = None
    absent_weight: float = 1.0
    background_crops: float | None = None
    optimiser: OptimiserKind = "adamw"
    mirror_prob: float = 0.0
    implant_prob: float = 0.0
    piece_prob: float = 0.0
    central_prob: float = 0.0
    mean_decay: float = 0.0
    warp_prob: float = 0.0

    def __post_init__(self) -> None:
        for name in _PROBABILITIES:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise SettingsError(f"{name} of stage {self.name} is {getattr(self, name)}.", "Give 0 to 1.")
        if not self.joint and (self.mirror_prob or self.implant_prob or self.piece_prob):
            raise SettingsError(
                f"Stage {self.name} mirrors patches, puts masses into them or finds pieces: only joint stages do.",
                "Use joint, or leave mirror_prob, implant_prob and piece_prob out.",
            )
        for name in ("epochs", "iterations", "patches_per_case", "validate_every", "max_point", "max_objects"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} of stage {self.name} is {getattr(self, name)}.", "Give 1 or more.")
        if self.background_crops is not None and not 0.0 <= self.background_crops < 1.0:
            raise SettingsError(
                f"background_crops of stage {self.name} is {self.background_crops}.", "Give 0 to less than 1."
            )
        if not 0.0 <= self.mean_decay < 1.0:
            raise SettingsError(f"mean_decay of stage {self.name} is {self.mean_decay}.", "Give 0 to less than 1.")
        if self.absent_weight < 1.0:
            raise SettingsError(f"absent_weight of stage {self.name} is {self.absent_weight}.", "Give 1 or more.")
        known = get_args(OptimiserKind)
        if self.optimiser not in known:
            raise SettingsError(f"There is no optimiser {self.optimiser!r}.", f"Use one of: {', '.join(known)}.")
        if self.learning_rate <= 0:
            raise SettingsError(f"The learning rate of stage {self.name} is {self.learning_rate}.", "Give more than 0.")
        if self.drop_label_prob == 1.0 and self.drop_point_prob == 1.0:
            raise SettingsError(f"Stage {self.name} drops classes and points: nothing is left to train.", "Keep one.")


# Released configurations of the research code (spec 5.3); learning rates are for fine-tuning from existing weights.
STAGES: Mapping[str, StageSettings] = {
    "point-supervoxels": StageSettings(
        name="point-supervoxels",
        epochs=300,
        drop_label_prob=1.0,
        max_backprompt=0,
        supervoxels=True,
        pseudo_labels=True,
        unlabelled=True,
        validate_every=1,
    ),
    "point": StageSettings(
        name="point", epochs=300, drop_label_prob=1.0, max_backprompt=0, pseudo_labels=True, validate_every=1
    ),
    "automatic": StageSettings(
        name="automatic",
        epochs=200,
        freeze="point",
        drop_point_prob=1.0,
        max_foreprompt=32,
        skip_iterations=1.0,
        pseudo_labels=True,
        unlabelled=True,
    ),
    "automatic-finetune": StageSettings(
        name="automatic-finetune",
        epochs=200,
        freeze="point",
        drop_point_prob=1.0,
        max_foreprompt=32,
        skip_iterations=1.0,
        pseudo_labels=True,
        balance_gt=True,
        validate_every=1,
    ),
    # Both branches at once: how ``vista3d-mini`` is trained.
    "joint": StageSettings(
        name="joint",
        joint=True,
        max_foreprompt=8,
        max_backprompt=2,
        iterations=3,
        skip_iterations=0.5,
        zero_shot_prob=0.5,
        supervoxels=True,
        unlabelled=True,
        clip_norm=2.0,
    ),
}


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """A whole run. ``start`` are weights to begin with (an id or a file), None for random ones from ``seed``.

    ``network`` are the fields of ``NetworkSettings`` that differ from the published CT model (only without
    ``start``). ``classes`` names new class ids; ``point_only`` are ids that only points ask for (lesions that have no
    class). ``sets`` and ``single_piece`` are added to the catalogue's. ``fold`` is held back for validation.
    ``phantoms``: how many synthetic cases to add. ``crop_on``: the map whose classes patches are centred on, where a
    case has both. ``pseudo_ids``: the classes of the pseudo labels, None for all that the model segments.
    ``new_point_head``: begin with a point head in which a click marks its surroundings (``point_start``), whatever
    ``start`` says; for networks of few filters.
    """

    name: str
    data: Path
    output: Path
    stages: tuple[StageSettings, ...]
    seed: int = 0
    start: str | None = None
    network: Mapping[str, Any] = field(default_factory=dict)
    classes: Mapping[int, str] = field(default_factory=dict)
    point_only: tuple[int, ...] = ()
    sets: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    single_piece: tuple[int, ...] = ()
    fold: int | None = None
    device: str = "auto"
    precision: str = "auto"
    cache: Path | None = None
    augment: bool = True
    phantoms: int = 0
    crop_on: LabelKind = "pseudo_label"
    pseudo_ids: tuple[int, ...] | None = None
    new_point_head: bool = False

    def __post_init__(self) -> None:
        if not self.stages:
            raise SettingsError("The training has no stages.", f"Use some of: {', '.join(STAGES)}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for logs and checkpoints."""
        plain = asdict(self)
        return {k: str(v) if isinstance(v, Path) else v for k, v in plain.items()}


def packaged_configurations() -> dict[str, Path]:
    """The configurations that come with the library, by name: the paper's stages, and the packaged weights' recipe."""
    folder = Path(__file__).parents[1] / "data" / "training"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_training_settings(path: Path) -> TrainingSettings:
    """Read a YAML or JSON configuration; each stage is one of ``STAGES`` by ``use:`` with fields to change.

    ``path`` may be the name of a packaged configuration, whose paths are relative to the working folder; else they are
    relative to the file. Raises ``ReadError`` for unreadable files, ``SettingsError`` for unknown fields.
    """
    packaged = None if path.exists() else packaged_configurations().get(str(path))
    base = path.parent if packaged is None else Path()
    path = packaged or path
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ReadError(f"The configuration {path} is no text.", "Give a YAML or JSON file.") from error
    except OSError as error:
        named = ", ".join(packaged_configurations())
        fix = f"Check the path, or use one of the packaged: {named}."
        raise ReadError(f"The configuration {path} cannot be read: {error.strerror}.", fix) from error
    except yaml.YAMLError as error:
        raise ReadError(f"The configuration {path} is no YAML or JSON: {error}.", "Repair it.") from error
    if not isinstance(document, dict):
        said = "is empty" if document is None else "has no fields"
        raise ReadError(f"The configuration {path} {said}.", "See docs/training.md for an example.")
    try:
        values = _converted(document, base)
    except (TypeError, ValueError, AttributeError) as error:
        fix = "See docs/training.md for the form of each field."
        raise SettingsError(f"{path} has a field of another form than it should have: {error}.", fix) from error
    known = {f.name for f in fields(TrainingSettings)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise SettingsError(f"{path} has unknown fields: {', '.join(unknown)}.", f"Known: {', '.join(sorted(known))}.")
    missing = [n for n in ("name", "data", "output") if n not in values]
    if missing:
        raise SettingsError(f"{path} lacks {', '.join(missing)}.", "Add them.")
    return TrainingSettings(**values)


def _converted(document: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """The values of a configuration as ``TrainingSettings`` has them; paths are relative to ``base``."""
    values = dict(document)
    values["stages"] = tuple(_read_stage(s) for s in values.get("stages") or ())
    for name in ("data", "output", "cache"):
        if values.get(name) is not None:
            values[name] = base / str(values[name])
    if values.get("pseudo_ids") is not None:
        values["pseudo_ids"] = _ids(values["pseudo_ids"])
    for name in ("point_only", "single_piece"):
        values[name] = _ids(values.get(name) or ())
    values["sets"] = {str(k): _ids(ids) for k, ids in (values.get("sets") or {}).items()}
    values["classes"] = {int(k): str(v) for k, v in (values.get("classes") or {}).items()}
    return values


def _ids(plain: Any) -> tuple[int, ...]:
    return tuple(int(i) for i in plain)


def _read_stage(plain: Any) -> StageSettings:
    values = {"use": plain} if isinstance(plain, str) else dict(plain)
    use = values.pop("use", None)
    if use not in STAGES:
        raise SettingsError(f"There is no stage '{use}'.", f"Use one of: {', '.join(STAGES)}.")
    known = {f.name for f in fields(StageSettings)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise SettingsError(f"Stage {use} has unknown fields: {', '.join(unknown)}.", f"Known: {', '.join(known)}.")
    if values.get("window") is not None:
        values["window"] = tuple(int(n) for n in values["window"])
    for name, value in values.items():  # YAML reads 1e-3 as text, too: it wants 1.0e-3
        if isinstance(getattr(STAGES[use], name), (int, float)) and not isinstance(value, (int, float, NoneType)):
            raise ValueError(f"{name} is {value!r}, which is no number")
    return replace(STAGES[use], **values)
