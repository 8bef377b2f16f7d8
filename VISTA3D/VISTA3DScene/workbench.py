"""Everything that a person does with VISTA3D in a MRML scene, once, for the Slicer module and the browser viewer.

``docs/scene.md`` lists the members with what they mean to a front end. No method raises for what can happen to a
person: it emits ``failed`` and leaves everything as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.client import Transport, WorkerClient
from VISTA3DLib.geometry import Grid
from VISTA3DLib.progress import Progress
from VISTA3DLib.prompts import Point
from VISTA3DLib.volume import Finding
from VISTA3DScene.automatic_desk import AutomaticDesk
from VISTA3DScene.bench import Bench
from VISTA3DScene.frames import volume_grid
from VISTA3DScene.jobs import Jobs, State, Task, Values
from VISTA3DScene.model_info import ModelInfo
from VISTA3DScene.overwrite import Overwrite
from VISTA3DScene.point_desk import PointDesk
from VISTA3DScene.preview import Preview
from VISTA3DScene.scene_watch import SceneWatch
from VISTA3DScene.segment_desk import SegmentDesk, SegmentInfo
from VISTA3DScene.sequence_desk import SequenceDesk
from VISTA3DScene.signals import Signal
from VISTA3DScene.worker_link import WorkerLink


class Switch:
    """A yes or no of the points: whoever sets it lets the listeners know."""

    def __init__(self, text: str) -> None:
        self.__doc__ = text

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, workbench: Workbench, _owner: type) -> bool:
        return bool(getattr(workbench._points, self._name))

    def __set__(self, workbench: Workbench, on: bool) -> None:
        setattr(workbench._points, self._name, on)
        workbench._bench.mark()


class Workbench:
    """One scene, one CT, one segmentation, one worker.

    ``transport`` starts and feeds the worker, ``folder`` is its session folder (see ``VISTA3DLib.client``); ``log``
    gets everything that belongs into a log. All callbacks come on the thread that owns the transport.
    """

    def __init__(
        self, scene: Any, transport: Transport, folder: Path, *, log: Callable[[str], None] = lambda _: None
    ) -> None:
        self._bench = bench = Bench(scene, transport.call_later)
        self._official: ClassCatalogue | None = None
        self.changed: Signal[[]] = bench.changed
        self.said: Signal[[str]] = bench.said
        self.failed: Signal[[str, str, str]] = bench.failed
        self.progressed: Signal[[Progress]] = bench.progressed
        self.client = WorkerClient(transport, folder, say=bench.said.emit, log=log)
        self._jobs = Jobs(self.client, failed=bench.failed.emit, progressed=bench.progressed.emit, changed=bench.mark)
        self._link = WorkerLink(self._jobs, failed=bench.failed.emit, said=bench.said.emit, loaded=self._run_what_waits)
        self._segments = SegmentDesk(
            bench, self._catalogue, choose=self.set_segmentation, selection_changed=self._selection_changed
        )
        self._points = PointDesk(bench, self._jobs, self._link, self._segments)
        self._automatic = AutomaticDesk(bench, self._jobs, self._link, self._segments)
        self._sequence = SequenceDesk(bench, self._jobs, self._link, self._automatic, self._sequence_done)
        self._watch = SceneWatch(bench, self._points, self._link, self)
        self._pass_on_segments()
        self._pass_on_points()

    # Set-up

    @property
    def model(self) -> ModelInfo | None:
        """The model that is loaded."""
        return self._link.model

    @property
    def volume(self) -> Any:
        """The CT's node, or None."""
        return self._bench.volume

    @property
    def volume_grid(self) -> Grid | None:
        """The CT's voxels in its own frame, or None."""
        return None if self._bench.volume is None else volume_grid(self._bench.volume)

    @property
    def segmentation(self) -> Any:
        """The segmentation's node, or None."""
        return self._bench.segmentation

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is suspicious about the CT."""
        return self._link.findings

    @property
    def state(self) -> State:
        """What goes on."""
        return self._jobs.state

    @property
    def busy(self) -> bool:
        """Whether anything goes on."""
        return self._jobs.state is not State.IDLE

    @property
    def writing(self) -> bool:
        """Whether the segmentation is being changed right now: what its observers hear is our own doing."""
        return self._bench.writing

    def load_model(self, weights: str, *, device: str = "auto", precision: str = "auto") -> None:
        """Load a model by its catalogue id or from a file."""
        with self._bench.guarded():
            self._points.stop()
            self._link.load_model(weights, device=device, precision=precision)

    def find_devices(self, done: Callable[[Mapping[str, str]], None]) -> None:
        """Tell which devices there are: name and description."""

        def answered(values: Values) -> None:
            done(dict(values["devices"]))

        with self._bench.guarded():
            self._jobs.submit(Task(kind=State.OTHER, op="hello", arguments={}, result=answered))

    def download(
        self, weights: str, *, accept_licence: bool, endpoint: str | None = None, done: Callable[[str], None]
    ) -> None:
        """Download weights; ``done`` gets the path."""
        arguments = {"weights": weights, "accept_licence": accept_licence, "endpoint": endpoint}

        def answered(values: Values) -> None:
            done(str(values["path"]))

        with self._bench.guarded():
            self._jobs.submit(Task(kind=State.DOWNLOADING, op="download", arguments=arguments, result=answered))

    def set_volume(self, volume: Any) -> None:
        """Choose the CT, or None. What runs is cancelled; segments and their points stay."""
        with self._bench.guarded():
            if volume is self._bench.volume:
                return
            self._points.stop()
            self._bench.volume = volume
            self._watch.volume_changed()
            self._bench.mark()
            self._points.show()
            self._link.set_volume(volume)

    def set_segmentation(self, segmentation: Any) -> None:
        """Choose the segmentation to work on, or None. Each has an undo history of its own."""
        with self._bench.guarded():
            if segmentation is self._bench.segmentation:
                return
            self._points.stop()
            if segmentation is not None and segmentation.GetDisplayNode() is None:  # as one that a selector made
                segmentation.CreateDefaultDisplayNodes()
            self._bench.segmentation, self._bench.selected = segmentation, None
            self._watch.segmentation_changed()
            self._points.show()
            self._bench.mark()

    def cancel(self) -> None:
        """Cancel what runs; nothing is changed by it."""
        with self._bench.guarded():
            self._points.stop()
            self._link.cancel()
            self._bench.mark()

    def close(self) -> None:
        """End the worker, remove own nodes and observers."""
        if self._bench.closed:
            return
        self._bench.closed = True
        self._points.stop()
        self._jobs.cancel_all()
        self._watch.close()
        self._points.preview_node.hide()
        self._points.nodes.close()
        self._bench.forget_ledgers()
        self.client.close()

    # Automatic

    def segment_classes(
        self, classes: Sequence[int | str], *, roi: Any = None, overlapping: bool = False, smooth: bool = False
    ) -> None:
        """Segment classes automatically, inside a markups ROI if one is given."""
        with self._bench.guarded():
            self._automatic.run(classes, roi, overlapping=overlapping, smooth=smooth)

    def estimate(
        self,
        classes: Sequence[int | str],
        done: Callable[[Mapping[str, Any]], None],
        *,
        roi: Any = None,
        overlapping: bool = False,
    ) -> None:
        """Tell what an automatic run would cost."""
        with self._bench.guarded():
            self._automatic.estimate(classes, roi, overlapping=overlapping, done=done)

    def segment_sequence(self, browser: Any, classes: Sequence[int | str], *, roi: Any = None) -> None:
        """Segment all frames of a sequence browser that shows the CT; the result becomes a sequence beside it."""
        with self._bench.guarded():
            self._points.stop()
            self._sequence.run(browser, classes, roi)

    # Segments

    def _pass_on_segments(self) -> None:
        """What a person asks about segments: done at their desk."""
        asked, told, desk = self._bench.asked, self._bench.told, self._segments
        self.new_segment = told(desk.new, None)
        self.select_segment = asked(desk.select)
        self.next_segment = asked(desk.select_next)
        self.rename_segment = asked(desk.rename)
        self.recolor_segment = asked(desk.recolor)
        self.show_segment = asked(desk.show)
        self.set_opacity = asked(desk.set_opacity)
        self.show_surface = asked(desk.show_surface)
        self.volume_ml = told(desk.volume_ml, 0.0)
        self.center = told(desk.center, None)
        self.mask_on_volume = told(desk.mask_on_volume, None)

    @property
    def segments(self) -> tuple[SegmentInfo, ...]:
        """The segments, in order."""
        return self._segments.infos

    @property
    def selected(self) -> str | None:
        """Id of the selected segment."""
        return self._bench.selected

    def remove_segment(self, segment_id: str) -> None:
        """Delete a segment; what runs for it ends."""
        with self._bench.guarded():
            if segment_id == self._bench.selected:
                self._points.stop()
            self._segments.remove(segment_id)

    # Points

    live = Switch("Whether every edit of the points runs by itself.")
    smooth = Switch("Whether borders are drawn at the CT's resolution.")
    preview_enabled = Switch("Whether a change is shown before it is kept.")

    def _pass_on_points(self) -> None:
        """What a person asks about the points of the selected segment, and what they would change: at their desk."""
        asked, desk = self._bench.asked, self._points
        self.add_point = asked(desk.add)
        self.move_point = asked(desk.move)
        self.remove_point = asked(desk.remove)
        self.flip_point = asked(desk.flip)
        self.clear_points = asked(desk.clear)
        self.run_points = asked(desk.run)
        self.warm = asked(desk.warm)
        self.accept = asked(desk.accept)
        self.drop = asked(desk.drop)

    @property
    def positive_node(self) -> Any:
        """The point list of the positive points."""
        return self._points.nodes.positive

    @property
    def negative_node(self) -> Any:
        """The point list of the negative points."""
        return self._points.nodes.negative

    @property
    def points(self) -> tuple[Point, ...]:
        """The points of the selected segment, in world RAS."""
        return self._points.points

    @property
    def points_pending(self) -> bool:
        """Whether the selected segment has points that its mask does not answer yet."""
        return self._points.prompts.pending

    @property
    def preview(self) -> Preview | None:
        """What waits to be kept."""
        return self._points.preview

    @property
    def preview_node(self) -> Any:
        """The node that shows it, or None."""
        return self._points.preview_node.node

    # Undo

    @property
    def policy(self) -> Overwrite:
        """What happens where a segment grows into others."""
        return self._bench.policy

    @policy.setter
    def policy(self, policy: Overwrite) -> None:
        self._bench.policy = policy
        self._bench.mark()

    @property
    def undo_name(self) -> str | None:
        """What undo would take back."""
        ledger = self._bench.ledger
        return None if ledger is None else ledger.history.undo_name

    @property
    def redo_name(self) -> str | None:
        """What redo would do again."""
        ledger = self._bench.ledger
        return None if ledger is None else ledger.history.redo_name

    def undo(self) -> None:
        """Take the last action back; never waits for the worker."""
        with self._bench.guarded():
            self._points.stop()
            self._step(lambda ledger: ledger.undo())

    def redo(self) -> None:
        """Do the last undone action again."""
        with self._bench.guarded():
            self._points.stop()
            self._step(lambda ledger: ledger.redo())

    def _step(self, move: Callable[[Any], Any]) -> None:
        ledger = self._bench.ledger
        if ledger is None:
            return
        with self._bench.own_writing():
            step = move(ledger)
        if step is not None:
            self._bench.outdate_surfaces(i for c in step.changes for i in c.segment_ids)
            if step.segment_id and self._bench.has_segment(step.segment_id):
                self._bench.selected = step.segment_id
        self._points.show()
        self._bench.mark()

    def _catalogue(self) -> ClassCatalogue:
        """The model's classes; the official ones as long as there is no model."""
        if self._link.model is not None:
            return self._link.model.catalogue
        self._official = self._official or ClassCatalogue.load()
        return self._official

    def _selection_changed(self) -> None:
        self._points.stop()
        self._points.show()

    def _sequence_done(self, segmentation: Any) -> None:
        if segmentation is not None:
            self.set_segmentation(segmentation)
        self._run_what_waits()

    def _run_what_waits(self) -> None:
        if self._points.live and self._points.prompts.pending:
            with self._bench.guarded():
                self._points.run()
