"""The report: one HTML file that needs nothing else, to be read by a person and mailed to another."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from VISTA3DLib import __version__
from VISTA3DLib.evaluation.charts import class_box_chart, click_box_chart, click_curve_chart
from VISTA3DLib.evaluation.class_scores import ClassScore, DatasetScore, class_scores, counted_rows, dataset_scores
from VISTA3DLib.evaluation.click_curves import CurveSummary, object_curves, summarise_curves
from VISTA3DLib.evaluation.failures import grouped
from VISTA3DLib.evaluation.html import NOTHING, Cell, figure, number, section, table
from VISTA3DLib.evaluation.pictures import WorstCase, title_of
from VISTA3DLib.evaluation.report_about import how_it_was_measured, paper_section
from VISTA3DLib.evaluation.run import Evaluation
from VISTA3DLib.evaluation.settings import MODEL, EvaluationSettings

_SHOWN_CLICKS = (1, 3, 5, 10, 15, 20)
_MOST_LISTED = 200


@dataclass(frozen=True, kw_only=True)
class Findings:
    """An evaluation summed up: what the report, the CSV files and the JSON are made of."""

    evaluation: Evaluation
    classes: tuple[ClassScore, ...]
    datasets: tuple[DatasetScore, ...]
    curves: tuple[CurveSummary, ...]

    @classmethod
    def of(cls, evaluation: Evaluation) -> Findings:
        """Sum an evaluation up."""
        settings = evaluation.settings
        classes = class_scores(evaluation.rows, settings)
        return cls(
            evaluation=evaluation,
            classes=classes,
            datasets=dataset_scores(classes),
            curves=summarise_curves(evaluation.rows, settings) if settings.has_curves else (),
        )


def make_report(findings: Findings, worst: Sequence[WorstCase]) -> str:
    """The page as HTML text."""
    style = (resources.files("VISTA3DLib") / "evaluation" / "report.css").read_text(encoding="utf-8")
    title = f"{findings.evaluation.name}: {_protocol_title(findings.evaluation)}"
    body = "".join(
        (
            _header(findings.evaluation, title),
            _tiles(findings),
            _clicks_section(findings),
            _classes_section(findings),
            _worst_section(worst),
            _absent_section(findings),
            paper_section(findings.evaluation, findings.classes, findings.datasets),
            _failures_section(findings.evaluation),
            how_it_was_measured(findings.evaluation),
        )
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title>\n<style>{style}</style></head>\n<body><main>{body}</main></body></html>\n"
    )


def _protocol_title(evaluation: Evaluation) -> str:
    settings = evaluation.settings
    start = " on the automatic mask" if settings.start_from_auto else ""
    titles = {
        "auto": "automatic segmentation",
        "point": "a click in every window",
        "auto+point": "automatic segmentation, corrected in every window",
        "zero-shot": f"up to {settings.clicks} clicks on structures that count as unknown",
        "clicks": f"up to {settings.clicks} clicks an object{start}",
    }
    return titles[settings.protocol]


def _header(evaluation: Evaluation, title: str) -> str:
    names = ", ".join(dict.fromkeys(m.id for m in evaluation.models))
    folds = sorted({m.fold for m in evaluation.models if m.fold is not None})
    crossed = f", cross-validated over {len(folds)} folds" if folds else ""
    text = f"{names}{crossed}; {len(evaluation.cases)} cases; VISTA3D {__version__}"
    notes = dict.fromkeys(m.note for m in evaluation.models if m.note)
    if any(m.demonstration for m in evaluation.models):
        notes["These weights are for demonstration and tests, not for anatomy beyond their classes."] = None
    warnings = "".join(f'<div class="warn">{html.escape(note)}</div>' for note in notes)
    return f"<header><h1>{html.escape(title)}</h1><p>{html.escape(text)}</p></header>{warnings}"


def _tiles(findings: Findings) -> str:
    tiles: list[tuple[str, str]] = []
    model = [d for d in findings.datasets if d.method == MODEL]
    if len(model) == 1:
        after = f", {_which_answer(findings.evaluation.settings)}" if findings.curves else ""
        tiles.append((number(model[0].dice), f"Dice, mean over {model[0].classes} classes{after}"))
        tiles.append((number(model[0].nsd), f"NSD at {findings.evaluation.settings.tolerance_mm:g} mm"))
    for curve in [c for c in findings.curves if c.method == MODEL][:1] if len(model) == 1 else []:
        tiles.append((number(curve.mean[0]), "Dice after the first click"))
        tiles.append((number(curve.area), "area under the click curve"))
        tiles.append((f"{curve.goals[0].reached:.0%}", f"of objects reach {curve.goals[0].dice}"))
    tiles.append((str(sum(s.cases for s in findings.classes if s.method == MODEL)), "objects scored"))
    absent = sum(s.absent for s in findings.classes if s.method == MODEL)
    tiles.append((str(absent), "absent, not scored"))
    cells = "".join(f'<div class="tile"><b>{html.escape(v)}</b><span>{html.escape(t)}</span></div>' for v, t in tiles)
    return f'<div class="tiles">{cells}</div>'


def _which_answer(settings: EvaluationSettings) -> str:
    clicks = "1 click" if settings.clicks == 1 else f"{settings.clicks} clicks"
    return f"the best answer of {clicks}" if settings.best_counts else f"after {clicks}"


def _clicks_section(findings: Findings) -> str:
    settings = findings.evaluation.settings
    parts = []
    datasets = list(dict.fromkeys(c.dataset for c in findings.curves))
    all_curves = object_curves(findings.evaluation.rows, settings)
    for dataset in datasets:
        summaries = [c for c in findings.curves if c.dataset == dataset]
        curves = [c for c in all_curves if c.dataset == dataset]
        boxes = click_box_chart(curves, [s.method for s in summaries])
        heading = f"<h3>{html.escape(dataset)}</h3>" if len(datasets) > 1 else ""
        charts = (
            figure(click_curve_chart(summaries), "Mean over objects; the band is the model's middle half."),
            figure(boxes, "A dot is an object; boxes hold the middle half, the line is the median."),
        )
        parts += [heading, f'<div class="charts">{"".join(charts)}</div>', _curve_table(summaries)]
    same = settings.baseline_clicks == "same"
    given = "the clicks that the model got" if same else "clicks that correct their own errors"
    intro = "Each method answers to the same first click, then to further ones."
    if settings.baselines:
        intro += f" The classical methods got {given}."
    return section("Clicks", *parts, intro=intro)


def _curve_table(summaries: Sequence[CurveSummary]) -> str:
    count = len(summaries[0].mean)
    shown = sorted({n for n in _SHOWN_CLICKS if n <= count} | {count})
    goals = [g.dice for g in summaries[0].goals]
    header = [
        "method",
        "objects",
        *(f"Dice @{n}" for n in shown),
        "area",
        *(f"clicks to {g}" for g in goals),
        *(f"reach {g}" for g in goals),
        "s / click",
    ]
    rows: list[list[str | int]] = [
        [
            s.method,
            s.objects,
            *(number(s.mean[n - 1]) for n in shown),
            number(s.area),
            *(number(g.mean_clicks, 1) for g in s.goals),
            *(f"{g.reached:.0%}" for g in s.goals),
            number(s.seconds, 2),
        ]
        for s in summaries
    ]
    return table(header, rows, strong=[n for n, s in enumerate(summaries) if s.method == MODEL])


def _classes_section(findings: Findings) -> str:
    evaluation = findings.evaluation
    datasets = list(dict.fromkeys(s.dataset for s in findings.classes))
    counted = counted_rows(evaluation.rows, evaluation.settings)
    parts = []
    for dataset in datasets:
        scores = [s for s in findings.classes if s.dataset == dataset and s.cases]
        rows = [r for r in counted if r.dataset == dataset and r.method == MODEL and r.dice is not None]
        if not scores:
            continue
        heading = f"<h3>{html.escape(dataset)}</h3>" if len(datasets) > 1 else ""
        chart = (
            figure(class_box_chart(rows), "A dot is a case; boxes hold the middle half.", kind="classes")
            if rows
            else ""
        )
        parts += [heading, chart, _class_table(scores, findings.datasets, dataset)]
    after = f", {_which_answer(evaluation.settings)}" if findings.curves else ""
    intro = f"Means over the cases that have the class{after}; HD95 and volume error are medians."
    return section("Classes", *parts, intro=intro)


def _class_table(scores: Sequence[ClassScore], datasets: Sequence[DatasetScore], dataset: str) -> str:
    methods = list(dict.fromkeys(s.method for s in scores))
    several = len(methods) > 1
    header = [
        "class",
        *(["method"] if several else []),
        "cases",
        "missed",
        "Dice",
        "± sd",
        "NSD",
        "HD95 mm",
        "volume %",
    ]
    rows: list[list[str | int]] = []
    for s in scores:
        volume = NOTHING if s.volume_error_percent is None else f"{s.volume_error_percent:+.1f}"
        middle = [s.method] if several else []
        numbers = [number(s.dice), number(s.dice_sd), number(s.nsd), number(s.hd95_mm, 1), volume]
        rows.append([s.class_name, *middle, s.cases, s.missed, *numbers])
    strong = []
    for total in (d for d in datasets if d.dataset == dataset and d.classes > 1):
        strong.append(len(rows))
        middle = [total.method] if several else []
        label = f"mean of {total.classes} classes"
        rows.append([label, *middle, total.objects, "", number(total.dice), "", number(total.nsd), "", ""])
    return table(header, rows, texts=2 if several else 1, strong=strong)


def _worst_section(worst: Sequence[WorstCase]) -> str:
    pictures = []
    for item in worst:
        data = base64.b64encode(item.jpeg).decode("ascii")
        name = title_of(item.row)
        image = f'<img alt="{html.escape(name, quote=True)}" src="data:image/jpeg;base64,{data}">'
        surfaces = f"NSD {number(item.row.nsd)}, HD95 {number(item.row.hd95_mm, 1)} mm"
        caption = f"{name}; {surfaces}; {item.row.predicted_ml:.1f} ml predicted, {item.row.truth_ml:.1f} ml true"
        pictures.append(figure(image, caption))
    return section("Worst cases", *pictures, intro="Where the model has the lowest Dice. Green is the truth.")


def _absent_section(findings: Findings) -> str:
    rows = [s for s in findings.classes if s.absent and s.method == MODEL]
    content = table(
        ["class", "data set", "absent in", "found all the same in", "mean ml of that"],
        [[s.class_name, s.dataset, s.absent, _found(s), number(s.false_ml, 2)] for s in rows],
        texts=2,
    )
    intro = (
        "Annotated classes that a case does not show. They have no Dice: counting them as 1 would reward a model for "
        "what is not there."
    )
    return section("Absent classes", content if rows else "", intro=intro)


def _found(score: ClassScore) -> Cell:
    return "not asked for" if score.false_positives is None else score.false_positives


def _failures_section(evaluation: Evaluation) -> str:
    groups = sorted(grouped(evaluation.failures), key=lambda g: not g.first.fatal)
    names = {r.class_id: r.class_name for r in evaluation.rows}
    rows = []
    for group in groups[:_MOST_LISTED]:
        f = group.first
        what = "" if f.class_id is None else names.get(f.class_id, f"class {f.class_id}")
        rows.append([group.where, what, "not scored" if f.fatal else "note", f"{f.cause} {f.fix}".strip()])
    more = f"<p>And {len(groups) - _MOST_LISTED} more.</p>" if len(groups) > _MOST_LISTED else ""
    content = table(["case", "class", "", "what"], rows, texts=4) + more
    return section("Not scored, and notes", content if rows else "")
