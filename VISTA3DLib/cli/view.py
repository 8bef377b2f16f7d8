"""``vista3d view``: the browser viewer, with one command."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from VISTA3DLib.cli.console import show_line
from VISTA3DLib.errors import SettingsError

_SERVER = "Server"
_INSTALL = "Install it: pip install 'vista3d-slicer[engine,web]' (Python 3.11 for the tested set)."


def view(
    ct: Annotated[
        Path | None, typer.Argument(help="A CT (file or DICOM folder), or a scene (.mrb).", show_default=False)
    ] = None,
    sample: Annotated[str | None, typer.Option(help="Open the built-in CT phantom instead of a file: torso.")] = None,
    series: Annotated[str | None, typer.Option(help="SeriesInstanceUID, if a DICOM folder has several.")] = None,
    weights: Annotated[str, typer.Option("--weights", "-w", help="Weights: an id or a file.")] = "vista3d-mini",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, fp16 or bf16.")] = "auto",
    port: Annotated[
        int | None, typer.Option(help="Port; 0 for any. Default: 8765, or any if taken.", rich_help_panel=_SERVER)
    ] = None,
    open_page: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.", rich_help_panel=_SERVER)
    ] = True,
    host: Annotated[
        str, typer.Option(help="Address to bind to; any but loopback demands a token.", rich_help_panel=_SERVER)
    ] = "127.0.0.1",
    origin: Annotated[
        list[str] | None,
        typer.Option(help="https://... at which a reverse proxy shows the viewer.", rich_help_panel=_SERVER),
    ] = None,
    token: Annotated[
        str, typer.Option(envvar="VISTA3D_TOKEN", help="Token for the URL; made up if needed.", rich_help_panel=_SERVER)
    ] = "",
    upload_limit: Annotated[
        float, typer.Option(help="Largest upload, in GB.", min=0.001, rich_help_panel=_SERVER)
    ] = 4.0,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what the worker says.")] = False,
) -> None:
    """Open a CT in the browser: click to segment, repair, undo, save. Everything stays on this machine."""
    options = _web("options").ViewerOptions(
        path=ct,
        sample=sample,
        series=series,
        weights=weights,
        device=device,
        precision=precision,
        host=host,
        port=port,
        open_page=open_page,
        origins=tuple(origin or ()),
        token=token,
        upload_limit=round(upload_limit * 2**30),
    )
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    logging.getLogger("VISTA3DWeb").setLevel(logging.INFO if verbose else logging.WARNING)
    _web("serve").run(options, lambda address: show_line(f"The viewer is at {address}\nCtrl+C ends it."))


def _web(name: str) -> Any:
    """A module of the viewer, which is an extra: the library itself must not know it, so it is found by name."""
    try:
        importlib.import_module("trame_slicer.core")
        return importlib.import_module(f"VISTA3DWeb.{name}")
    except ModuleNotFoundError as error:
        raise SettingsError(f"The viewer is not installed ({error.name} is missing).", _INSTALL) from error
