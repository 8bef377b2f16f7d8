"""``vista3d cohort``: thousands of scans, on one machine or many, with a report."""

from __future__ import annotations

import json
import time
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from VISTA3DLib.cli.console import LOG_SECONDS, show_line, show_warning, stderr
from VISTA3DLib.cli.lists import parts
from VISTA3DLib.errors import OutputError

if TYPE_CHECKING:
    from VISTA3DLib.cohort.pace import CohortProgress
    from VISTA3DLib.cohort.run import CohortSummary

_RUN = "How it runs"
_FLAGS = "Flags"


def cohort(
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="A folder of images or DICOM studies, or a CSV or Parquet table.")
    ],
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Folder of the results; also s3:// and others.")
    ] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--classes", "-c", help="Names, ids or sets. Default: everything.")
    ] = None,
    weights: Annotated[str, typer.Option("--weights", "-w", help="Weights: an id or a file.")] = "vista3d-mini",
    formats: Annotated[
        str, typer.Option("--format", "-f", help="seg.nrrd, nii.gz, dcm (DICOM SEG); several by comma.")
    ] = "seg.nrrd",
    match: Annotated[str, typer.Option(help="Only paths like this, for example '*/ct.nii.gz'.")] = "",
    one_per_study: Annotated[
        bool, typer.Option("--one-per-study", help="Of a study's CT series the one with most images.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on: skip what is done, redo the rest.")] = False,
    overlapping: Annotated[bool, typer.Option("--overlapping", help="One mask a class; they may overlap.")] = False,
    smooth: Annotated[bool, typer.Option("--smooth", help="Borders at the CT's resolution.")] = False,
    merge_groups: Annotated[bool, typer.Option("--merge-groups", help="Kidney, lung and bone as one each.")] = False,
    mode: Annotated[str, typer.Option(help="bundle (as published) or quality (more overlap).")] = "bundle",
    picture: Annotated[bool, typer.Option("--picture/--no-picture", help="Draw three planes of each scan.")] = True,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="A Ray cluster; without it one starts here.", rich_help_panel=_RUN),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Models loaded at a time. Default: as many as there is room for.", rich_help_panel=_RUN),
    ] = None,
    gpus_per_worker: Annotated[
        float | None, typer.Option("--gpus-per-worker", help="May be a part of one: 0.5.", rich_help_panel=_RUN)
    ] = None,
    cpus_per_worker: Annotated[
        float | None, typer.Option("--cpus-per-worker", help="Cores of each worker.", rich_help_panel=_RUN)
    ] = None,
    hands: Annotated[
        int | None, typer.Option(help="Processes per worker that read and write.", rich_help_panel=_RUN)
    ] = None,
    depth: Annotated[
        int | None, typer.Option(help="Scans in the air per worker; bounds memory.", rich_help_panel=_RUN)
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Windows at once.", rich_help_panel=_RUN)] = 1,
    precision: Annotated[str, typer.Option(help="auto, fp32, fp16 or bf16.", rich_help_panel=_RUN)] = "auto",
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Start Ray's dashboard with a local cluster.", rich_help_panel=_RUN)
    ] = False,
    most_components: Annotated[
        int, typer.Option("--max-components", help="More connected parts are flagged.", rich_help_panel=_FLAGS)
    ] = 10,
    least_agreement: Annotated[
        float, typer.Option("--min-agreement", help="Least share of voxels with possible HU.", rich_help_panel=_FLAGS)
    ] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="Print a machine-readable summary.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Segment a whole cohort, measure it, and write a report. Needs the extra 'cohort' (Ray)."""
    from VISTA3DLib.cohort.run import CohortRequest, CohortRun
    from VISTA3DLib.cohort.settings import CohortSettings, FlagRules, RunOptions

    if output is None:
        raise OutputError("No output was named.", "Add -o FOLDER")
    request = CohortRequest(
        source=source,
        output=output,
        settings=CohortSettings(
            classes=parts(classes, "--classes") or ("everything",),
            weights=weights,
            formats=parts([formats], "--format"),
            picture=picture,
            mode=mode,
            overlapping=overlapping,
            smooth=smooth,
            merge_groups=merge_groups,
            precision=precision,
        ),
        options=RunOptions(
            ray=ray,
            workers=workers,
            gpus_per_worker=gpus_per_worker,
            cpus_per_worker=cpus_per_worker,
            hands=hands,
            depth=depth,
            batch=batch,
            dashboard=dashboard,
        ),
        rules=FlagRules(most_components=most_components, least_agreement=least_agreement),
        match=match,
        one_per_study=one_per_study,
        resume=resume,
    )
    with CohortReporter(quiet=quiet) as reporter:
        line = (lambda _: None) if quiet else show_line
        summary = CohortRun(request, progress=reporter, remark=show_warning, line=line).run()
    typer.echo(json.dumps(_plain(summary), indent=1) if as_json else "\n".join(_lines(summary)))
    if summary.ended:
        raise typer.Exit(3)


class CohortReporter:
    """Progress with scans per hour and the time left: a bar on a terminal, a line now and then in a log."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet, self._console = quiet, stderr()
        self._said = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> CohortReporter:
        if self._console.is_terminal and not self._quiet:
            columns = (TextColumn("scans"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.add_task("", total=None)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        if self._bar is not None:
            self._bar.stop()
        return False

    def __call__(self, report: CohortProgress) -> None:
        """Show one report."""
        if self._bar is not None:
            task = self._bar.task_ids[0]
            self._bar.update(task, completed=report.done, total=report.total, description=pace_text(report))
            return
        now = time.monotonic()
        if not self._quiet and (report.done == report.total or now - self._said >= LOG_SECONDS):
            self._said = now
            self._console.print(f"scans: {report.done:,} of {report.total:,}{pace_text(report, before=', ')}")


def pace_text(report: CohortProgress, before: str = "") -> str:
    """``340 scans/h, 2.1 h left, 3 failed``."""
    from VISTA3DLib.cohort.drawings import duration

    parts = []
    if report.per_hour is not None:
        parts.append(f"{report.per_hour:,.0f} scans/h")
    if report.seconds_left:
        parts.append(f"{duration(report.seconds_left)} left")
    if report.failed:
        parts.append(f"{report.failed:,} failed")
    return before * bool(parts) + ", ".join(parts)


def _lines(summary: CohortSummary) -> list[str]:
    from VISTA3DLib.cohort.drawings import duration

    counts = ", ".join(f"{count:,} {status}" for status, count in summary.counts.items())
    lines = [
        f"{counts}; {summary.flagged:,} flagged, {summary.left_out:,} left out, {summary.skipped:,} done before; "
        f"{duration(summary.seconds)}"
    ]
    lines += [f"  {count:,} {cause}" for cause, count in summary.cause_counts.items()]
    if summary.ended:
        lines.append(f"{summary.ended} Run the same command with --resume.")
    lines.append(f"Report: {summary.report}")
    return lines


def _plain(summary: CohortSummary) -> dict[str, object]:
    return {
        "counts": dict(summary.counts),
        "causes": dict(summary.cause_counts),
        "flagged": summary.flagged,
        "left_out": summary.left_out,
        "skipped": summary.skipped,
        "seconds": round(summary.seconds, 2),
        "ended": summary.ended,
        "report": summary.report,
    }
