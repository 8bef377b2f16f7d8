"""What a fine-tuning changed: the taught classes, the other classes, clicks; as text and as JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from VISTA3DLib.files.atomic import written_atomically
from VISTA3DLib.files.read import read_volume
from VISTA3DLib.model import Model
from VISTA3DLib.progress import Cancel
from VISTA3DLib.prompts import Point
from VISTA3DLib.session import Session
from VISTA3DLib.settings import NetworkSettings
from VISTA3DLib.training.datalist import DataList
from VISTA3DLib.training.patches import map_labels
from VISTA3DLib.training.questions import question_for
from VISTA3DLib.training.validation import as_three, deepest_voxel, dice

_LEAST_VOXELS = 50  # of another class in the start weights' answer, to count how much of it is left


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Mean Dice over the measured cases. ``automatic`` and ``one_click`` per taught class against the labels (None: the
    weights have no such class); ``others``: of each other class against the start weights' own answer (1 at first).
    """

    automatic: Mapping[int, float | None] = field(default_factory=dict)
    one_click: Mapping[int, float] = field(default_factory=dict)
    others: Mapping[int, float] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)
    answers: tuple[npt.NDArray[Any] | None, ...] = field(default=(), repr=False, compare=False)

    @property
    def class_ids(self) -> tuple[int, ...]:
        """Every class with a score."""
        return tuple(dict.fromkeys((*self.automatic, *self.one_click, *self.others)))

    @property
    def mean(self) -> float | None:
        """Mean Dice of the taught classes, automatic."""
        values = [v for v in self.automatic.values() if v is not None]
        return float(np.mean(values)) if values else None

    @property
    def mean_others(self) -> float | None:
        """Mean Dice of the other classes against what the start weights said."""
        return float(np.mean(list(self.others.values()))) if self.others else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, by class name."""

        def named(scores: Mapping[int, float | None] | Mapping[int, float]) -> dict[str, float | None]:
            return {self.names.get(i, f"class {i}"): v for i, v in scores.items()}

        return {
            "automatic": named(self.automatic),
            "one_click": named(self.one_click),
            "others": named(self.others),
            "mean": self.mean,
            "mean_others": self.mean_others,
        }


@dataclass(frozen=True, kw_only=True)
class FinetuneReport:
    """The result: where the weights are, on which cases they were measured, and the scores before and after."""

    name: str
    path: Path
    installed: Path | None
    weights: str
    cases: tuple[str, ...]
    measured_on: tuple[str, ...]
    measured_on_training: bool
    before: Scores
    after: Scores
    point_branch_unchanged: bool
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = {k: v for k, v in asdict(self).items() if k not in ("before", "after")}
        plain |= {"path": str(self.path), "installed": None if self.installed is None else str(self.installed)}
        return {**plain, "before": self.before.to_dict(), "after": self.after.to_dict()}

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        with written_atomically(path) as temporary:
            temporary.write_text(json.dumps(self.to_dict(), indent=1), encoding="utf-8")


def measure(
    model: Model,
    taught: NetworkSettings,
    cases: DataList,
    learned: Sequence[int],
    others: Sequence[int],
    *,
    reference: Scores | None = None,
    cancel: Cancel | None = None,
) -> Scores:
    """Scores of a model on labelled cases; ``taught`` are the settings after the training, which know every class.

    Without ``reference`` the model's own answers for ``others`` are kept for comparison.
    """
    own = model.settings.catalogue
    known = [i for i in learned if i in own and i in own.sets.get("everything", ())]
    automatic: dict[int, list[float]] = defaultdict(list)
    clicked: dict[int, list[float]] = defaultdict(list)
    kept: dict[int, list[float]] = defaultdict(list)
    answers: list[npt.NDArray[Any] | None] = []
    session = Session(model, mode="bundle")
    for number, case in enumerate(cases.training):
        assert case.label is not None
        volume = read_volume(case.image)
        truth = map_labels(np.rint(read_volume(case.label).array).astype(np.int32), cases.mapping_of(case).to_global)
        session.set_volume(volume)
        for class_id in cases.class_ids_of(case):
            target = truth == class_id
            if not target.any():
                continue
            if class_id in known:
                found = session.segment_classes([class_id], overlapping=True, keep_features=True, cancel=cancel)
                automatic[class_id].append(dice(found.mask(class_id), target))
            click = Point(ras=as_three(volume.grid.to_world(deepest_voxel(target, volume.grid.spacing))))
            question = question_for(class_id, own)
            answer = session.segment_points(
                [click], class_id=question.class_id, zero_shot=question.zero_shot, cancel=cancel
            )
            clicked[class_id].append(dice(answer.to_full(), target))
        labelmap = session.segment_classes(list(others), keep_features=True, cancel=cancel).labelmap if others else None
        answers.append(labelmap)
        if reference is not None and labelmap is not None:
            before = reference.answers[number]
            assert before is not None
            for class_id in others:
                was = before == class_id
                if int(was.sum()) >= _LEAST_VOXELS:
                    kept[class_id].append(dice(labelmap == class_id, was))
    scores: dict[int, float | None] = {i: None for i in learned if i not in known}
    scores |= _means(automatic)
    names = {i: taught.catalogue[i].name for i in (*learned, *others) if i in taught.catalogue}
    return Scores(automatic=scores, one_click=_means(clicked), others=_means(kept), names=names, answers=tuple(answers))


def _means(values: Mapping[int, list[float]]) -> dict[int, float]:
    return {i: float(np.mean(v)) for i, v in values.items()}
