"""One evaluation: every case through a protocol, scored, kept, and put together in a report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from VISTA3DLib import __version__
from VISTA3DLib.errors import SettingsError, VISTA3DError
from VISTA3DLib.evaluation.automatic_protocol import AutomaticProtocol
from VISTA3DLib.evaluation.cases import CaseList, EvaluationCase, LoadedCase, load_case
from VISTA3DLib.evaluation.class_scores import counted_rows
from VISTA3DLib.evaluation.click_protocol import ClickProtocol
from VISTA3DLib.evaluation.failures import STOPPING, EvaluationError, Failure
from VISTA3DLib.evaluation.fold_models import FoldModels, UsedModel
from VISTA3DLib.evaluation.masks import BoxedMask
from VISTA3DLib.evaluation.metrics import compare_boxed
from VISTA3DLib.evaluation.rows import Prediction, Refusal, Row
from VISTA3DLib.evaluation.settings import MODEL, EvaluationSettings
from VISTA3DLib.evaluation.store import CaseResult, CaseStore
from VISTA3DLib.evaluation.window_protocol import WindowProtocol
from VISTA3DLib.evaluation.zero_shot_protocol import ZeroShotProtocol
from VISTA3DLib.model import Model
from VISTA3DLib.progress import Cancel, ProgressCallback, Tracker

CASES_FOLDER = "cases"


class CaseProtocol(Protocol):
    """How a loaded case is asked: masks one after the other, or a ``Refusal`` for what cannot be asked."""

    def predictions(
        self, case: LoadedCase, progress: ProgressCallback | None = None, cancel: Cancel | None = None
    ) -> Iterator[Prediction | Refusal]:
        """The masks of a case."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Everything that an evaluation found, in the order of the list; ``keys`` name the kept results by case."""

    name: str
    data: Path
    data_sha256: str
    settings: EvaluationSettings
    models: tuple[UsedModel, ...]
    cases: tuple[EvaluationCase, ...]
    keys: Mapping[str, str]
    rows: tuple[Row, ...]
    failures: tuple[Failure, ...]


def run_cases(
    cases: CaseList,
    models: FoldModels,
    settings: EvaluationSettings,
    folder: Path,
    *,
    progress: ProgressCallback | None = None,
    cancel: Cancel | None = None,
) -> Evaluation:
    """Evaluate ``models`` on ``cases``; finished cases are kept in ``folder`` and not computed again.

    A case that cannot be used becomes a ``Failure`` and the others go on. Raises ``EvaluationError`` when no case
    could be scored, ``CheckpointError``, ``DeviceError``, ``OutputError`` and ``CancelledError``; what is finished by
    then stays for the next run.
    """
    store = CaseStore(folder / CASES_FOLDER)
    failures = list(cases.failures)
    results: dict[str, CaseResult] = {}
    keys: dict[str, str] = {}
    used: dict[int | None, UsedModel] = {}
    tracker = Tracker("cases", len(cases.cases), progress, cancel)
    for case in sorted(cases.cases, key=lambda c: -1 if c.fold is None else c.fold):  # one model after the other
        try:
            keys[case.id] = case_key(case, models, settings)
            result = store.load(case.id, keys[case.id])
            if result is None:
                result = _result(case, models.model(case.fold), settings, progress, cancel)
                store.save(case.id, keys[case.id], result)
            results[case.id] = replace(result, masks={})  # the masks of a whole data set need not fit into memory
            used.setdefault(models.key(case.fold), models.describe(case.fold))
        except STOPPING:
            raise
        except (VISTA3DError, MemoryError) as error:
            failures.append(Failure.of(case.id, error))
        tracker.step()
    finished = [c for c in cases.cases if c.id in results]
    evaluation = Evaluation(
        name=cases.name,
        data=cases.path,
        data_sha256=cases.sha256,
        settings=settings,
        models=tuple(used.values()),
        cases=tuple(finished),
        keys=keys,
        rows=tuple(row for c in finished for row in results[c.id].rows),
        failures=(*failures, *(f for c in finished for f in results[c.id].failures)),
    )
    _check_scored(evaluation)
    return evaluation


def case_key(case: EvaluationCase, models: FoldModels, settings: EvaluationSettings) -> str:
    """Changes with everything that decides a case's result: its files, the weights, how they run, settings, program."""
    runs_on = [models.runtime.device.type, models.runtime.precision]
    plain = [__version__, case.fingerprint, models.digest(case.fold), runs_on, settings.to_dict()]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def score_case(
    case: EvaluationCase,
    loaded: LoadedCase,
    model: Model,
    settings: EvaluationSettings,
    *,
    progress: ProgressCallback | None = None,
    cancel: Cancel | None = None,
) -> CaseResult:
    """Ask a model about a loaded case and score every answer."""
    loaded, small = without_small(case, loaded, settings.min_ml)
    failures = [*loaded.notes, *small]
    rows: list[Row] = []
    masks: dict[int, BoxedMask] = {}
    counted: dict[int, Row] = {}
    grid = loaded.volume.grid
    for answer in make_protocol(model, settings).predictions(loaded, progress, cancel):
        if isinstance(answer, Refusal):
            failure = Failure.of(case.id, answer.error, answer.class_id)
            failures.append(failure if answer.method == MODEL else replace(failure, cause=_by(answer, failure)))
            continue
        scores = compare_boxed(
            loaded.truths[answer.class_id],
            answer.mask,
            grid.spacing,
            tolerance_mm=settings.tolerance_mm,
            voxel_ml=grid.voxel_ml,
        )
        name = class_name(answer.class_id, loaded.names, model)
        row = Row.of(answer, scores, grid, case=case.id, dataset=case.dataset, class_name=name, fold=case.fold)
        rows.append(row)
        if answer.method == MODEL:
            (counted[answer.class_id],) = counted_rows((counted.get(answer.class_id, row), row), settings)
            if counted[answer.class_id] is row:
                masks[answer.class_id] = answer.mask
    return CaseResult(rows=tuple(rows), failures=tuple(failures), masks=masks)


def make_protocol(model: Model, settings: EvaluationSettings) -> CaseProtocol:
    """The protocol of the settings. Raises ``PromptError`` or ``ClassError`` if the model lacks the branch for it."""
    makers: Mapping[str, Callable[[], CaseProtocol]] = {
        "auto": lambda: AutomaticProtocol(model),
        "point": lambda: WindowProtocol(model, settings),
        "auto+point": lambda: WindowProtocol(model, settings),
        "zero-shot": lambda: ZeroShotProtocol(model, settings),
        "clicks": lambda: ClickProtocol(model, settings),
    }
    return makers[settings.protocol]()


def without_small(case: EvaluationCase, loaded: LoadedCase, min_ml: float) -> tuple[LoadedCase, tuple[Failure, ...]]:
    """The case without objects below ``min_ml`` (absent classes stay), and what was left out."""
    volumes = {i: truth.voxels * loaded.volume.grid.voxel_ml for i, truth in loaded.truths.items()}
    small = {i: ml for i, ml in volumes.items() if 0.0 < ml < min_ml}
    notes = tuple(
        Failure(case=case.id, cause=f"Left out: {ml:.3g} ml.", kind="Note", class_id=i, fatal=False)
        for i, ml in small.items()
    )
    return loaded.scoring(loaded.truths.keys() - small.keys()), notes


def class_name(class_id: int, names: Mapping[int, str], model: Model) -> str:
    """The model's name of a class, else the label file's, else its number."""
    catalogue = model.settings.catalogue
    return catalogue[class_id].name if class_id in catalogue else names.get(class_id, f"class {class_id}")


def _result(
    case: EvaluationCase,
    model: Model,
    settings: EvaluationSettings,
    progress: ProgressCallback | None,
    cancel: Cancel | None,
) -> CaseResult:
    class_ids = [i for i in case.class_ids if i in (settings.classes or case.class_ids)]
    if not class_ids:
        raise SettingsError("None of the classes to evaluate was annotated.", "Map them, or leave the case out.")
    return score_case(case, load_case(case).scoring(class_ids), model, settings, progress=progress, cancel=cancel)


def _by(answer: Refusal, failure: Failure) -> str:
    return f"{answer.method.capitalize()}: {failure.cause}"


def _check_scored(evaluation: Evaluation) -> None:
    if evaluation.rows:
        return
    causes = [f"{f.case}: {f.cause} {f.fix}".strip() for f in evaluation.failures if f.fatal]
    why = f" The first of {len(causes)} problems: {causes[0]}" if causes else ""
    raise EvaluationError(
        f"Nothing could be scored on {evaluation.data}.{why}", "Check the list and its label mapping."
    )
