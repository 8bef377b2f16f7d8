"""Any walk of actions, once everything is undone, ends in exactly the state that it began with."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from odd_volumes import odd_affine
from scene_host import SceneHost, load_segmentation, make_segmentation, make_volume, save_segmentation
from scene_table import Table
from test_ledger import paint
from VISTA3DScene.jobs import State
from VISTA3DScene.lattice import LatticeMask
from VISTA3DScene.overwrite import Overwrite
from VISTA3DScene.prompts import prompts_of, seal_of
from VISTA3DScene.segment_masks import change_mask, labelmap_of, read_mask
from VISTA3DScene.tags import get_tag

from VISTA3DLib.geometry import Box

SHAPE = (15, 14, 12)
places = st.tuples(*(st.integers(1, n - 2) for n in SHAPE))


def state_of(node: Any) -> list[Any]:
    """Everything that undo answers for: segments in order, their looks, tags and voxels."""
    inner, found = node.GetSegmentation(), []
    for segment_id in inner.GetSegmentIDs():
        segment, mask = inner.GetSegment(segment_id), read_mask(node, segment_id)
        tags = [get_tag(segment, t) for t in ("VISTA3D.Prompts", "TerminologyEntry")]
        voxels = None if mask is None else (mask.box, mask.mask.tobytes())
        found.append((segment_id, segment.GetName(), segment.GetColor(), tags, voxels))
    return found


class Walk(RuleBasedStateMachine):
    """A person, the worker and other programs do what comes into their minds."""

    host: SceneHost

    def __init__(self) -> None:
        super().__init__()
        self.host.scene.Clear(0)
        self.temporary = tempfile.TemporaryDirectory()
        folder = Path(self.temporary.name) / "session"
        folder.mkdir()
        self.volume = make_volume(self.host.scene, np.zeros(SHAPE, dtype=np.int16), odd_affine("oblique"))
        self.node = make_segmentation(self.host.scene, self.volume)
        self.table = Table(self.host.scene, folder)
        self.bench = self.table.bench
        self.table.prepare(self.volume)
        self.files = 0

    @initialize(there=st.booleans())
    def begin(self, there: bool) -> None:
        """Somebody's segment may be there already."""
        if there:
            inner = self.node.GetSegmentation()
            inner.SetSourceRepresentationName("Binary labelmap")
            inner.AddEmptySegment("theirs", "theirs")
            affine = odd_affine("oblique")
            part = LatticeMask(affine=affine, box=Box(start=(3, 3, 3), stop=(8, 7, 9)), mask=np.ones((5, 4, 6), bool))
            change_mask(self.node, "theirs", part, LatticeMask.empty(affine))
        self.bench.set_segmentation(self.node)
        self.start = state_of(self.node)

    # A person

    @rule(place=places, positive=st.booleans())
    def place_a_point(self, place: tuple[int, int, int], positive: bool) -> None:
        self.bench.add_point(self.table.at(*place), positive=positive)

    @rule(place=places)
    def place_a_point_in_a_view(self, place: tuple[int, int, int]) -> None:
        self.bench.positive_node.AddControlPointWorld(*self.table.at(*place))

    @precondition(lambda self: self.bench.points)
    @rule(number=st.integers(0, 9), place=places)
    def move_a_point(self, number: int, place: tuple[int, int, int]) -> None:
        self.bench.move_point(number % len(self.bench.points), self.table.at(*place))

    @precondition(lambda self: self.bench.points)
    @rule(number=st.integers(0, 9))
    def delete_a_point(self, number: int) -> None:
        self.bench.remove_point(number % len(self.bench.points))

    @precondition(lambda self: self.bench.points)
    @rule(number=st.integers(0, 9))
    def switch_the_sign(self, number: int) -> None:
        self.bench.flip_point(number % len(self.bench.points))

    @rule()
    def delete_all_points(self) -> None:
        self.bench.clear_points()

    @rule(class_id=st.sampled_from([None, 1, 3]))
    def begin_a_segment(self, class_id: int | None) -> None:
        self.bench.new_segment(class_id)

    @rule(step=st.sampled_from([-1, 1]))
    def switch_the_segment(self, step: int) -> None:
        self.bench.next_segment(step)

    @precondition(lambda self: self.bench.selected)
    @rule()
    def delete_the_segment(self) -> None:
        self.bench.remove_segment(self.bench.selected or "")

    @precondition(lambda self: self.bench.selected)
    @rule(name=st.sampled_from(["one", "two"]))
    def rename_the_segment(self, name: str) -> None:
        self.bench.rename_segment(self.bench.selected or "", name)

    @rule(classes=st.sampled_from([[1], [1, 3, 5], [3, 7]]), overlapping=st.booleans())
    def run_automatically(self, classes: list[int], overlapping: bool) -> None:
        self.bench.segment_classes(classes, overlapping=overlapping)

    @rule()
    def accept(self) -> None:
        self.bench.accept()

    @rule()
    def drop(self) -> None:
        self.bench.drop()

    @rule()
    def cancel(self) -> None:
        self.bench.cancel()

    @rule()
    def run_the_points(self) -> None:
        self.bench.run_points()

    @rule(live=st.booleans(), preview=st.booleans(), policy=st.sampled_from(list(Overwrite)))
    def choose(self, live: bool, preview: bool, policy: Overwrite) -> None:
        self.bench.live, self.bench.preview_enabled, self.bench.policy = live, preview, policy

    @rule()
    def undo(self) -> None:
        self.bench.undo()

    @rule()
    def redo(self) -> None:
        self.bench.redo()

    @rule()
    def undo_and_redo_is_nothing(self) -> None:
        self.table.settle()
        before, name = state_of(self.bench.segmentation), self.bench.undo_name
        self.bench.undo()
        if name is not None:
            self.bench.redo()
        assert state_of(self.bench.segmentation) == before
        assert self.bench.undo_name == name

    # Others

    @rule()
    def time_passes(self) -> None:
        self.table.settle()

    @rule()
    def one_answer_comes(self) -> None:
        self.table.worker.answer_next()

    @rule()
    def the_worker_dies(self) -> None:
        if self.table.worker.starts < 3:  # a fourth death in two minutes would end all hope, as it should
            self.table.worker.kill()

    @rule(which=st.integers(0, 9), place=places, value=st.booleans())
    def somebody_paints(self, which: int, place: tuple[int, int, int], value: bool) -> None:
        ids = self.bench.segmentation.GetSegmentation().GetSegmentIDs()
        if not ids:
            return
        segment = self.bench.segmentation.GetSegmentation().GetSegment(ids[which % len(ids)])
        image = labelmap_of(segment)
        if image is None:
            return
        e = image.GetExtent()
        index = tuple(v % (b - a + 1) for v, a, b in zip(place, e[::2], e[1::2], strict=True))
        where = (slice(index[0], index[0] + 2), slice(index[1], index[1] + 1), slice(index[2], index[2] + 1))
        paint(
            self.bench.segmentation, segment.GetName() and ids[which % len(ids)], where, segment.GetLabelValue() * value
        )

    @rule(which=st.integers(0, 9))
    def somebody_deletes_a_segment(self, which: int) -> None:
        inner = self.bench.segmentation.GetSegmentation()
        if inner.GetNumberOfSegments():
            inner.RemoveSegment(inner.GetNthSegmentID(which % inner.GetNumberOfSegments()))

    @rule()
    def somebody_adds_a_segment(self) -> None:
        self.bench.segmentation.GetSegmentation().AddEmptySegment("", "added")

    @rule()
    def the_ct_is_touched(self) -> None:
        self.volume.GetImageData().Modified()

    @rule()
    def a_copy_is_saved_and_loaded(self) -> None:
        """What is on the disk says the same as what is in the scene."""
        self.table.settle()
        self.files += 1
        path = Path(self.temporary.name) / f"{self.files}.seg.nrrd"
        save_segmentation(self.host.scene, self.bench.segmentation, path)
        node = load_segmentation(self.host.scene, path)
        ours, theirs = self.bench.segmentation.GetSegmentation(), node.GetSegmentation()
        assert list(ours.GetSegmentIDs()) == list(theirs.GetSegmentIDs())
        for segment_id in ours.GetSegmentIDs():
            a, b = ours.GetSegment(segment_id), theirs.GetSegment(segment_id)
            assert prompts_of(a).to_text() == prompts_of(b).to_text()
            assert seal_of(read_mask(self.bench.segmentation, segment_id)) == seal_of(read_mask(node, segment_id))
        self.host.scene.RemoveNode(node)

    # What holds all the time

    @invariant()
    def the_lists_show_the_points(self) -> None:
        if self.table.worker.due:  # what was done in the lists is not looked at yet
            return
        signs = [p.positive for p in self.bench.points]
        assert self.bench.positive_node.GetNumberOfDefinedControlPoints() == sum(signs)
        assert self.bench.negative_node.GetNumberOfDefinedControlPoints() == len(signs) - sum(signs)

    @invariant()
    def a_preview_waits_for_the_selected_segment_only(self) -> None:
        preview = self.bench.preview
        assert (self.bench.preview_node is None) == (preview is None)
        if preview is not None and not self.table.worker.due:
            assert preview.segment_id == self.bench.selected

    def teardown(self) -> None:
        """The end: everything is undone."""
        if hasattr(self, "start"):
            self.table.settle()
            assert self.bench.state is State.IDLE
            end, steps = state_of(self.node), 0
            while self.bench.undo_name is not None:
                self.bench.undo()
                steps += 1
            assert state_of(self.node) == self.start
            for _ in range(steps):
                self.bench.redo()
            assert state_of(self.node) == end
            assert {f[0] for f in self.table.failures} <= {"PromptError"}
        self.bench.close()
        assert not self.table.folder.exists()
        self.temporary.cleanup()


@pytest.fixture(scope="module", autouse=True)
def _scene_for_walks(host: SceneHost) -> None:
    Walk.host = host


Walk.TestCase.settings = settings(
    max_examples=int(os.environ.get("WALKS", "25")),
    stateful_step_count=int(os.environ.get("WALK_STEPS", "30")),
    deadline=None,
    phases=[p for p in Phase if p is not Phase.explain] if not os.environ.get("NOSHRINK") else [Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestWalk = Walk.TestCase
