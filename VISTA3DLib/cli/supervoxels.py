"""``vista3d supervoxels``: regions for training the click branch on what nobody labelled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from VISTA3DLib.cli.console import Reporter


def supervoxels(
    ct: Annotated[Path, typer.Argument(help="A CT: NIfTI, NRRD, MetaImage, or a DICOM folder.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write: .nii.gz or .nii.")],
    sam: Annotated[
        Path | None,
        typer.Option(
            help="A checkpoint of segment-anything: SLIC on its features, as in the paper. Without it: 'plain' "
            "supervoxels, from multi-scale intensities and gradients.",
            show_default=False,
        ),
    ] = None,
    segments: Annotated[int, typer.Option(help="About how many supervoxels.")] = 400,
    compactness: Annotated[
        float | None, typer.Option(help="Weight of the place. Default: 0.01 with SAM, else 0.2.", show_default=False)
    ] = None,
    sigma: Annotated[
        float | None,
        typer.Option(help="Smoothing before SLIC, voxels. Default: 3 with SAM, else 0.", show_default=False),
    ] = None,
    working_mm: Annotated[
        float | None,
        typer.Option(help="Work on voxels of about this size. Default: the CT's, if it fits.", show_default=False),
    ] = None,
    slices_at_once: Annotated[int, typer.Option(help="Slices per batch of SAM on a GPU.")] = 8,
    work_folder: Annotated[
        Path | None,
        typer.Option(
            help="Keeps SAM's features until the end, so that a killed run continues. Default: beside the output.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="For SAM: auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    series: Annotated[str | None, typer.Option(help="SeriesInstanceUID, if a DICOM folder has several.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Cut a CT into supervoxels: 0 is air, 1 to n the rest."""
    from VISTA3DLib.files.atomic import check_not_input
    from VISTA3DLib.training.supervoxels import SupervoxelSettings, write_supervoxels

    check_not_input(output, (ct,))
    settings = SupervoxelSettings(
        method="plain" if sam is None else "sam",
        segments=segments,
        compactness=compactness,
        sigma=sigma,
        sam_checkpoint=sam,
        slices_at_once=slices_at_once,
        working_mm=working_mm,
    )
    with Reporter(quiet=quiet) as reporter:
        count = write_supervoxels(
            ct, output, settings, series=series, work_folder=work_folder, device=device, progress=reporter
        )
    typer.echo(f"{output}: {count} supervoxels ({settings.method})")
