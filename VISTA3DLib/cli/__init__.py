"""The command line: ``vista3d segment``, ``classes``, ``weights``, ``doctor`` and the rest."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the ``vista3d`` command."""
    try:
        from VISTA3DLib.cli.app import run
    except ModuleNotFoundError as error:  # installed without the extra that the command line needs
        if error.name not in {"typer", "rich"}:
            raise
        sys.stderr.write(f"{error}. Install the engine: pip install 'vista3d-slicer[engine]'\n")
        raise SystemExit(2) from error
    raise SystemExit(run())
