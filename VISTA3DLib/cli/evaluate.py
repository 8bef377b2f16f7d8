"""``vista3d evaluate``: how good weights are on labelled cases, with a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from VISTA3DLib.cli.console import Reporter, show_warning
from VISTA3DLib.cli.lists import parts

if TYPE_CHECKING:
    from VISTA3DLib.classes import ClassCatalogue
    from VISTA3DLib.evaluation.outputs import Outputs
    from VISTA3DLib.evaluation.settings import EvaluationSettings
    from VISTA3DLib.training.datalist import LabelMapping

_CASES = "Cases and classes"
_CLICKS = "Clicks"
_RUN = "How it runs"
_SHOWN_NOTES = 8


def evaluate(
    data: Annotated[Path, typer.Option("--data", help="A data list (JSON): images, labels, label_mapping.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the report; a killed run goes on there.")],
    protocol: Annotated[
        str, typer.Option(help="auto, point, auto+point, zero-shot (the paper's), clicks (a simulated person).")
    ] = "auto",
    weights: Annotated[
        str, typer.Option("--weights", "-w", help="An id or a file; {fold} stands for the case's fold.")
    ] = "vista3d-mini",
    split: Annotated[str, typer.Option(help="training, testing or all.", rich_help_panel=_CASES)] = "all",
    fold: Annotated[int | None, typer.Option(help="Only cases of this fold.", rich_help_panel=_CASES)] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many cases.", rich_help_panel=_CASES)] = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", help="Label value to class, 1=liver; replaces the list's.", rich_help_panel=_CASES),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option("--classes", "-c", help="Only these: ids or names, by comma.", rich_help_panel=_CASES),
    ] = None,
    min_ml: Annotated[float, typer.Option(help="Leave smaller objects out.", rich_help_panel=_CASES)] = 0.0,
    clicks: Annotated[int, typer.Option("--clicks", "-n", help="Clicks an object.", rich_help_panel=_CLICKS)] = 10,
    baselines: Annotated[
        str, typer.Option(help="Classical methods beside the model, by comma, or none.", rich_help_panel=_CLICKS)
    ] = "region growing,fast marching,random walker",
    baseline_clicks: Annotated[
        str, typer.Option(help="same: the model's clicks; own: for their own errors.", rich_help_panel=_CLICKS)
    ] = "same",
    from_auto: Annotated[
        bool, typer.Option("--from-auto", help="Clicks repair the automatic mask.", rich_help_panel=_CLICKS)
    ] = False,
    tolerance: Annotated[float, typer.Option(help="Of the NSD, in mm.")] = 2.0,
    worst: Annotated[int, typer.Option(min=0, help="How many of the worst cases get a picture.")] = 6,
    seed: Annotated[int, typer.Option(help="Of random clicks (auto+point, zero-shot).", rich_help_panel=_RUN)] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=_RUN)] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, fp16 or bf16.", rich_help_panel=_RUN)] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.", rich_help_panel=_RUN)] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.", rich_help_panel=_RUN)] = False,
) -> None:
    """Evaluate weights on labelled cases: Dice, surfaces, clicks, baselines, an HTML report.

    Cross-validation: give every case its fold in the list and weights like runs/fold{fold}/model.safetensors.
    """
    from VISTA3DLib.evaluation.evaluate import evaluate as run

    settings = _settings(
        protocol=protocol,
        clicks=clicks,
        classes=parts(classes, "--classes"),
        weights=weights,
        min_ml=min_ml,
        tolerance_mm=tolerance,
        baselines=() if baselines.strip().lower() in {"", "none"} else parts([baselines], "--baselines"),
        baseline_clicks=baseline_clicks,
        start_from_auto=from_auto,
        seed=seed,
    )
    with Reporter(quiet=quiet) as reporter:
        outputs = run(
            data,
            output,
            settings,
            weights=weights,
            mapping=_mapping(mapping, weights),
            split=split,
            fold=fold,
            limit=limit,
            worst=worst,
            device=device,
            precision=precision,
            progress=reporter,
        )
    _show(outputs, as_json=as_json)


def _settings(**values: Any) -> EvaluationSettings:
    from VISTA3DLib.evaluation.settings import EvaluationSettings

    names, weights = values.pop("classes"), values.pop("weights")
    catalogue = _catalogue(weights)
    ids = tuple(int(name) if name.isdigit() else catalogue.resolve(name).id for name in names)
    return EvaluationSettings(classes=ids, **values)


def _mapping(texts: list[str] | None, weights: str) -> LabelMapping | None:
    from VISTA3DLib.training.datalist import parse_mapping

    return parse_mapping(texts, _catalogue(weights)) if texts else None


def _catalogue(weights: str) -> ClassCatalogue:
    """The classes whose names may be written: those of the weights; the CT model's if there is a file for each fold."""
    from VISTA3DLib.classes import ClassCatalogue
    from VISTA3DLib.evaluation.fold_models import FOLD
    from VISTA3DLib.weights import catalogue_of, find_weights

    return ClassCatalogue.load() if FOLD in weights else catalogue_of(find_weights(weights))


def _show(outputs: Outputs, *, as_json: bool) -> None:
    from VISTA3DLib.evaluation.failures import grouped

    fatal = grouped(f for f in outputs.findings.evaluation.failures if f.fatal)
    for group in fatal[:_SHOWN_NOTES]:
        show_warning(f"{group.where}: not scored. {group.first.cause} {group.first.fix}".strip())
    if len(fatal) > _SHOWN_NOTES:
        show_warning(f"{len(fatal) - _SHOWN_NOTES} more are listed in the report.")
    if as_json:
        typer.echo(json.dumps({**outputs.summary, "outputs": [str(p) for p in outputs.files]}, indent=1))
        return
    for line in _lines(outputs):
        typer.echo(line)


def _lines(outputs: Outputs) -> list[str]:
    """Tables for a terminal: by data set and method, then by click."""
    findings = outputs.findings
    lines = [f"{'data set':<24} {'method':<16} {'classes':>7} {'objects':>7} {'Dice':>6} {'NSD':>6}"]
    for d in findings.datasets:
        lines.append(f"{d.dataset[:24]:<24} {d.method:<16} {d.classes:>7} {d.objects:>7} {d.dice:>6.3f} {d.nsd:>6.3f}")
    if findings.curves:
        shown = [n for n in (1, 3, 5, 10) if n <= findings.evaluation.settings.clicks]
        head = " ".join(f"{f'@{n}':>6}" for n in shown)
        lines += ["", f"{'Dice after clicks':<24} {'method':<16} {head} {'area':>6} {'to .8':>6} {'to .9':>6}"]
    for c in findings.curves:
        dice = " ".join(f"{c.mean[n - 1]:>6.3f}" for n in shown)
        goals = " ".join(f"{g.mean_clicks:>6.1f}" for g in c.goals)
        lines.append(f"{c.dataset[:24]:<24} {c.method:<16} {dice} {c.area:>6.3f} {goals}")
    return [*lines, "", *(f"wrote {p}" for p in outputs.files)]
