"""What the worker is asked, and what became of it: one job a request, dropped answers stay dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from VISTA3DLib.client import Handlers, WorkerClient
from VISTA3DLib.errors import VISTA3DError
from VISTA3DLib.progress import Progress
from VISTA3DLib.protocol import Failure

Values = Mapping[str, Any]
Failed = Callable[[str, str, str], None]


class State(Enum):
    """What goes on."""

    IDLE = "idle"
    LOADING = "loading the model"
    PREPARING = "preparing the volume"
    POINTS = "running the points"
    AUTOMATIC = "segmenting"
    SEQUENCE = "segmenting the sequence"
    DOWNLOADING = "downloading"
    OTHER = "working"


_ORDER = (
    State.SEQUENCE,
    State.AUTOMATIC,
    State.DOWNLOADING,
    State.OTHER,
    State.LOADING,
    State.POINTS,
    State.PREPARING,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """A request before it is sent: its kind, and who hears the answer. ``error`` and ``progress`` are called in place
    of the usual reports."""

    kind: State
    op: str
    arguments: Values
    result: Callable[[Values], None]
    arrays: Mapping[str, Any] | None = None
    error: Callable[[Failure], None] | None = None
    progress: Callable[[Progress], None] | None = None


@dataclass(eq=False)
class Job:
    """A request under way."""

    kind: State
    number: int = -1
    alive: bool = True


class Jobs:
    """Sends requests and keeps account of them.

    An answer is heard once, and not at all when its job was cancelled. A ``VISTA3DError`` raised while an answer is
    taken in counts as the job's failure.
    """

    def __init__(
        self,
        client: WorkerClient,
        *,
        failed: Failed,
        progressed: Callable[[Progress], None],
        changed: Callable[[], None],
    ) -> None:
        self.client = client
        self._failed, self._progressed, self._changed = failed, progressed, changed
        self._jobs: list[Job] = []

    @property
    def state(self) -> State:
        """What goes on; what a person asked for comes before what that needs."""
        kinds = {job.kind for job in self._jobs}
        return next((kind for kind in _ORDER if kind in kinds), State.IDLE)

    def running(self, kind: State) -> bool:
        """Whether a job of this kind is under way."""
        return any(job.kind is kind for job in self._jobs)

    def submit(self, task: Task, *, keep: bool = False) -> Job | None:
        """Ask the worker; None (and ``failed``) when that is not possible.

        ``keep``: a worker that replaces this one is told it again.
        """
        job = Job(task.kind)
        handlers = Handlers(
            result=lambda values: self._answered(job, values, task.result),
            error=lambda failure: self._refused(job, failure, task.error),
            progress=lambda report: self._advanced(job, report, task.progress or self._progressed),
        )
        ask = self.client.set_state if keep else self.client.submit
        try:
            job.number = ask(task.op, task.arguments, handlers, arrays=task.arrays)
        except VISTA3DError as problem:
            self._failed(problem.kind, problem.message, problem.fix)
            return None
        self._jobs.append(job)
        self._changed()
        return job

    def cancel(self, job: Job | None) -> None:
        """Forget a job; its answer is dropped."""
        if job is not None and job.alive:
            self._end(job)
            self.client.cancel(job.number)
            self._changed()

    def cancel_all(self, *kinds: State) -> bool:
        """Forget all jobs of these kinds (all kinds if none is given); whether there were any."""
        chosen = [job for job in self._jobs if not kinds or job.kind in kinds]
        for job in chosen:
            self.cancel(job)
        return bool(chosen)

    def _end(self, job: Job) -> bool:
        was, job.alive = job.alive, False
        if job in self._jobs:
            self._jobs.remove(job)
        return was

    def _answered(self, job: Job, values: Values, result: Callable[[Values], None]) -> None:
        if not self._end(job):
            return
        try:
            result(values)
        except VISTA3DError as problem:
            self._failed(problem.kind, problem.message, problem.fix)
        self._changed()

    def _refused(self, job: Job, failure: Failure, error: Callable[[Failure], None] | None) -> None:
        if not self._end(job):
            return
        if error is not None:
            error(failure)
        else:
            self._failed(failure.kind, failure.message, failure.fix)
        self._changed()

    def _advanced(self, job: Job, report: Progress, listener: Callable[[Progress], None]) -> None:
        if job.alive:
            listener(report)
