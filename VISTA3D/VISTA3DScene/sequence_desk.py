"""Automatic segmentation of a sequence, frame by frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from VISTA3DLib.errors import VolumeError
from VISTA3DLib.progress import Progress
from VISTA3DLib.protocol import Failure
from VISTA3DScene.automatic_desk import AutomaticDesk, Classes, box_values
from VISTA3DScene.bench import Bench
from VISTA3DScene.frames import volume_grid
from VISTA3DScene.importing import Import, new_segmentation
from VISTA3DScene.jobs import Jobs, State, Task, Values
from VISTA3DScene.sequences import FrameSeries
from VISTA3DScene.volumes import box_of_roi
from VISTA3DScene.worker_link import WorkerLink


class SequenceDesk:
    """Asks for one frame after the other; the segmentations become a sequence in the same browser.

    Nothing is kept of a run that is cancelled or fails. The result is a new node: it needs no undo. ``done`` is called
    with it, None when the run ended without.
    """

    def __init__(
        self, bench: Bench, jobs: Jobs, link: WorkerLink, automatic: AutomaticDesk, done: Callable[[Any], None]
    ) -> None:
        self._bench, self._jobs, self._link = bench, jobs, link
        self._automatic, self._done = automatic, done

    @property
    def running(self) -> bool:
        """Whether a sequence is under way."""
        return self._jobs.running(State.SEQUENCE)

    def run(self, browser: Any, classes: Classes, roi: Any) -> None:
        """Segment classes in all frames that a browser has of the volume."""
        volume = self._bench.needed_volume()
        wanted = self._automatic.checked(classes)
        series = FrameSeries(self._bench.scene, browser, volume)
        box = None if roi is None else box_of_roi(roi, volume)
        self._jobs.cancel_all(State.AUTOMATIC, State.SEQUENCE)
        arguments = {"classes": wanted, "roi": box_values(box), "overlapping": False, "smooth": False}
        self._ask(series, arguments, [])

    def _ask(self, series: FrameSeries, arguments: dict[str, Any], made: list[Any]) -> None:
        number = len(made)

        def advanced(report: Progress) -> None:
            left = None if report.seconds_left is None else report.seconds_left + _rest(report, len(series) - number)
            self._bench.progressed.emit(
                replace(
                    report,
                    stage=f"frame {number + 1} of {len(series)}",
                    done=number * report.total + report.done,
                    total=len(series) * report.total,
                    seconds_left=left,
                )
            )

        task = Task(
            kind=State.SEQUENCE,
            op="segment_classes",
            arguments=arguments,
            result=lambda values: self._take_in(series, arguments, made, values),
            error=self._failed,
            progress=advanced,
        )
        if self._link.ask(task, about=series.frame(number)) is None:
            self._done(None)

    def _take_in(self, series: FrameSeries, arguments: dict[str, Any], made: list[Any], values: Values) -> None:
        model = self._link.model
        assert model is not None
        labels = self._jobs.client.array(values["labelmap"])
        found = Import(
            labels=labels,
            class_ids=[int(c) for c in values["class_ids"]],
            catalogue=model.catalogue,
            model=str(values["model"]),
        )
        made.append(new_segmentation(found, volume_grid(series.frame(len(made)))))
        if len(made) < len(series):
            self._ask(series, arguments, made)
            return
        volume = self._bench.volume
        if volume is None or not series.there:
            raise VolumeError("The sequence was deleted while it was segmented.", "Load it again.")
        node = series.keep(made, f"{volume.GetName()} segmentation")
        self._bench.said.emit(f"{len(made)} frames segmented.")
        self._done(node)

    def _failed(self, failure: Failure) -> None:
        self._bench.failed.emit(failure.kind, failure.message, failure.fix)
        self._done(None)


def _rest(report: Progress, frames: int) -> float:
    """Seconds for the frames behind this one, if they take as long."""
    share = 1 - report.fraction
    whole = (report.seconds_left or 0.0) / share if share else 0.0
    return whole * (frames - 1)
