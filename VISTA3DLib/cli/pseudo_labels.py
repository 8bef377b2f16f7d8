"""``vista3d pseudo-labels``: which pseudo labels of a data list may be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.cli.console import Reporter


def pseudo_labels(
    data: Annotated[
        Path, typer.Argument(help="A data list (JSON) whose cases have pseudo labels.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The data list with a reliability flag per case.")],
    least_share: Annotated[float, typer.Option(help="Of a class that must lie in its largest component.")] = 0.8,
    least_dice: Annotated[float, typer.Option(help="Between that component and the manual label, if any.")] = 0.5,
    least_ml: Annotated[float, typer.Option(help="Smaller structures are not judged.")] = 1.0,
    most_discrepant: Annotated[float, typer.Option(help="Share of classes that may fail in a reliable case.")] = 0.1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Judge pseudo labels by their largest components and by the manual labels; write the list with flags."""
    from VISTA3DLib.training.pseudo_labels import PseudoLabelRule, flag_datalist

    rule = PseudoLabelRule(
        least_share=least_share, least_dice=least_dice, least_ml=least_ml, most_discrepant=most_discrepant
    )
    catalogue = ClassCatalogue.load()
    with Reporter(quiet=quiet) as reporter:
        checks = flag_datalist(data, output, catalogue, rule=rule, progress=reporter)
    for check in checks:
        names = ", ".join(catalogue[c].name if c in catalogue else str(c) for c in check.discrepant)
        verdict = "reliable" if check.reliable else "not reliable"
        why = f"; discrepant: {names}" if names else ""
        typer.echo(f"{check.case}: {verdict}, {len(check.classes)} classes judged{why}")
    typer.echo(f"{output}: {sum(c.reliable for c in checks)} of {len(checks)} pseudo labels are reliable")
