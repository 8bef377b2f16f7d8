"""The commands put together, and how errors reach a person."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from VISTA3DLib import __version__
from VISTA3DLib.cli.classes import classes
from VISTA3DLib.cli.cohort import cohort
from VISTA3DLib.cli.console import show_error
from VISTA3DLib.cli.doctor import doctor
from VISTA3DLib.cli.evaluate import evaluate
from VISTA3DLib.cli.finetune import finetune
from VISTA3DLib.cli.pseudo_labels import pseudo_labels
from VISTA3DLib.cli.segment import segment
from VISTA3DLib.cli.supervoxels import supervoxels
from VISTA3DLib.cli.train import train
from VISTA3DLib.cli.view import view
from VISTA3DLib.cli.weights import weights
from VISTA3DLib.errors import CancelledError, VISTA3DError

_INTERRUPTED = 130  # the status that shells give to what Ctrl+C ended

app = typer.Typer(
    name="vista3d",
    help="From a CT to 3D segments: automatic, by clicks, and by clicks that repair.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(segment)
app.command()(view)
app.command()(classes)
app.add_typer(weights, name="weights")
app.command()(supervoxels)
app.command(name="pseudo-labels")(pseudo_labels)
app.command()(cohort)
app.command()(doctor)
app.command()(evaluate)
app.command()(train)
app.command()(finetune)


@app.callback(invoke_without_command=True)
def version(
    show: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
) -> None:
    """Print the version if asked to."""
    if show:
        typer.echo(f"vista3d {__version__}")
        raise typer.Exit


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0, 1 when the person stopped it, 2 for an error, 130 when cancelled."""
    try:
        app(args=None if arguments is None else list(arguments))
    except SystemExit as end:  # how the command line's own library ends: usage errors, --help, Ctrl+C at a question
        if end.code == _INTERRUPTED:
            show_error("Stopped.", "No half result is left; give the same command again.")
        return end.code if isinstance(end.code, int) else 0
    except CancelledError:
        show_error("Cancelled; nothing was written.")
        return _INTERRUPTED
    except VISTA3DError as error:
        show_error(error.message, error.fix)
        return 2
    except MemoryError:
        show_error("There is not enough memory for this.", "Close other programs, or crop the CT.")
        return 2
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
