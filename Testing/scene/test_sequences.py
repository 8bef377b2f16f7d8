"""Sequences: all frames are segmented, each keeps its own segments and its own undo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from odd_volumes import odd_affine
from scene_host import SceneHost, make_volume
from scene_table import A, Table, ball
from test_automatic_segments import expected, ids
from VISTA3DScene.jobs import State
from VISTA3DScene.sequences import sequence_browser_of

from VISTA3DLib.progress import Progress

FRAMES = 3


@pytest.fixture
def browser(host: SceneHost, scene: Any) -> Any:
    """A browser with a CT of three frames."""
    frames = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "4D CT")
    frames.SetIndexName("time")
    for n in range(FRAMES):
        volume = make_volume(scene, np.full((30, 34, 26), n, dtype=np.int16), odd_affine("oblique"), f"frame {n}")
        frames.SetDataNodeAtValue(volume, str(n * 10))
        scene.RemoveNode(volume)
    node = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    node.SetAndObserveMasterSequenceNodeID(frames.GetID())
    host.logics["Sequences"].UpdateProxyNodesFromSequences(node)
    return node


@pytest.fixture
def playing(make_table: Callable[[], Table], browser: Any) -> Table:
    """A workbench on the CT that the browser shows."""
    table = make_table()
    table.prepare(browser.GetProxyNode(browser.GetMasterSequenceNode()))
    return table


def show(host: SceneHost, browser: Any, frame: int) -> None:
    browser.SetSelectedItemNumber(frame)
    host.logics["Sequences"].UpdateProxyNodesFromSequences(browser)


def test_the_browser_of_a_volume_is_found(playing: Table, browser: Any, scene: Any) -> None:
    assert sequence_browser_of(scene, playing.bench.volume) is browser
    assert sequence_browser_of(scene, make_volume(scene, np.zeros((3, 3, 3)), np.eye(4))) is None
    assert sequence_browser_of(scene, None) is None


def test_all_frames_are_segmented_and_shown_in_step(host: SceneHost, playing: Table, browser: Any) -> None:
    reports: list[Progress] = []
    playing.bench.progressed.connect(reports.append)
    playing.bench.segment_sequence(browser, [1, 3])
    assert playing.bench.state is State.SEQUENCE
    playing.settle()
    assert not playing.failures
    sent = [op for op, _ in playing.worker.requests]
    assert sent.count("segment_classes") == FRAMES
    node = playing.bench.segmentation
    frames = browser.GetSequenceNode(node)
    assert frames.GetNumberOfDataNodes() == FRAMES
    assert [frames.GetNthIndexValue(n) for n in range(FRAMES)] == ["0", "10", "20"]
    for frame in (2, 0, 1):
        show(host, browser, frame)
        for class_id in (1, 3):
            assert np.array_equal(playing.mask(ids(playing)[class_id]), expected(playing, class_id))


def test_every_frame_has_its_own_undo(host: SceneHost, playing: Table, browser: Any) -> None:
    playing.bench.segment_sequence(browser, [1, 3])
    playing.settle()
    before = playing.mask(ids(playing)[3])
    playing.bench.select_segment(ids(playing)[3])
    playing.bench.add_point(playing.at(*A))
    playing.settle()
    repaired = playing.mask()
    assert np.array_equal(repaired, ball(playing, A, base=before))
    show(host, browser, 1)
    playing.settle()
    assert playing.bench.undo_name is None  # going to another frame is no edit
    assert np.array_equal(playing.mask(ids(playing)[3]), before)
    show(host, browser, 0)
    playing.settle()
    assert np.array_equal(playing.mask(ids(playing)[3]), repaired)
    assert playing.bench.undo_name == "Add point"
    playing.bench.undo()
    assert np.array_equal(playing.mask(ids(playing)[3]), before)


def test_a_cancelled_sequence_leaves_nothing(playing: Table, browser: Any, scene: Any) -> None:
    count = scene.GetNumberOfNodes()
    playing.bench.segment_sequence(browser, [1])
    while not playing.worker.answer_next():
        playing.worker.call_due()
    playing.bench.cancel()
    playing.settle()
    assert not playing.failures
    assert scene.GetNumberOfNodes() == count
    assert not playing.bench.busy


def test_points_placed_meanwhile_are_run_afterwards(playing: Table, browser: Any) -> None:
    playing.bench.segment_sequence(browser, [1])
    playing.bench.add_point(playing.at(*A))
    first = playing.bench.segmentation
    playing.settle()
    assert playing.bench.segmentation is not first  # the frames' segmentation is shown now
    playing.bench.set_segmentation(first)
    playing.bench.select_segment(playing.bench.segments[0].id)
    assert playing.bench.points_pending
    playing.bench.run_points()
    playing.settle()
    assert np.array_equal(playing.mask(), ball(playing, A))


def test_a_sequence_that_is_deleted_meanwhile_is_said(playing: Table, browser: Any, scene: Any) -> None:
    playing.bench.segment_sequence(browser, [1])
    scene.RemoveNode(browser)
    playing.settle()
    assert "deleted" in playing.failures[-1][1]
    assert not playing.bench.busy


def test_a_browser_without_the_volume_is_refused(playing: Table, scene: Any) -> None:
    other = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "other")
    playing.bench.segment_sequence(other, [1])
    assert playing.failures[-1][0] == "VolumeError"
    assert not playing.bench.busy
