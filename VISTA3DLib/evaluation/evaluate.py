"""The door for programs: a data list and weights in, a report and everything in it out.

>>> from pathlib import Path
>>> from VISTA3DLib.evaluation.evaluate import evaluate
>>> from VISTA3DLib.evaluation.settings import EvaluationSettings
>>> settings = EvaluationSettings(protocol="clicks", clicks=5)
>>> outputs = evaluate(  # doctest: +SKIP
...     Path("lesions.json"), Path("report"), settings, weights="runs/fold{fold}/model.safetensors"
... )
>>> outputs.findings.datasets[0].dice  # doctest: +SKIP
"""

from __future__ import annotations

from pathlib import Path

from VISTA3DLib.evaluation.cases import read_cases
from VISTA3DLib.evaluation.fold_models import FoldModels
from VISTA3DLib.evaluation.outputs import Outputs, write_outputs
from VISTA3DLib.evaluation.run import run_cases
from VISTA3DLib.evaluation.settings import EvaluationSettings
from VISTA3DLib.files.atomic import output_error
from VISTA3DLib.progress import Cancel, ProgressCallback
from VISTA3DLib.training.datalist import LabelMapping


def evaluate(
    data: Path,
    folder: Path,
    settings: EvaluationSettings,
    *,
    weights: str | Path = "vista3d-mini",
    mapping: LabelMapping | None = None,
    split: str = "all",
    fold: int | None = None,
    limit: int | None = None,
    worst: int = 6,
    device: str = "auto",
    precision: str = "auto",
    progress: ProgressCallback | None = None,
    cancel: Cancel | None = None,
) -> Outputs:
    """Evaluate ``weights`` on the labelled cases of ``data`` and write the report into ``folder``.

    ``weights``: an id or a path. With ``{fold}`` in it every case is answered by the weights of its own fold, which
    did not see it in training (cross-validation). ``mapping``, ``split``, ``fold``, ``limit``: see
    ``cases.read_cases``. Cases that are finished stay in ``folder``: a run that was stopped goes on when it is started
    again, and changed cases, weights or settings are computed anew. Raises ``VISTA3DError`` children; nothing of the
    report is written then.
    """
    cases = read_cases(data, mapping=mapping, split=split, fold=fold, limit=limit)
    models = FoldModels(weights, device=device, precision=precision)
    _prepare(folder)
    evaluation = run_cases(cases, models, settings, folder, progress=progress, cancel=cancel)
    return write_outputs(evaluation, folder, worst=worst)


def _prepare(folder: Path) -> None:
    """Make the folder now: hours of work should not end with a place that cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
