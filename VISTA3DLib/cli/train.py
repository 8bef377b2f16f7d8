"""``vista3d train``: a training configuration, from its data to weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from VISTA3DLib.cli.console import Reporter, show_line, show_warning


def train(
    config: Annotated[Path, typer.Option("--config", help="A configuration (YAML or JSON), see docs/training.md.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the run; replaces the configuration's.")
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Data list; replaces the configuration's.")] = None,
    fold: Annotated[int | None, typer.Option(help="Hold this fold back; replaces the configuration's.")] = None,
    start: Annotated[
        str | None, typer.Option(help="Weights to start from, an id or a file; replaces the configuration's.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Train weights; a run that was stopped goes on where it was.

    The folder gets last.safetensors, best.safetensors (by the Dice of the fold that is held back), history.csv,
    history.png and TensorBoard events. Several processes: torchrun --nproc-per-node=N --no-python vista3d train ...
    """
    from dataclasses import replace

    from VISTA3DLib.training.run import train as run
    from VISTA3DLib.training.settings import read_training_settings

    settings = read_training_settings(config)
    given: dict[str, Any] = {"output": output, "data": data, "fold": fold, "start": start, "device": device}
    settings = replace(settings, **{k: v for k, v in given.items() if v is not None})
    if settings.fold is None:
        show_warning("No fold is held back: nothing is measured while it trains.")
    with Reporter(quiet=quiet) as reporter:
        best = run(settings, progress=reporter)
    show_line(f"Loss and Dice: {settings.output / 'history.png'}")
    typer.echo(str(best))
