"""Undo and redo of everything, and edits that others made in between."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer
from scene_host import make_segmentation, make_volume
from test_segment_masks import AFFINE, NOTHING, SHAPE, block, full, two_neighbours
from VISTA3DScene.history import History
from VISTA3DScene.lattice import image_values, oriented_image
from VISTA3DScene.ledger import EDITED_ELSEWHERE, Ledger
from VISTA3DScene.prompts import Prompts
from VISTA3DScene.segment_masks import LABELMAP, labelmap_of, read_mask
from VISTA3DScene.tags import get_tag

from VISTA3DLib.errors import VolumeError


def picture(node: Any) -> dict[str, Any]:
    """All there is to a segmentation: order, names, colours, tags, voxels."""
    inner = node.GetSegmentation()
    found: dict[str, Any] = {"order": list(inner.GetSegmentIDs())}
    for segment_id in inner.GetSegmentIDs():
        segment, mask = inner.GetSegment(segment_id), read_mask(node, segment_id)
        tags = tuple(get_tag(segment, t) for t in ("VISTA3D.Prompts", "TerminologyEntry", "Segmentation.Status"))
        voxels = None if mask is None else (mask.box, mask.mask.tobytes(), mask.affine.tobytes())
        found[segment_id] = (segment.GetName(), segment.GetColor(), tags, voxels)
    return found


def everything(ledger: Ledger) -> None:
    """An action of every kind."""
    with ledger.action("grow", "a") as action:
        action.change_mask("a", block((8, 4, 4), 5), block((4, 4, 4), 2))
        action.set_prompts("a", Prompts(class_id=3))
    with ledger.action("add", "b") as action:
        new = action.add_segment("new", "tumour", (1, 0.5, 0), {"TerminologyEntry": "x~y^z~w"})
        action.change_mask(new, block((1, 1, 1), 4), NOTHING)
    with ledger.action("restyle", "b") as action:
        action.restyle("b", name="renamed", color=(0.25, 0.5, 0.75))
    with ledger.action("remove", "a") as action:
        action.remove_segment("a")


def test_undo_brings_back_exactly_what_was_and_redo_what_came(scene: Any) -> None:
    node = two_neighbours(scene)
    ledger = Ledger(node)
    pictures = [picture(node)]
    everything_of = [
        lambda: change(ledger, "a", block((8, 4, 4), 5), block((4, 4, 4), 2)),
        lambda: change(ledger, "b", NOTHING, block((10, 4, 4), 3)),
    ]
    for step in everything_of:
        step()
        pictures.append(picture(node))
    everything(ledger)
    last = picture(node)
    while ledger.history.undo_name:
        ledger.undo()
    assert picture(node) == pictures[0]
    for expected in pictures[1:]:
        ledger.redo()
        assert picture(node) == expected
    while ledger.history.redo_name:
        ledger.redo()
    assert picture(node) == last


def change(ledger: Ledger, segment_id: str, on: Any, off: Any) -> None:
    with ledger.action("change", segment_id) as action:
        action.change_mask(segment_id, on, off)


def test_an_action_that_fails_leaves_nothing_of_itself(scene: Any) -> None:
    node = two_neighbours(scene)
    ledger, before = Ledger(node), picture(node)

    def half() -> None:
        with ledger.action("half") as action:
            action.change_mask("a", block((8, 4, 4), 5), NOTHING)
            action.add_segment("new", "new", (1, 1, 1), {})
            action.change_mask("nobody", block((0, 0, 0), 2), NOTHING)

    with pytest.raises(VolumeError):
        half()
    assert picture(node) == before
    assert len(ledger.history) == 0
    assert ledger.collect() == ()


def paint(node: Any, segment_id: str, where: tuple[slice, slice, slice], value: int) -> None:
    """An edit in place, as scripts do."""
    image = labelmap_of(node.GetSegmentation().GetSegment(segment_id))
    image_values(image)[where] = value
    image.Modified()


def with_slicer(node: Any, segment_id: str, box: Any) -> None:
    """An edit through Slicer's own logic, as effects of the Segment Editor do."""
    image = oriented_image(AFFINE, box.box, box.mask)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.SetBinaryLabelmapToSegment(image, node, segment_id, logic.MODE_REPLACE)


OUTSIDE = {
    "a voxel in place": lambda node: paint(node, "a", np.s_[1:2, 1:2, 1:2], 1),
    "a segment replaced through Slicer's logic": lambda node: with_slicer(node, "b", block((2, 2, 2), 6)),
    "a segment removed": lambda node: node.GetSegmentation().RemoveSegment("a"),
    "a segment added": lambda node: node.GetSegmentation().AddEmptySegment("z", "z"),
    "a segment renamed": lambda node: node.GetSegmentation().GetSegment("a").SetName("other"),
    "a segment recoloured": lambda node: node.GetSegmentation().GetSegment("a").SetColor(0.5, 0, 0),
    "a terminology changed": lambda node: node.GetSegmentation().GetSegment("a").SetTag("TerminologyEntry", "t"),
    "a segment separated from its layer": lambda node: node.GetSegmentation().SeparateSegmentLabelmap("a"),
    "layers collapsed": lambda node: node.GetSegmentation().CollapseBinaryLabelmaps(True),
}


@pytest.mark.parametrize("what", OUTSIDE)
def test_an_edit_made_elsewhere_is_a_step_that_can_be_taken_back(scene: Any, what: str) -> None:
    node = two_neighbours(scene)
    ledger = Ledger(node)
    change(ledger, "a", block((5, 9, 4), 5), NOTHING)
    change(ledger, "a", block((9, 4, 4), 3), NOTHING)  # it overlaps now, so it has a labelmap of its own
    before = picture(node)
    OUTSIDE[what](node)
    after = picture(node)
    ledger.collect()
    if after == before:
        assert ledger.history.undo_name == "change"  # same voxels in other images: nothing to tell
    else:
        assert ledger.history.undo_name == EDITED_ELSEWHERE
        ledger.undo()
        assert picture(node) == before
        ledger.redo()
        assert picture(node) == after
    while ledger.history.undo_name:
        ledger.undo()
    assert full(node, "a").sum() == full(node, "b").sum() == 6**3


def test_an_edit_made_elsewhere_is_not_swallowed_by_the_action_after_it(scene: Any) -> None:
    node = two_neighbours(scene)
    ledger = Ledger(node)
    paint(node, "a", np.s_[0:2, 0:2, 0:2], 1)
    change(ledger, "a", block((0, 0, 0), 4), NOTHING)
    assert len(ledger.history) == 2
    ledger.undo()
    assert full(node, "a")[:4, :4, :4].sum() == 8
    ledger.undo()
    assert not full(node, "a")[:4, :4, :4].any()


def test_segment_editors_own_undo_goes_on_working_and_is_noticed(scene: Any) -> None:
    node = two_neighbours(scene)
    volume = make_volume(scene, np.zeros(SHAPE, dtype=np.int16), AFFINE)
    editor = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(scene)
    logic.SetSegmentEditorNode(editor)
    logic.SetSegmentationNode(node)
    logic.SetSourceVolumeNode(volume)
    ledger = Ledger(node)
    start = picture(node)
    logic.SaveStateForUndo()
    with_slicer(node, "a", block((2, 2, 2), 7))
    painted = picture(node)
    change(ledger, "b", block((12, 8, 8), 5), NOTHING)  # ours, in between
    assert logic.CanUndo()
    logic.Undo()
    assert full(node, "a").sum() == 6**3  # the editor took its own stroke back
    ledger.collect()
    assert ledger.history.undo_name == EDITED_ELSEWHERE
    while ledger.history.undo_name:
        ledger.undo()
    assert picture(node)["order"] == start["order"]
    for segment_id in "ab":
        assert picture(node)[segment_id] == start[segment_id]
    ledger.redo()
    assert picture(node)["a"] == painted["a"]
    logic.SetSegmentationNode(None)
    logic.SetSegmentEditorNode(None)


def test_a_segmentation_that_came_as_surfaces_becomes_labelmaps(scene: Any) -> None:
    node = two_neighbours(scene)
    node.CreateClosedSurfaceRepresentation()
    node.SetSourceRepresentationToClosedSurface()
    node.RemoveBinaryLabelmapRepresentation()
    volume = make_volume(scene, np.zeros(SHAPE, dtype=np.int16), AFFINE)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    ledger = Ledger(node)
    assert node.GetSegmentation().GetSourceRepresentationName() == LABELMAP
    assert full(node, "a").sum() > 100
    change(ledger, "a", block((0, 0, 0), 3), NOTHING)
    assert full(node, "a")[:3, :3, :3].all()


def test_the_oldest_steps_go_when_there_are_too_many(scene: Any) -> None:
    node = two_neighbours(scene)
    ledger = Ledger(node)
    ledger.history = History(most_steps=3)
    for n in range(5):
        change(ledger, "a", block((0, n * 2, 0), 2), NOTHING)
    assert len(ledger.history) == 3
    ledger.history = History(most_bytes=1)
    for n in range(2):
        change(ledger, "a", block((0, n * 2, 6), 2), NOTHING)
    assert len(ledger.history) == 1  # the newest always stays


def test_a_segment_keeps_its_place_in_the_list_when_it_comes_back(scene: Any) -> None:
    node = make_segmentation(scene)
    for name in "abc":
        node.GetSegmentation().AddEmptySegment(name, name)
    ledger = Ledger(node)
    with ledger.action("remove") as action:
        action.remove_segment("b")
    assert picture(node)["order"] == ["a", "c"]
    ledger.undo()
    assert picture(node)["order"] == ["a", "b", "c"]
