"""Talking to a terminal, or to a log: progress, remarks, errors. Everything here goes to stderr."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from VISTA3DLib.progress import Progress

LOG_SECONDS = 10.0  # between two lines of progress in a log


def stderr() -> Console:
    """A console on stderr; made when needed, so that redirection in tests and logs is respected."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def show_error(message: str, fix: str = "") -> None:
    """An error in red, and what to do about it."""
    console = stderr()
    console.print(f"[bold red]Error:[/] {escape(message)}")
    if fix:
        console.print(f"  [yellow]{escape(fix)}[/]")


def show_warning(message: str) -> None:
    """A remark that a person should read before trusting the result."""
    stderr().print(f"[yellow]Note:[/] {escape(message)}")


def show_line(message: str) -> None:
    """A plain line."""
    stderr().print(escape(message))


class Reporter:
    """Progress as bars on a terminal, and as a line now and then in a log. Call it as a ``ProgressCallback``."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = stderr()
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._said = 0.0

    def __enter__(self) -> Reporter:
        if self._console.is_terminal and not self._quiet:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bars = Bars(*columns, console=self._console, transient=True)
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        if self._bars is not None:
            self._bars.stop()
        return False

    def __call__(self, report: Progress) -> None:
        """Show one report."""
        if report.note:
            self._console.print(f"[yellow]Note:[/] {escape(report.note)}")
        if self._bars is not None:
            if report.stage not in self._tasks:
                self._tasks[report.stage] = self._bars.add_task(report.stage, total=report.total)
            self._bars.update(self._tasks[report.stage], completed=report.done, total=report.total)
        elif not self._quiet:
            self._log(report)

    def _log(self, report: Progress) -> None:
        now = time.monotonic()
        finished = report.done == report.total
        if report.done and (finished or now - self._said >= LOG_SECONDS):
            self._said = now
            left = "" if finished or report.seconds_left is None else f", about {report.seconds_left:.0f} s left"
            self._console.print(f"{report.stage}: {report.done} of {report.total}{left}")
