"""The run: scans go from a hand to a model to a hand; many at a time, never more than fit, each to its end.

Every process has one task, a model one more that waits. When a model goes down with both, nobody can know which of them
it was: the answer of the first may have been lost with the process. Both are sent again, each alone with a model from
then on. A scan that takes a process down alone is known by name, and gives up after some attempts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from VISTA3DLib.cohort import causes
from VISTA3DLib.cohort.cluster import Cluster, ClusterError, Share, Worker
from VISTA3DLib.cohort.manifest import duplicate_row
from VISTA3DLib.cohort.rows import FAILED, Row
from VISTA3DLib.cohort.scan import Scan
from VISTA3DLib.cohort.segmenter import ModelDescription, Segmented, SegmenterMaker
from VISTA3DLib.cohort.work import Job, ReadScan, row_of
from VISTA3DLib.errors import VISTA3DError

Stage = Literal["read", "segment", "write"]
RowTaker = Callable[[Row, bool], None]
_MODEL_QUEUE = 2
_WAIT_SECONDS = 1.0


@dataclass(eq=False, slots=True)
class _Task:
    """A scan on its way."""

    scan: Scan
    known_hash: str
    attempts: int = 1
    suspect: bool = False  # with another in a model that went down
    alone: bool = False  # was a suspect: has the model for itself
    read: ReadScan | None = None
    about: Segmented | None = None
    volume: Any = None  # references to shared memory
    result: Any = None


@dataclass(eq=False, slots=True)
class _Place:
    """A worker with what it is doing."""

    worker: Worker
    idle: list[Any]
    to_segment: deque[_Task]
    segmenting: deque[_Task]
    to_write: deque[_Task]
    in_air: int = 0
    model_is_up: bool = True
    closed: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class _Flight:
    """A call that has not come back: for which task, at which stage, by which hand."""

    task: _Task
    stage: Stage
    place: _Place
    hand: Any = None


class Schedule:
    """Runs scans on the workers of ``cluster``.

    ``take(row, recorded)`` gets every finished row; ``recorded`` says whether its record is written already.
    ``remark`` gets sentences for the person. ``skipped`` is called for a scan whose content has its result already.
    """

    def __init__(
        self,
        cluster: Cluster,
        share: Share,
        make: SegmenterMaker,
        *,
        attempts: int,
        take: RowTaker,
        skipped: Callable[[Scan], None],
        remark: Callable[[str], None],
    ) -> None:
        self._cluster, self._share, self._make, self._attempts = cluster, share, make, attempts
        self._take, self._skipped, self._remark = take, skipped, remark
        self._starting: dict[Any, Worker] = {}
        for number in range(share.workers):
            self._start(number)
        self._places: list[_Place] = []
        self._flights: dict[Any, _Flight] = {}
        self._recovering: dict[Any, tuple[_Place, Any]] = {}
        self._again: deque[_Task] = deque()
        self._model: ModelDescription | None = None
        self._originals: dict[bytes, str] = {}

    @property
    def in_air(self) -> list[Scan]:
        """The scans that are being worked on."""
        on_way = [task for place in self._places for task in (*place.to_segment, *place.to_write)]
        tasks = [*(flight.task for flight in self._flights.values()), *on_way, *self._again]
        return list({task.scan.id: task.scan for task in tasks}.values())

    @property
    def in_air_count(self) -> int:
        """How many scans are being worked on."""
        return sum(place.in_air for place in self._places) + len(self._again)

    def first_model(self) -> ModelDescription:
        """Wait for the first worker and say which model it has. Raises what kept all of them from loading it."""
        waits = 0
        while self._model is None:
            self._collect()
            waits += 1
            if waits == 30:
                self._remark("Waiting for a worker: its model is being loaded, or the cluster has no room yet.")
        return self._model

    def run(self, job: Job, scans: Iterator[tuple[Scan, str]], originals: dict[bytes, str]) -> None:
        """Work through ``scans`` (each with its known content hash or ""). ``originals``: content -> id of those done.

        Raises ``ClusterLostError``; ``in_air`` then tells which scans were lost. Never raises because of a scan.
        """
        self._originals = originals
        source = iter(scans)
        more = True
        while True:
            for place in self._places:
                more = self._fill(place, job, source, more)
            if not self._flights and not more and not self.in_air_count:
                return
            self._collect(job)

    def _fill(self, place: _Place, job: Job, source: Iterator[tuple[Scan, str]], more: bool) -> bool:
        """Give the idle processes of a worker something to do; results first, they free memory."""
        while place.idle and place.to_write:
            task, hand = place.to_write.popleft(), place.idle.pop()
            call = hand.finish.remote(job, task.scan, task.attempts, task.read, task.about, task.volume, task.result)
            self._flights[call] = _Flight(task=task, stage="write", place=place, hand=hand)
        while place.to_segment and place.model_is_up and _has_room(place):
            task = place.to_segment.popleft()
            about, result = place.worker.model.segment.options(num_returns=2).remote(task.volume)
            task.result = result
            place.segmenting.append(task)
            self._flights[about] = _Flight(task=task, stage="segment", place=place)
        while place.idle and place.in_air < self._share.depth and (more or self._again):
            next_task = self._next(source)
            if next_task is None:
                more = False
                continue
            hand = place.idle.pop()
            place.in_air += 1
            read, volume = hand.read.options(num_returns=2).remote(next_task.scan, next_task.known_hash)
            next_task.volume = volume
            self._flights[read] = _Flight(task=next_task, stage="read", place=place, hand=hand)
        return more

    def _next(self, source: Iterator[tuple[Scan, str]]) -> _Task | None:
        if self._again:
            return self._again.popleft()
        item = next(source, None)
        return None if item is None else _Task(scan=item[0], known_hash=item[1])

    def _collect(self, job: Job | None = None) -> None:
        """Wait for calls to come back and deal with those that did."""
        import ray

        waiting = [*self._flights, *self._starting, *self._recovering]
        ready, _ = ray.wait(waiting, num_returns=1, timeout=_WAIT_SECONDS)
        if ready and len(waiting) > 1:
            ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0)
        if not ready:
            self._cluster.check()
        for call in ready:
            if call in self._starting:
                self._started(call)
            elif call in self._recovering:
                self._recovered(call)
            elif job is not None:
                self._returned(call, job)

    def _start(self, number: int) -> None:
        worker = self._cluster.start_worker(number, self._share, self._make)
        self._starting[worker.model.describe.remote()] = worker

    def _started(self, call: Any) -> None:
        """A worker has loaded its model, or has not."""
        import ray

        worker = self._starting.pop(call)
        try:
            model: ModelDescription = ray.get(call)
        except ray.exceptions.RayTaskError as error:
            self._lost_worker(worker, _original(error))
            return
        except ray.exceptions.RayError as error:
            self._cluster.check()
            self._lost_worker(worker, ClusterError(f"A worker died while loading the model: {_brief(error)}"))
            return
        if self._model is None:
            self._model = model
        elif model.hash != self._model.hash:
            text = f"A node has other weights under the name {model.id} ({model.hash[:8]}, not {self._model.hash[:8]})."
            self._lost_worker(worker, ClusterError(text, "Copy the same file to all nodes."))
            return
        place = _Place(worker=worker, idle=list(worker.hands), to_segment=deque(), segmenting=deque(), to_write=deque())
        self._places.append(place)

    def _lost_worker(self, worker: Worker, error: BaseException) -> None:
        if not self._places and not self._starting:
            raise error
        self._remark(f"Worker {worker.number + 1} cannot be used: {error}")

    def _returned(self, call: Any, job: Job) -> None:
        import ray

        flight = self._flights.pop(call)
        task, place = flight.task, flight.place
        if flight.stage == "segment":
            place.segmenting.remove(task)
        try:
            value = ray.get(call)
        except ray.exceptions.RayTaskError as error:
            original = _original(error)
            self._release(flight)
            if isinstance(original, ray.exceptions.RayError):  # what it was to work on was lost with a node
                self._again_or_failed(flight, job, original)
            else:
                self._failed(flight, job, original)
            return
        except ray.exceptions.RayError as error:
            self._died(flight, job, error)
            return
        self._release(flight)
        if isinstance(value, VISTA3DError):
            self._failed(flight, job, value)
        elif place.closed and flight.stage != "write":  # the worker that would go on with it is gone
            self._send_again(task, task.attempts)
        else:
            self._advance(flight, job, value)

    def _advance(self, flight: _Flight, job: Job, value: Any) -> None:
        task, place = flight.task, flight.place
        if flight.stage == "read":
            task.read = value
            if value.unchanged:
                self._forget(task, place)
                self._skipped(task.scan)
            elif (original := self._original_of(task)) is not None:
                self._forget(task, place)
                self._take(duplicate_row(row_of(task.scan, job, value), original), False)
            else:
                place.to_segment.append(task)
        elif flight.stage == "segment":
            task.about = value
            place.to_write.append(task)
        else:
            self._forget(task, place)
            self._remember(value)
            self._take(value, True)

    def _original_of(self, task: _Task) -> str | None:
        """The scan before this one in the list that has the same content and a result, if there is one."""
        assert task.read is not None
        original = self._originals.get(bytes.fromhex(task.read.input_hash)[:16])
        return original if original is not None and original < task.scan.id else None

    def _remember(self, row: Row) -> None:
        key = bytes.fromhex(row.input_hash)[:16]
        self._originals[key] = min(self._originals.get(key, row.scan), row.scan)

    def _failed(self, flight: _Flight, job: Job, error: BaseException) -> None:
        self._forget(flight.task, flight.place)
        message, fix = (error.message, error.fix) if isinstance(error, VISTA3DError) else (_brief(error), "")
        self._take(self._failed_row(flight, job, causes.cause_of(error), message, fix), False)

    def _died(self, flight: _Flight, job: Job, error: BaseException) -> None:
        """A process went down with a task."""
        import ray

        self._cluster.check()
        place = flight.place
        if flight.stage == "segment" and place.segmenting:
            for suspect in (flight.task, *place.segmenting):
                suspect.suspect = True
        if isinstance(error, ray.exceptions.ActorDiedError):
            self._replace(place)
        elif flight.hand is not None or place.model_is_up:
            self._ping(place, flight.hand)
        self._again_or_failed(flight, job, error)

    def _again_or_failed(self, flight: _Flight, job: Job, error: BaseException) -> None:
        """Once more, unless the task took a process with it before."""
        task = flight.task
        self._forget(task, flight.place)
        if task.suspect or task.attempts < self._attempts:
            self._send_again(task, task.attempts + (not task.suspect))
            return
        memory = "memory" in str(error).lower() and "oom" in str(error).lower()
        cause = causes.MEMORY if memory else causes.CRASH
        text = f"The process that worked on it died, {task.attempts} times: {_brief(error)}"
        self._take(self._failed_row(flight, job, cause, text, "Look at Ray's logs of that time."), False)

    def _ping(self, place: _Place, hand: Any) -> None:
        """Give a process that is being restarted nothing to do until it answers: it would fail without being tried."""
        if hand is None:
            place.model_is_up = False
        self._recovering[place.worker.model.describe.remote() if hand is None else hand.ready.remote()] = (place, hand)

    def _recovered(self, call: Any) -> None:
        import ray

        place, hand = self._recovering.pop(call)
        if place.closed:
            return
        try:
            ray.get(call)
        except ray.exceptions.ActorDiedError:
            self._cluster.check()
            self._replace(place)
        except ray.exceptions.RayError:  # not yet, or again
            self._cluster.check()
            self._ping(place, hand)
        else:
            if hand is None:
                place.model_is_up = True
            else:
                place.idle.append(hand)

    def _release(self, flight: _Flight) -> None:
        """A hand that has answered is free."""
        if flight.hand is not None:
            flight.place.idle.append(flight.hand)

    def _send_again(self, task: _Task, attempts: int) -> None:
        alone = task.suspect or task.alone
        self._again.append(_Task(scan=task.scan, known_hash=task.known_hash, attempts=attempts, alone=alone))

    def _replace(self, place: _Place) -> None:
        """Start a new worker for one that is gone for good and will not be restarted, perhaps with its node."""
        if place.closed:
            return
        place.closed = True
        self._places.remove(place)
        for task in (*place.to_segment, *place.to_write):
            self._send_again(task, task.attempts)
        place.to_segment.clear()
        place.to_write.clear()
        self._remark(f"Worker {place.worker.number + 1} is gone; another one is started.")
        self._cluster.stop_worker(place.worker)
        self._start(place.worker.number)

    def _failed_row(self, flight: _Flight, job: Job, cause: str, message: str, fix: str) -> Row:
        row = row_of(flight.task.scan, job, flight.task.read)
        return replace(
            row, status=FAILED, cause=cause, error=message, fix=fix, stage=flight.stage, attempts=flight.task.attempts
        )

    def _forget(self, task: _Task, place: _Place) -> None:
        place.in_air -= 1
        task.volume = task.result = None


def _has_room(place: _Place) -> bool:
    """Whether the model may get the next task: one more behind another, unless either must be alone."""
    if not place.segmenting:
        return True
    return len(place.segmenting) < _MODEL_QUEUE and not (place.segmenting[0].alone or place.to_segment[0].alone)


def _original(error: Any) -> BaseException:
    """What was raised in the worker."""
    cause = error.cause
    return cause if isinstance(cause, BaseException) else error


def _brief(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)[:300]}" if lines else type(error).__name__
