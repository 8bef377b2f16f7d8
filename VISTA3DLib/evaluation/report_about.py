"""The parts of the report that explain: the paper's results beside ours, and how everything was measured."""

from __future__ import annotations

import html
from collections.abc import Sequence

from VISTA3DLib.evaluation.class_scores import ClassScore, DatasetScore
from VISTA3DLib.evaluation.html import number, section, table
from VISTA3DLib.evaluation.paper import COLUMNS, FewShotResult, PaperResult, PaperResults
from VISTA3DLib.evaluation.run import Evaluation
from VISTA3DLib.evaluation.settings import MODEL, EvaluationSettings

_METHODS = ("Auto3DSeg", "nnU-Net", "TotalSegmentator", *COLUMNS.values())


def paper_section(evaluation: Evaluation, classes: Sequence[ClassScore], datasets: Sequence[DatasetScore]) -> str:
    """The paper's table for the data sets that it has, with this run's numbers beside it."""
    paper = PaperResults.load()
    parts: list[str] = []
    for name in dict.fromkeys(s.dataset for s in classes):
        found, few = paper.find(name), paper.find_few_shot(name)
        if found is not None:
            ours = [s for s in classes if s.dataset == name and s.method == MODEL]
            total = next((d for d in datasets if d.dataset == name and d.method == MODEL), None)
            parts += [f"<h3>{html.escape(found.title)}</h3>", _paper_table(found, ours, total)]
            parts += [f"<p>{html.escape(found.note)}</p>"] if found.note else []
        if few is not None:
            parts += [f"<h3>{html.escape(few.title)}, fine-tuned on a few cases</h3>", _few_shot_table(few)]
    column = COLUMNS.get(evaluation.settings.protocol)
    compare = f"This run's protocol is the column {column}." if column else "No column has this run's protocol."
    intro = f"{html.escape(paper.source)}. {compare} The same test cases are needed for a comparison."
    return section("The paper's results", *parts, intro=intro)


def _paper_table(result: PaperResult, ours: Sequence[ClassScore], total: DatasetScore | None) -> str:
    own = {s.class_name.casefold(): s.dice for s in ours}
    rows = []
    if result.dice:
        ours_all = number(None if total is None else total.dice)
        rows.append(["mean over classes", *(number(result.dice.get(m)) for m in _METHODS), ours_all])
    for name, dice in result.classes.items():
        rows.append([name, *(number(dice.get(m)) for m in _METHODS), number(own.get(name.casefold()))])
    return table(["Dice", *_METHODS, "this run"], rows)


def _few_shot_table(result: FewShotResult) -> str:
    rows = [[f"{cases} case{'s' * (cases > 1)}", *map(number, values)] for cases, values in result.dice.items()]
    return table(["Dice", *result.methods], rows)


def how_it_was_measured(evaluation: Evaluation) -> str:
    """Protocol, definitions, data, models and settings."""
    settings = evaluation.settings
    entries = [
        ("Protocol", _PROTOCOLS[settings.protocol] + _about_clicks(settings)),
        ("Scores", _SCORES.format(tolerance=f"{settings.tolerance_mm:g}")),
    ]
    if settings.has_curves:
        best = _BEST if settings.best_counts else ""
        entries.append(("Curves", _CURVES.format(clicks=settings.clicks) + best))
    if settings.baselines:
        entries.append(("Classical methods", _BASELINES))
    entries.append(("Data", f"{evaluation.data} (SHA-256 {evaluation.data_sha256}), {len(evaluation.cases)} cases"))
    for model in evaluation.models:
        fold = "" if model.fold is None else f"fold {model.fold}: "
        digest = f", SHA-256 {model.sha256}" if model.sha256 else ""
        where = f"{model.device}, {model.precision}"
        spacing = "native spacing" if model.spacing is None else f"{'x'.join(f'{v:g}' for v in model.spacing)} mm"
        window = "x".join(map(str, model.window))
        entries.append(("Weights", f"{fold}{model.title} ({model.id}), {spacing}, windows {window}, {where}{digest}"))
    entries.append(("Settings", ", ".join(f"{k} {_shown(v)}" for k, v in settings.to_dict().items())))
    items = "".join(f"<dt>{html.escape(term)}</dt><dd>{html.escape(text)}</dd>" for term, text in entries)
    return section("How it was measured", f"<dl>{items}</dl>")


def _about_clicks(settings: EvaluationSettings) -> str:
    if settings.protocol != "clicks":
        return ""
    if settings.start_from_auto:
        return " Here the clicks repair the automatic mask, one connected component at a time."
    return ""


def _shown(value: object) -> str:
    if isinstance(value, list):
        return " + ".join(map(str, value)) or "none"
    return str(value)


_PROTOCOLS = {
    "auto": (
        "Class prompts, sliding window with overlap 0.625 and Gaussian weights, logits above 0 for each class (classes "
        "may overlap), brought to the CT's grid by nearest neighbour."
    ),
    "point": (
        "The paper's: in every window and for every class that it shows, one click on the voxel nearest to the "
        "centroid of the eroded object's largest component; windows stitched. Many clicks an object, not one."
    ),
    "auto+point": (
        "The paper's: in every window, three trials of clicks on the automatic result, and the truth decides which one "
        "is kept. An upper bound, not what a person reaches."
    ),
    "zero-shot": (
        "The paper's, for lesions and animals: the first click near the centroid of the eroded object, each further "
        "one on a random voxel of the larger eroded error; all windows with clicks are asked for a new structure, the "
        "others vote against it. Slices without truth are not looked at: easier than it would be for a person."
    ),
    "clicks": (
        "A simulated person: the first click lies at the object's deepest voxel, each further one at the deepest voxel "
        "of the largest connected error (positive where something is missing, negative where there is too much). All "
        "clicks so far are given with every question. Depth is in mm on the CT's grid; nothing is random."
    ),
}
_SCORES = (
    "On the CT's own grid, in mm. Dice; NSD: share of both surfaces within {tolerance} mm of the other; HD95: 95th "
    "percentile of surface distances, the larger of both directions (MONAI). A class that is there and was missed has "
    "Dice and NSD 0 and no distance. Classes that were not annotated in a case are not looked at; annotated ones that "
    "are absent are listed and have no Dice."
)
_CURVES = (
    "Dice after 1 to {clicks} clicks; where nothing was wrong any more, the last value stays. Area: trapezoids from "
    "the first to the last click, divided by their number (1 is perfect at once). Clicks to a goal count all clicks "
    "where it was never reached."
)
_BEST = (
    " As in the paper, the answer with the best Dice among those clicks counts, in the curves (they cannot fall) as in "
    "the tables."
)
_BASELINES = (
    "Region growing: confidence-connected (SimpleITK). Fast marching: fronts from object and background, slow at edges "
    "(SimpleITK). Random walker (scikit-image). They see the CT around the clicks as far and as finely as the model's "
    "windows; one set of parameters for everything; before the first negative click the crop's border is background."
)
