"""The page answers a click by itself, whatever the server does meanwhile; the worker is prepared ahead of clicks."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from browsing import Screen, ViewerProcess
from VISTA3DScene.jobs import State
from VISTA3DScene.signals import Signal

from VISTA3DLib.geometry import Grid
from VISTA3DWeb import warming
from VISTA3DWeb.warming import PATIENT_SECONDS, Warmer

SPINE = (234, 190)  # a pixel of the axial view at 1280 x 800: a vertebra of the phantom, near its middle
RECORD = """() => {
  window.__asked = [];
  const trigger = window.trame.trigger;
  window.trame.trigger = (name, ...rest) => (window.__asked.push(name), trigger.call(window.trame, name, ...rest));
}"""


@contextmanager
def stopped(viewer: ViewerProcess) -> Iterator[None]:
    """The server stands still."""
    os.kill(viewer.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(viewer.pid, signal.SIGCONT)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system cannot stop a process")
def test_point_and_busy_mark_are_there_before_the_server_has_heard_of_the_click(
    torso: ViewerProcess, screen: Screen
) -> None:
    screen.open_fresh(torso.address)
    screen.place_points()
    left, top = screen.place("axial", *SPINE)
    screen.page.mouse.move(left, top)
    with stopped(torso):
        screen.page.mouse.click(left, top)
        mark = screen.area("axial").locator(".mark.positive")
        mark.wait_for()
        box = mark.bounding_box()
        assert abs(box["x"] + box["width"] / 2 - left) < 1
        assert abs(box["y"] + box["height"] / 2 - top) < 1
        assert screen.page.locator(".busy .spinner").is_visible()
        assert not screen.state("points")
    screen.wait("s.points.length === 1")
    screen.idle()
    mark.wait_for(state="detached")
    assert screen.state("clicks") == 0
    screen.wait("s.segments[0].ml")


def test_a_click_that_the_server_refuses_is_withdrawn(torso: ViewerProcess, screen: Screen) -> None:
    screen.open_fresh(torso.address)
    screen.place_points("negative")
    outside = [0.0, 0.0, 1e4]
    assert screen.trigger("place_point", outside, False) is False
    screen.message("outside")
    screen.trigger("scroll", "Coronal", 1e4)  # beside the CT
    screen.wait("s.slice_coronal.value > 200")
    screen.click("coronal", 200, 200)
    screen.message("outside")
    screen.page.locator(".mark").first.wait_for(state="detached")
    assert screen.state("clicks") == 0
    assert not screen.state("points")


def test_a_drag_and_a_click_without_placing_leave_no_mark(torso: ViewerProcess, screen: Screen) -> None:
    screen.open_fresh(torso.address)
    screen.click("axial", *SPINE)
    assert screen.page.locator(".mark").count() == 0
    assert screen.state("clicks") == 0


def test_a_pointer_that_rests_asks_ahead_and_one_that_moves_on_takes_it_back(
    torso: ViewerProcess, screen: Screen
) -> None:
    screen.open_fresh(torso.address)
    screen.page.evaluate(RECORD)
    screen.place_points()
    screen.page.mouse.move(*screen.place("axial", *SPINE))
    screen.page.wait_for_function("window.__asked.includes('rest')")
    assert "rest_ended" not in screen.page.evaluate("window.__asked")
    screen.page.mouse.move(*screen.place("axial", 250, 200))
    screen.page.wait_for_function("window.__asked.includes('rest_ended')")


class FakeClient:
    """Remembers what was asked and what was cancelled; answers when told."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any, Any]] = []
        self.cancelled: list[int] = []
        self.read: list[str] = []

    def submit(self, op: str, arguments: Any, handlers: Any) -> int:
        self.asked.append((op, arguments, handlers))
        return len(self.asked)

    def cancel(self, number: int) -> None:
        self.cancelled.append(number)

    def array(self, name: str) -> None:
        self.read.append(name)


class FakeModel:
    """A model that takes clicks."""

    interactive = True


class FakeBench:
    """As much of a workbench as the warmer looks at."""

    def __init__(self, volume: Any) -> None:
        self.changed: Signal[[]] = Signal()
        self.client, self.state, self.model, self.volume = FakeClient(), State.IDLE, FakeModel(), volume


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> FakeBench:
    import numpy as np

    grid = Grid(shape=(5, 7, 9), affine=np.diag([2.0, 3.0, 4.0, 1.0]))
    monkeypatch.setattr(warming, "volume_grid", lambda _: grid)
    monkeypatch.setattr(warming, "from_world", lambda _, ras: ras)
    return FakeBench(object())


def rehearsed(bench: FakeBench, monkeypatch: pytest.MonkeyPatch, seconds: float) -> Warmer:
    """A warmer whose rehearsal took some time."""
    now = iter([0.0, seconds, *[seconds] * 9])
    monkeypatch.setattr(warming.time, "monotonic", lambda: next(now))
    warmer = Warmer(bench)  # type: ignore[arg-type]
    bench.changed.emit()
    bench.client.asked[0][2].result({"array": "answer.npy"})
    return warmer


def test_one_whole_click_is_rehearsed_for_each_model_and_volume(
    bench: FakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearsed(bench, monkeypatch, 0.5)
    bench.changed.emit()
    assert [op for op, _, _ in bench.client.asked] == ["segment_points"]
    assert bench.client.asked[0][1]["points"] == [{"ras": [4.0, 9.0, 16.0], "positive": True}]
    assert bench.client.read == ["answer.npy"]  # no file is left in the session's folder
    bench.volume = object()
    bench.changed.emit()
    assert len(bench.client.asked) == 2


def test_a_rehearsal_steps_aside_when_the_person_asks_for_something(bench: FakeBench) -> None:
    Warmer(bench)  # type: ignore[arg-type]
    bench.changed.emit()
    bench.state = State.POINTS
    bench.changed.emit()
    assert bench.client.cancelled == [1]


def test_a_resting_pointer_warms_and_a_moving_one_cancels(bench: FakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    warmer = rehearsed(bench, monkeypatch, 0.5)
    warmer.rest((1.0, 2.0, 3.0))
    assert bench.client.asked[1][:2] == ("warm", {"ras": [1.0, 2.0, 3.0]})
    warmer.rest_ended()
    warmer.rest_ended()
    assert bench.client.cancelled == [2]


def test_a_slow_worker_is_not_kept_busy_by_the_pointer(bench: FakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    warmer = rehearsed(bench, monkeypatch, PATIENT_SECONDS + 1)
    warmer.rest((1.0, 2.0, 3.0))
    assert len(bench.client.asked) == 1
