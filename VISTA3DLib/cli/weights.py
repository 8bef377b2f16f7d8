"""``vista3d weights``: which there are, getting them, checking them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from VISTA3DLib.cli.console import Reporter, show_line, show_warning
from VISTA3DLib.errors import CheckpointError

weights = typer.Typer(help="List, download and check weights.", no_args_is_help=True)

CacheDir = Annotated[Path | None, typer.Option("--cache-dir", help="Folder of the hub's cache.")]


@weights.command("list")
def list_weights(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False, cache_dir: CacheDir = None
) -> None:
    """Show the weights that are known: built in, official, and those in the models folders."""
    from VISTA3DLib.download import is_downloaded
    from VISTA3DLib.weights import WeightsCatalogue

    catalogue = WeightsCatalogue.load()
    entries = [(e, is_downloaded(e, cache_dir)) for e in catalogue]
    for problem in catalogue.problems:
        show_warning(problem)
    if as_json:
        rows = [
            {
                "id": e.id,
                "title": e.title,
                "here": here,
                "bytes": e.size,
                "licence": e.licence.name,
                "automatic": e.automatic,
                "interactive": e.interactive,
                "demonstration": e.demonstration,
                "note": e.note,
            }
            for e, here in entries
        ]
        typer.echo(json.dumps(rows, indent=1))
        return
    table = Table("id", "what it is", "here", "size", "licence")
    for entry, here in entries:
        size = "" if entry.size is None else f"{entry.size / 1e6:.0f} MB"
        text = entry.title + (f"\n[yellow]{entry.note}" if entry.note else "")
        table.add_row(entry.id, text, "yes" if here else "no", size, entry.licence.name)
    Console().print(table)


@weights.command("download")
def download_weights(
    id: Annotated[str, typer.Argument(help="Id of the weights, see 'vista3d weights list'.")],
    accept_license: Annotated[
        bool, typer.Option("--accept-license", help="Accept the licence that is shown; without it you are asked.")
    ] = False,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", help="A mirror of the hub (or set HF_ENDPOINT).")
    ] = None,
    cache_dir: CacheDir = None,
) -> None:
    """Show the licence of official weights, fetch them, and check what arrived."""
    from VISTA3DLib.consents import is_accepted
    from VISTA3DLib.download import download, licence_text
    from VISTA3DLib.weights import find_weights

    entry = find_weights(id)
    if entry.origin is not None and not is_accepted(entry):
        show_line(licence_text(entry, cache_dir=cache_dir, endpoint=endpoint))
        if not accept_license:
            accept_license = typer.confirm("Do you accept this licence?", err=True)
            if not accept_license:
                raise typer.Exit(1)
    with Reporter() as reporter:
        path = download(entry, accept_licence=accept_license, cache_dir=cache_dir, endpoint=endpoint, progress=reporter)
    typer.echo(str(path))


@weights.command("verify")
def verify_weights(
    spec: Annotated[str, typer.Argument(help="An id or a file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    cache_dir: CacheDir = None,
) -> None:
    """Check a file: size, SHA-256, and that every tensor fits the network."""
    from VISTA3DLib.loading import verify

    report = verify(spec, cache_dir=cache_dir)
    if as_json:
        plain = {"path": str(report.path), "bytes": report.size, "sha256": report.sha256, "ok": report.ok}
        typer.echo(json.dumps({**plain, "problem": report.problem}, indent=1))
    else:
        typer.echo(f"{report.path}\n{report.size:,} bytes, SHA-256 {report.sha256}")
        known = "as published" if report.expected_sha256 else "nobody published a checksum to compare with"
        typer.echo(f"checksum {known}; every tensor fits" if report.ok else report.problem)
    if not report.ok:
        raise CheckpointError(f"{report.path} is not what it should be.", "Download or copy it again.")
