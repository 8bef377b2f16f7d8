"""``vista3d segment``: one command from a CT to segments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from VISTA3DLib.cli.console import Reporter, show_line, show_warning
from VISTA3DLib.cli.lists import parts
from VISTA3DLib.cli.segment_job import SegmentJob
from VISTA3DLib.cli.segment_options import SegmentOptions

_CLICKS = "Clicks"
_RUN = "How it runs"


def segment(
    ct: Annotated[
        Path | None, typer.Argument(help="A CT: NIfTI, NRRD, MetaImage, or a DICOM folder.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write: .seg.nrrd, .nii.gz or .dcm.")
    ] = None,
    sample: Annotated[str | None, typer.Option(help="Use the built-in CT phantom instead of a file: torso.")] = None,
    series: Annotated[str | None, typer.Option(help="SeriesInstanceUID, if a DICOM folder has several.")] = None,
    weights: Annotated[str, typer.Option("--weights", "-w", help="Weights: an id or a file.")] = "vista3d-mini",
    classes: Annotated[
        list[str] | None,
        typer.Option("--classes", "-c", help="Names, ids or sets, by comma or repeated. Default: everything."),
    ] = None,
    merge_groups: Annotated[
        bool, typer.Option("--merge-groups", help="Kidney, lung and bone as one segment each.")
    ] = False,
    overlapping: Annotated[
        bool, typer.Option("--overlapping", help="One mask a class: vessels and tumours inside organs survive.")
    ] = False,
    smooth: Annotated[bool, typer.Option("--smooth", help="Borders at the CT's resolution, not the model's.")] = False,
    roi: Annotated[
        str | None, typer.Option(help="Region of interest, RAS mm: R0,R1,A0,A1,S0,S1.", show_default=False)
    ] = None,
    point: Annotated[
        list[str] | None,
        typer.Option("--point", help="A click: R,A,S,+ or R,A,S,- (repeat it).", rich_help_panel=_CLICKS),
    ] = None,
    points: Annotated[
        Path | None, typer.Option("--points", help="Clicks in a .mrk.json or our JSON.", rich_help_panel=_CLICKS)
    ] = None,
    point_space: Annotated[
        str, typer.Option("--point-space", help="What --point numbers are: ras, lps or ijk.", rich_help_panel=_CLICKS)
    ] = "ras",
    clicked_class: Annotated[
        str | None, typer.Option("--class", help="What is clicked: a class name or id.", rich_help_panel=_CLICKS)
    ] = None,
    new_structure: Annotated[
        str | None,
        typer.Option("--new-structure", help="Name of a clicked structure that is no class.", rich_help_panel=_CLICKS),
    ] = None,
    refine: Annotated[
        Path | None, typer.Option("--refine", help="A segmentation to repair by the clicks.", rich_help_panel=_CLICKS)
    ] = None,
    segment_name: Annotated[
        str | None, typer.Option("--segment", help="Which segment of --refine.", rich_help_panel=_CLICKS)
    ] = None,
    mode: Annotated[
        str, typer.Option(help="bundle (as published) or quality (more overlap).", rich_help_panel=_RUN)
    ] = "bundle",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=_RUN)] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, fp16 or bf16.", rich_help_panel=_RUN)] = "auto",
    compiled: Annotated[
        bool, typer.Option("--compile", help="Let torch.compile fuse the network first.", rich_help_panel=_RUN)
    ] = False,
    batch: Annotated[int, typer.Option(min=1, help="Windows at once.", rich_help_panel=_RUN)] = 1,
    picture: Annotated[
        Path | None, typer.Option(help="Also draw three planes with outlines.", rich_help_panel=_RUN)
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a machine-readable summary.", rich_help_panel=_RUN)
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.", rich_help_panel=_RUN)] = False,
) -> None:
    """Segment a CT: classes automatically, a structure by clicks, or repair a segmentation by clicks."""
    options = SegmentOptions(
        ct=ct,
        output=output,
        sample=sample,
        series=series,
        weights=weights,
        classes=parts(classes, "--classes"),
        merge_groups=merge_groups,
        overlapping=overlapping,
        smooth=smooth,
        roi=roi,
        point=tuple(point or ()),
        points=points,
        point_space=point_space,
        clicked_class=clicked_class,
        new_structure=new_structure,
        refine=refine,
        segment_name=segment_name,
        mode=mode,
        device=device,
        precision=precision,
        compile=compiled,
        batch=batch,
        picture=picture,
    )
    with Reporter(quiet=quiet) as reporter:
        summary = SegmentJob(options, progress=reporter, remark=show_warning, line=ignore if quiet else show_line).run()
    if as_json:
        typer.echo(json.dumps(summary.to_dict(), indent=1))
    else:
        for line in summary.lines():
            typer.echo(line)


def ignore(_: str) -> None:
    """Say nothing."""
