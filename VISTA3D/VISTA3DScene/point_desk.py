"""Points: edited by a person, kept on the segment, run by the worker, previewed, kept or dropped."""

from __future__ import annotations

import math
from collections.abc import Callable

from VISTA3DLib.errors import PromptError, VISTA3DError
from VISTA3DLib.geometry import Grid, Vector3
from VISTA3DLib.prompts import Point, checked_points
from VISTA3DLib.protocol import Failure
from VISTA3DScene.bench import Bench
from VISTA3DScene.frames import from_world, to_world, volume_grid
from VISTA3DScene.history import Step
from VISTA3DScene.jobs import Job, Jobs, State, Task, Values
from VISTA3DScene.lattice import LatticeMask, difference
from VISTA3DScene.ledger import Action
from VISTA3DScene.overwrite import Overwrite
from VISTA3DScene.point_nodes import PointNodes
from VISTA3DScene.point_run import Answer, PointRun
from VISTA3DScene.preview import Preview, PreviewNode
from VISTA3DScene.prompts import Prompts, Round, prompts_of, seal_of
from VISTA3DScene.segment_desk import SegmentDesk
from VISTA3DScene.segment_masks import occupied
from VISTA3DScene.tags import PROMPTS_TAG, get_tag
from VISTA3DScene.worker_link import WorkerLink

_MOVED_MM = 1e-3


class PointDesk:
    """See the module's text. The newest edit wins: an older run is cancelled, its answer never comes."""

    def __init__(self, bench: Bench, jobs: Jobs, link: WorkerLink, segments: SegmentDesk) -> None:
        self._bench, self._jobs, self._link, self._segments = bench, jobs, link, segments
        self.nodes = PointNodes(bench.scene, self._nodes_edited)
        self.preview_node = PreviewNode(bench.scene)
        self.preview: Preview | None = None
        self.preview_enabled = False
        self.live = True
        self.smooth = False
        self._answer: Answer | None = None
        self._job: Job | None = None
        self._run: PointRun | None = None
        self._step: Step | None = None
        self._reading = self._warming = False

    @property
    def prompts(self) -> Prompts:
        """The prompts of the selected segment; empty ones if none is selected."""
        selected = self._bench.selected
        return Prompts() if selected is None else prompts_of(self._bench.segment(selected))

    @property
    def points(self) -> tuple[Point, ...]:
        """The points of the selected segment, in the world."""
        return tuple(Point(ras=self._world(p.ras), positive=p.positive) for p in self.prompts.points)

    def show(self) -> None:
        """Make the point lists show the selected segment's points."""
        self.nodes.show([(p.ras, p.positive) for p in self.points])

    def add(self, ras: Vector3, positive: bool = True) -> None:
        """Place a point (world RAS). Without a selected segment a new structure begins with it."""
        self._segments.ensure_chosen()
        point = self._local(ras, positive)
        self._edit("Add point", lambda prompts: prompts.with_point(point))

    def move(self, number: int, ras: Vector3) -> None:
        """Put a point elsewhere."""
        old = self._numbered(number)
        point = self._local(ras, old.positive)
        self._edit("Move point", lambda prompts: prompts.with_replaced(number, point))

    def remove(self, number: int) -> None:
        """Take a point away."""
        self._numbered(number)
        self._edit("Remove point", lambda prompts: prompts.with_replaced(number, None))

    def flip(self, number: int) -> None:
        """Turn a positive point into a negative one, or back."""
        old = self._numbered(number)
        point = Point(ras=old.ras, positive=not old.positive)
        self._edit("Flip point", lambda prompts: prompts.with_replaced(number, point))

    def clear(self) -> None:
        """Take all points away."""
        if self.prompts.points:
            self._edit("Remove all points", Prompts.without_points)

    def run(self) -> None:
        """Ask the worker for the mask that goes with the points, if it is not there yet."""
        segment_id = self._bench.selected
        self.stop()
        if segment_id is None:
            return
        ledger = self._bench.needed_ledger()
        with self._bench.own_writing():
            ledger.collect()
        prompts = self._sealed(segment_id)
        if not prompts.pending:
            return
        if self._link.loading or self._jobs.running(State.SEQUENCE):  # they run when that is over
            return
        model = self._link.model
        if model is not None and not model.interactive:
            raise PromptError(f"{model.title} was not trained for points.", "Choose a model with points.")
        mask = ledger.mask_of(segment_id) or LatticeMask.empty(self._bench.lattice(segment_id))
        class_id = self._segments.class_id(segment_id)
        self._run = PointRun(
            segment_id,
            prompts,
            mask,
            self._bench.place(),
            class_id=None if model is None else model.point_class(class_id),
            smooth=self.smooth,
            allowed=lambda came: self._allowed(segment_id, came),
        )
        self._ask(self._run)

    def stop(self) -> None:
        """Cancel the run and put the preview away; the points stay and wait."""
        self._run, job, self._job = None, self._job, None
        self._jobs.cancel(job)
        self._put_preview_away()

    def accept(self) -> None:
        """Keep the preview."""
        answer = self._answer
        if answer is None:
            return
        self._put_preview_away()
        with self._bench.own_writing():
            self._bench.needed_ledger().collect()
        if self._outdated(answer):
            self.run()
        else:
            self._keep(answer, "Keep preview", None)

    def drop(self) -> None:
        """Drop the preview and the points that asked for it."""
        answer = self._answer
        if answer is None:
            return
        self._put_preview_away()
        if self._bench.has_segment(answer.segment_id):
            with self._bench.action("Drop preview", answer.segment_id) as action:
                action.set_prompts(answer.segment_id, self._prompts_of(answer.segment_id).settled())
        self.show()

    def warm(self, ras: Vector3) -> None:
        """Compute ahead what a click at this place would need, if nothing else goes on."""
        if (
            self._warming
            or self._jobs.state is not State.IDLE
            or self._link.model is None
            or self._bench.volume is None
        ):
            return

        def done(_: object) -> None:
            self._warming = False

        self._warming = True
        self._link.warm(from_world(self._bench.volume, ras), done)

    def _edit(self, name: str, change: Callable[[Prompts], Prompts]) -> None:
        """Change the prompts of the selected segment as one step, and run them if that is wanted."""
        bench = self._bench
        grid = volume_grid(bench.needed_volume())
        known, prompts = self.prompts.points, change(self.prompts)
        try:
            for item in prompts.rounds:  # points that a change of the CT left outside do not stand in the way
                checked_points([p for p in item.points if p not in known or _inside(p, grid)], grid)
        except PromptError:
            self.show()
            raise
        self.stop()
        segment_id = bench.selected
        with bench.action(name, segment_id or "") as action:
            if segment_id is None:
                segment_id = self._segments.add(action, None, "")
                prompts = change(self._prompts_of(segment_id))
                bench.selected = segment_id
            else:  # an edit made elsewhere may just have begun a round
                prompts = change(self._prompts_of(segment_id))
            action.set_prompts(segment_id, prompts)
        self._step = bench.needed_ledger().history.last
        self.show()
        if self.live:
            self.run()

    def _nodes_edited(self) -> None:
        """Many events of one edit come together: look at the lists once they are over."""
        if not self._reading:
            self._reading = True
            self._bench.later(0.0, self._read_nodes)

    def _read_nodes(self) -> None:
        self._reading = False
        if self._bench.closed or self.nodes.dragging or not self.nodes.there:
            return
        known = self.points
        shown = self.nodes.read()
        kept = {p.number: p for p in shown if p.number is not None}
        fresh = [p for p in shown if p.number is None]
        moved = [n for n, p in kept.items() if n < len(known) and math.dist(p.ras, known[n].ras) > _MOVED_MM]
        gone = [n for n in range(len(known)) if n not in kept]
        if not moved and not gone and not fresh:
            return

        def change(prompts: Prompts) -> Prompts:
            for n in moved:
                prompts = prompts.with_replaced(n, self._local(kept[n].ras, known[n].positive))
            for n in reversed(gone):
                prompts = prompts.with_replaced(n, None)
            for p in fresh:
                prompts = prompts.with_point(self._local(p.ras, p.positive))
            return prompts

        names = [n for n, some in (("Add point", fresh), ("Move point", moved), ("Remove point", gone)) if some]
        with self._bench.guarded():
            try:
                self._segments.ensure_chosen()
                self._edit(names[0] if len(names) == 1 else "Edit points", change)
            except VISTA3DError:
                self.show()
                raise

    def _ask(self, run: PointRun) -> None:
        wanted = run.next_question()
        if wanted is None:
            self._run = self._job = None
            self._finish(run.answer())
            return
        self._job = self._link.ask(
            Task(
                kind=State.POINTS,
                op="segment_points",
                arguments=wanted.arguments,
                result=lambda values: self._answered(run, values),
                arrays=wanted.arrays,
                error=self._failed,
            )
        )

    def _answered(self, run: PointRun, values: Values) -> None:
        with self._bench.guarded():
            array = None if values["array"] is None else self._jobs.client.array(values["array"])
            if run is self._run:
                run.take(values, array)
                self._ask(run)

    def _failed(self, failure: Failure) -> None:
        self._run = self._job = None
        self._bench.failed.emit(failure.kind, failure.message, failure.fix)
        self._bench.mark()

    def _finish(self, answer: Answer) -> None:
        with self._bench.own_writing():
            self._bench.needed_ledger().collect()
        if not self._bench.has_segment(answer.segment_id):
            return
        if self._outdated(answer):
            self.run()
            return
        for note in answer.notes:
            self._bench.said.emit(note)
        if self.preview_enabled:
            self._show_preview(answer)
        else:
            self._keep(answer, "Run points", self._step)

    def _outdated(self, answer: Answer) -> bool:
        """Whether the segment is no more as it was when the answer was asked for."""
        return (
            not self._bench.has_segment(answer.segment_id)
            or self._prompts_of(answer.segment_id).to_text() != answer.asked.to_text()
        )

    def _keep(self, answer: Answer, name: str, step: Step | None) -> None:
        came, gone = difference(answer.before, answer.after)
        with self._bench.action(name, answer.segment_id, extends=step) as action:
            action.change_mask(answer.segment_id, came, gone)
            if self._bench.policy is Overwrite.OVERWRITE_OTHERS:
                self._take_from_others(action, answer.segment_id, came)
            action.set_prompts(answer.segment_id, answer.prompts)

    def _take_from_others(self, action: Action, segment_id: str, came: LatticeMask) -> None:
        for other, voxels in occupied(self._bench.segmentation, [segment_id], came).items():
            action.take_from(other, voxels)

    def _allowed(self, segment_id: str, came: LatticeMask) -> LatticeMask:
        if self._bench.policy is not Overwrite.ONLY_EMPTY:
            return came
        for taken in occupied(self._bench.segmentation, [segment_id], came).values():
            came = came.changed(LatticeMask.empty(came.affine), taken)
        return came

    def _sealed(self, segment_id: str) -> Prompts:
        """The prompts, if the mask is still the one that they tell of; else the mask is where they start from."""
        prompts = self._prompts_of(segment_id)
        if prompts.seal and prompts.seal != seal_of(self._bench.needed_ledger().mask_of(segment_id)):
            fresh = tuple(p for r in prompts.rounds for p in r.points if p not in r.asked)
            self._bench.said.emit(
                "The segment was changed outside of this scene since its points were placed: new points start from "
                "what is there now."
            )
            prompts = Prompts(
                class_id=prompts.class_id, new_structure=prompts.new_structure, rounds=(Round(points=fresh),)
            )
            with self._bench.action("Start from the changed segment", segment_id, extends=self._step) as action:
                action.set_prompts(segment_id, prompts)
            self._step = self._bench.needed_ledger().history.last
            self.show()
        return prompts

    def _show_preview(self, answer: Answer) -> None:
        came, gone = difference(answer.before, answer.after)
        self._answer = answer
        self.preview = Preview(
            segment_id=answer.segment_id, added_ml=came.ml, removed_ml=gone.ml, parts=tuple(answer.parts)
        )
        self.preview_node.show(self._bench.segmentation, came, gone)
        self._bench.mark()

    def _put_preview_away(self) -> None:
        if self._answer is not None:
            self._answer = self.preview = None
            self.preview_node.hide()
            self._bench.mark()

    def _numbered(self, number: int) -> Point:
        points = self.prompts.points
        if not 0 <= number < len(points):
            raise PromptError(f"There is no point {number}: the segment has {len(points)}.", "Choose another point.")
        return points[number]

    def _prompts_of(self, segment_id: str) -> Prompts:
        segment = self._bench.segment(segment_id)
        prompts = prompts_of(segment)
        if get_tag(segment, PROMPTS_TAG) is None:
            prompts = Prompts(class_id=self._segments.class_id(segment_id))
        return prompts

    def _local(self, ras: Vector3, positive: bool) -> Point:
        return Point(ras=from_world(self._bench.needed_volume(), ras), positive=positive)

    def _world(self, ras: Vector3) -> Vector3:
        return ras if self._bench.volume is None else to_world(self._bench.volume, ras)


def _inside(point: Point, grid: Grid) -> bool:
    return grid.box.contains(grid.to_voxel(point.ras))
