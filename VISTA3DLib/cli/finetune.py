"""``vista3d finetune``: teach weights from a few labelled cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from VISTA3DLib.cli.console import Reporter, show_line, show_warning

if TYPE_CHECKING:
    from VISTA3DLib.classes import ClassCatalogue
    from VISTA3DLib.training.finetune_report import FinetuneReport

_RUN = "How it runs"


def finetune(
    data: Annotated[Path, typer.Option("--data", help="A data list (JSON) of images and labels, 1 to 10 cases.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run.")],
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", help="Label value to class: 1=liver or 2=140 (new); replaces the list's."),
    ] = None,
    class_names: Annotated[
        list[str] | None, typer.Option("--class-name", help="Name of a new class: 140='left parotid gland'.")
    ] = None,
    single_piece: Annotated[
        list[str] | None,
        typer.Option("--single-piece", help="A taught class of which only the largest piece is kept."),
    ] = None,
    weights: Annotated[str, typer.Option("--weights", "-w", help="Weights to start from.")] = "vista3d-mini",
    name: Annotated[str | None, typer.Option(help="Name of the result. Default: the folder's.")] = None,
    train: Annotated[
        str,
        typer.Option(help="automatic: encoder and clicks stay as they are. everything: the encoder too (the paper)."),
    ] = "automatic",
    replay: Annotated[
        bool, typer.Option(help="Hold the other classes by the start weights' own answers on these cases.")
    ] = True,
    warp: Annotated[
        bool, typer.Option(help="Turn, stretch and shear the windows: a few cases show few people.")
    ] = True,
    optimiser: Annotated[
        str, typer.Option(help="adamw (the paper's), or muon: further in as many steps.", rich_help_panel=_RUN)
    ] = "adamw",
    epochs: Annotated[int, typer.Option(min=1, rich_help_panel=_RUN)] = 100,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Default: 5e-5 for the full size, more for small networks.", rich_help_panel=_RUN),
    ] = None,
    patches: Annotated[int, typer.Option(min=1, help="Windows of a case an epoch.", rich_help_panel=_RUN)] = 2,
    fold: Annotated[int | None, typer.Option(help="Measure on this fold.", rich_help_panel=_RUN)] = None,
    install: Annotated[
        bool, typer.Option(help="Copy the result to the models folder, so that it is listed.", rich_help_panel=_RUN)
    ] = True,
    seed: Annotated[int, typer.Option(rich_help_panel=_RUN)] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=_RUN)] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, fp16 or bf16.", rich_help_panel=_RUN)] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.", rich_help_panel=_RUN)] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.", rich_help_panel=_RUN)] = False,
) -> None:
    """Teach weights from a few cases, and say what changed: Dice before and after, the other classes, clicks.

    Measured on the list's 'testing' cases, or on --fold; without either on the training cases themselves.
    """
    from VISTA3DLib.training.datalist import parse_mapping, read_datalist
    from VISTA3DLib.training.finetune import FinetuneSettings
    from VISTA3DLib.training.finetune import finetune as run
    from VISTA3DLib.weights import catalogue_of, find_weights, models_folders

    catalogue = catalogue_of(find_weights(weights))
    names = _names(class_names)
    settings = FinetuneSettings(
        name=name or output.resolve().name,
        output=output,
        weights=weights,
        classes=names,
        single_piece=tuple(_class_id(text, names, catalogue) for text in single_piece or ()),
        train=train,  # type: ignore[arg-type]
        replay=replay,
        warp=warp,
        optimiser=optimiser,  # type: ignore[arg-type]
        epochs=epochs,
        learning_rate=learning_rate,
        patches_per_case=patches,
        fold=fold,
        install=models_folders()[0] if install else None,
        seed=seed,
        device=device,
        precision=precision,
    )
    cases = read_datalist(data, mapping=parse_mapping(mapping, catalogue) if mapping else None)
    with Reporter(quiet=quiet) as reporter:
        report = run(cases, settings, progress=reporter)
    for note in report.notes:
        show_warning(note)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=1))
    else:
        _show(report)


def _names(texts: list[str] | None) -> dict[int, str]:
    from VISTA3DLib.errors import SettingsError

    found = {}
    for text in texts or ():
        number, _, name = text.partition("=")
        if not number.strip().isdigit() or not name.strip():
            raise SettingsError(f"'{text}' names no class.", "Write ID=NAME, for example 140='left parotid gland'.")
        found[int(number)] = name.strip()
    return found


def _class_id(text: str, names: dict[int, str], catalogue: ClassCatalogue) -> int:
    """The id of a class that is given by id or name; ``names`` are of new ones."""
    if text.strip().isdigit():
        return int(text)
    new = next((number for number, name in names.items() if name == text.strip()), None)
    return catalogue.resolve(text).id if new is None else new


def _show(report: FinetuneReport) -> None:
    before, after = report.before, report.after
    table = Table("class", "automatic before", "after", "one click before", "after")
    for class_id, score in after.automatic.items():
        values = [before.automatic.get(class_id), score, before.one_click.get(class_id), after.one_click.get(class_id)]
        table.add_row(after.names.get(class_id, str(class_id)), *(_number(v) for v in values))
    Console().print(table)
    if report.measured_on_training:
        show_warning("Measured on the training cases: there were no others. New cases will be worse.")
    if after.mean_others is not None:
        show_line(
            f"The other {len(after.others)} classes, against what the start weights said: mean Dice "
            f"{after.mean_others:.3f} (1 is unchanged)."
        )
    unchanged = "unchanged, bit for bit" if report.point_branch_unchanged else "changed with the encoder"
    show_line(f"The click branch is {unchanged}.")
    typer.echo(str(report.installed or report.path))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
