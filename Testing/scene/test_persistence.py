"""Points, class and mask are saved with the scene and with the segmentation's file, and work on after loading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scene_host import load_segmentation, save_segmentation
from scene_table import A, B, C, Table, ball, foreign_segment, spot_in
from test_segment_masks import AFFINE, block
from VISTA3DScene.lattice import LatticeMask
from VISTA3DScene.prompts import Delta, Prompts, Round, prompts_of, seal_of
from VISTA3DScene.segment_masks import read_mask
from VISTA3DScene.tags import PROMPTS_TAG

from VISTA3DLib.prompts import Point


def by_file(table: Table, folder: Path) -> None:
    """Through a .seg.nrrd file."""
    save_segmentation(table.scene, table.bench.segmentation, folder / "a.seg.nrrd")
    table.scene.RemoveNode(table.bench.segmentation)
    table.bench.set_segmentation(load_segmentation(table.scene, folder / "a.seg.nrrd"))


def by_scene(table: Table, folder: Path) -> None:
    """Through a .mrb file, everything new."""
    path = str(folder / "a.mrb")
    assert table.scene.WriteToMRB(path)
    assert table.scene.ReadFromMRB(path, True)
    table.settle()
    table.bench.set_volume(table.scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode"))
    table.bench.set_segmentation(table.scene.GetFirstNodeByClass("vtkMRMLSegmentationNode"))


def places(table: Table, mask: np.ndarray) -> set[tuple[float, ...]]:
    """Where the voxels of a mask are: a CT that was saved may come back with its axes turned round."""
    return {tuple(np.round(v, 1) + 0.0) for v in table.grid.to_world(np.argwhere(mask))}


@pytest.mark.parametrize("way", [by_file, by_scene])
def test_points_come_back_and_can_be_edited_as_before(table: Table, tmp_path: Path, way: Any) -> None:
    base = table.mask(foreign_segment(table, B))
    table.bench.add_point(table.at(*A))
    table.bench.add_point(table.at(*C), positive=False)
    table.settle()
    table.bench.new_segment(1)
    table.bench.add_point(table.at(*C))
    table.settle()
    where = [table.at(*p) for p in (A, C)]
    both, one, none = (places(table, m) for m in (ball(table, A, base=base, off=[C]), ball(table, A, base=base), base))
    way(table, tmp_path)
    table.settle()
    assert [s.points for s in table.bench.segments] == [2, 1]
    assert table.bench.segments[1].class_id == 1
    table.bench.select_segment(table.bench.segments[0].id)
    assert [p.positive for p in table.bench.points] == [True, False]
    assert [p.ras for p in table.bench.points] == [pytest.approx(p, abs=1e-3) for p in where]
    assert table.bench.negative_node.GetNumberOfControlPoints() == 1
    assert places(table, table.mask()) == both
    table.bench.remove_point(1)
    table.settle()
    assert places(table, table.mask()) == one
    table.bench.remove_point(0)
    table.settle()
    assert places(table, table.mask()) == none
    assert not table.failures


@pytest.mark.parametrize("ours", [True, False])
def test_an_empty_segment_does_not_make_saving_resample_the_others(table: Table, tmp_path: Path, ours: bool) -> None:
    table.bench.new_segment(3)
    if not ours:
        table.bench.undo()
        table.bench.segmentation.GetSegmentation().AddEmptySegment("theirs", "theirs")
    table.bench.new_segment(1)
    table.bench.add_point(table.at(*A))
    table.settle()
    by_file(table, tmp_path)
    assert np.array_equal(table.mask(table.bench.segments[1].id), ball(table, A))
    seal = prompts_of(table.bench.segmentation.GetSegmentation().GetNthSegment(1)).seal
    assert seal == seal_of(read_mask(table.bench.segmentation, table.bench.segments[1].id))


def test_our_own_nodes_are_not_in_the_file(table: Table, tmp_path: Path) -> None:
    table.bench.preview_enabled = True
    table.bench.add_point(table.at(*A))
    table.settle()
    path = tmp_path / "scene.mrml"
    table.scene.SetURL(str(path))
    table.scene.SetRootDirectory(str(tmp_path))
    assert table.scene.Commit()
    text = path.read_text()
    assert "<MarkupsFiducial" not in text
    assert "VISTA3D preview" not in text
    assert text.count("<Segmentation\n") == 1


def test_a_mask_that_was_changed_in_another_program_is_where_new_points_start(table: Table, tmp_path: Path) -> None:
    table.bench.add_point(table.at(*A))
    table.settle()
    by_file(table, tmp_path)
    from test_ledger import paint

    segment_id = table.bench.segments[0].id
    table.bench.set_segmentation(None)
    node = table.scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    table.bench.set_segmentation(node)
    table.bench.select_segment(segment_id)
    where = spot_in(table, np.s_[10:11, 12:13, 9:10])
    table.bench.close()
    paint(node, segment_id, where, 0)
    later = Table(table.scene, tmp_path / "later")
    later.folder.mkdir()
    later.prepare(table.scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode"))
    later.bench.set_segmentation(node)
    later.bench.select_segment(segment_id)
    base = later.mask()
    assert not base[A]
    later.bench.add_point(later.at(*B))
    later.settle()
    assert any("changed outside" in line for line in later.said)
    assert np.array_equal(later.mask(), ball(later, B, base=base))
    later.bench.undo()
    assert np.array_equal(later.mask(), base)
    assert len(later.bench.points) == 1
    later.bench.close()


points = st.builds(
    Point,
    ras=st.tuples(*(st.floats(-2000, 2000) for _ in range(3))),
    positive=st.booleans(),
)
deltas = st.one_of(
    st.none(),
    st.builds(
        lambda a, b: Delta.between(block(a, 2), block(b, 3)),
        st.tuples(*(st.integers(-9, 99) for _ in range(3))),
        st.tuples(*(st.integers(-9, 99) for _ in range(3))),
    ),
)
rounds = st.builds(
    Round,
    points=st.lists(points, max_size=3).map(tuple),
    asked=st.lists(points, max_size=3).map(tuple),
    answer=deltas,
    edit=deltas,
)
prompts = st.builds(
    Prompts,
    class_id=st.one_of(st.none(), st.integers(1, 400)),
    new_structure=st.booleans(),
    automatic=st.booleans(),
    model=st.text(max_size=20),
    seal=st.text(alphabet="0123456789abcdef:", max_size=12),
    rounds=st.lists(rounds, min_size=1, max_size=3).map(tuple),
)


@settings(max_examples=50)
@given(value=prompts)
def test_prompts_as_text_are_the_prompts(value: Prompts) -> None:
    text = value.to_text()
    assert "|" not in text
    assert "\n" not in text
    again = Prompts.from_text(text)
    assert again.to_text() == text
    assert again.points == value.points
    for a, b in zip(again.rounds, value.rounds, strict=True):
        assert a.asked == b.asked
        if b.answer is not None and a.answer is not None:
            mask = LatticeMask.empty(AFFINE)
            assert seal_of(a.answer.apply(mask)) == seal_of(b.answer.apply(mask))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(st.text(max_size=30), st.builds(json.dumps, st.dictionaries(st.text(max_size=6), st.integers()))))
def test_a_tag_that_cannot_be_read_gives_no_prompts(text: str) -> None:
    assert Prompts.from_text(text).points == ()


def test_a_damaged_tag_does_not_stand_in_the_way(table: Table) -> None:
    segment_id = foreign_segment(table, A)
    base = table.mask(segment_id)
    segment = table.bench.segmentation.GetSegmentation().GetSegment(segment_id)
    segment.SetTag(PROMPTS_TAG, '{"format":1,"rounds":[{"answer":[{"bits":"AAAA"}]}]}')
    table.settle()
    assert prompts_of(segment).points == ()
    table.bench.add_point(table.at(*B))
    table.settle()
    assert np.array_equal(table.mask(), ball(table, B, base=base))


@settings(max_examples=50)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 4),
)
def test_a_mask_is_wound_back_through_its_rounds_exactly(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)

    def mask() -> LatticeMask:
        shape = tuple(int(v) for v in random.integers(1, 7, 3))
        full = random.random(shape) < 0.5
        return LatticeMask(
            affine=AFFINE, box=block((int(random.integers(0, 5)), 2, 3), (shape[0], shape[1], shape[2])).box, mask=full
        ).tight()

    starts, current, made = [], mask(), []
    for n in range(count):
        edit = None
        if n:
            edited = mask()
            edit, current = Delta.between(current, edited), edited
        starts.append(current)
        end = mask()
        made.append(Round(answer=Delta.between(current, end), edit=edit))
        current = end
    told = Prompts(rounds=tuple(made))
    for n, start in enumerate(starts):
        assert seal_of(told.start_of(n, current)) == seal_of(start)
