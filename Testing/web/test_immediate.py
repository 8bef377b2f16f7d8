"""The page answers a click by itself, whatever the server does meanwhile; the worker is prepared ahead of clicks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browsing import LIVER, Screen, ViewerProcess
from VISTA3DScene.jobs import State
from VISTA3DScene.signals import Signal

from VISTA3DLib.geometry import Grid
from VISTA3DWeb import warming
from VISTA3DWeb.warming import PATIENT_SECONDS, Warmer

RECORD = """() => {
  window.__asked = [];
  const trigger = window.trame.trigger;
  window.trame.trigger = (name, ...rest) => (window.__asked.push(name), trigger.call(window.trame, name, ...rest));
}"""

FOLLOW_WARMING = """() => {
  const seen = window.__warming = [], said = window.__said = [];
  window.trame.state.addListener(({ keys }) => {
    if (keys?.includes('warming')) seen.push(window.trame.state.get('warming'));
  });
  new MutationObserver(() => said.push(document.querySelector('.status').textContent))
    .observe(document.querySelector('.status'), { childList: true, characterData: true, subtree: true });
}"""


def test_point_and_busy_mark_are_there_before_the_server_has_heard_of_the_click(
    torso: ViewerProcess, screen: Screen
) -> None:
    screen.open_fresh(torso.address)
    screen.place_points()
    left, top = screen.place("axial", *LIVER)
    screen.page.mouse.move(left, top)
    with torso.stopped():
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
    screen.click("axial", *LIVER)
    assert screen.page.locator(".mark").count() == 0
    assert screen.state("clicks") == 0


def test_a_pointer_that_rests_asks_ahead_and_one_that_moves_on_takes_it_back(
    torso: ViewerProcess, screen: Screen
) -> None:
    screen.open_fresh(torso.address)
    screen.page.evaluate(RECORD)
    screen.place_points()
    screen.page.mouse.move(*screen.place("axial", *LIVER))
    screen.page.wait_for_function("window.__asked.includes('rest')")
    assert "rest_ended" not in screen.page.evaluate("window.__asked")
    screen.page.mouse.move(*screen.place("axial", 250, 200))
    screen.page.wait_for_function("window.__asked.includes('rest_ended')")


def test_when_a_ct_is_opened_a_click_is_rehearsed_and_the_page_says_so(
    empty: ViewerProcess, screen: Screen, small_ct: Path
) -> None:
    screen.open(empty.address)
    screen.wait("!s.activity && s.model && !s.warming")
    screen.page.evaluate(FOLLOW_WARMING)
    screen.replace_all(small_ct)
    screen.page.wait_for_function("window.__warming.join() === 'true,false'")
    assert any("Warming up for the first click" in text for text in screen.page.evaluate("window.__said"))
    assert not screen.state("segments")  # nothing of it is left
    assert (screen.state("undo_name"), screen.state("redo_name")) == (None, None)


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

    def become(self, *states: State) -> None:
        """Go through some states, and tell of each."""
        for self.state in states:
            self.changed.emit()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> FakeBench:
    import numpy as np

    grid = Grid(shape=(5, 7, 9), affine=np.diag([2.0, 3.0, 4.0, 1.0]))
    monkeypatch.setattr(warming, "volume_grid", lambda _: grid)
    monkeypatch.setattr(warming, "from_world", lambda _, ras: ras)
    return FakeBench(object())


class Clock:
    """Time that goes on only when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(warming.time, "monotonic", lambda: self.now)


def warmer_of(bench: FakeBench, told: list[bool] | None = None) -> Warmer:
    """A warmer that has heard of the bench's model and volume."""
    warmer = Warmer(bench, (told if told is not None else []).append)  # type: ignore[arg-type]
    bench.changed.emit()
    return warmer


def rehearsed(bench: FakeBench, clock: Clock, seconds: float) -> Warmer:
    """A warmer whose rehearsal took some time."""
    warmer = warmer_of(bench)
    clock.now += seconds
    bench.client.asked[0][2].result({"array": "answer.npy"})
    return warmer


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_one_whole_click_is_rehearsed_for_each_model_and_volume(bench: FakeBench, clock: Clock) -> None:
    rehearsed(bench, clock, 0.5)
    bench.changed.emit()
    assert [op for op, _, _ in bench.client.asked] == ["segment_points"]
    assert bench.client.asked[0][1]["points"] == [{"ras": [4.0, 9.0, 16.0], "positive": True}]
    assert bench.client.read == ["answer.npy"]  # no file is left in the session's folder
    bench.volume = object()
    bench.changed.emit()
    assert len(bench.client.asked) == 2


def test_the_page_is_told_how_long_a_rehearsal_lasts(bench: FakeBench) -> None:
    told: list[bool] = []
    warmer_of(bench, told)
    assert told == [True]
    bench.client.asked[0][2].error("the worker has no memory left")
    assert told == [True, False]
    assert bench.client.read == []


def test_a_rehearsal_steps_aside_when_the_person_asks_for_something(bench: FakeBench) -> None:
    told: list[bool] = []
    warmer_of(bench, told)
    bench.become(State.POINTS)
    assert bench.client.cancelled == [1]
    assert told == [True, False]


def test_after_a_click_that_came_into_the_rehearsal_a_resting_pointer_warms_all_the_same(bench: FakeBench) -> None:
    warmer = warmer_of(bench)
    bench.become(State.POINTS, State.IDLE)
    warmer.rest((1.0, 2.0, 3.0))
    assert [op for op, _, _ in bench.client.asked] == ["segment_points", "warm"]


def test_a_pointer_that_rests_during_the_rehearsal_gets_its_window_behind_it(bench: FakeBench, clock: Clock) -> None:
    warmer = warmer_of(bench)
    warmer.rest((7.0, 7.0, 7.0))
    warmer.rest_ended()
    warmer.rest((1.0, 2.0, 3.0))
    assert len(bench.client.asked) == 1
    assert bench.client.cancelled == []  # the rehearsal goes on, whatever the pointer does
    clock.now += 0.5
    bench.client.asked[0][2].result({"array": None})
    assert bench.client.asked[1][:2] == ("warm", {"ras": [1.0, 2.0, 3.0]})
    bench.client.asked[1][2].result({})
    assert len(bench.client.asked) == 2


def test_a_resting_pointer_warms_and_a_moving_one_cancels(bench: FakeBench, clock: Clock) -> None:
    warmer = rehearsed(bench, clock, 0.5)
    warmer.rest((1.0, 2.0, 3.0))
    assert bench.client.asked[1][:2] == ("warm", {"ras": [1.0, 2.0, 3.0]})
    warmer.rest_ended()
    warmer.rest_ended()
    assert bench.client.cancelled == [2]


@pytest.mark.parametrize("finished", [True, False])
def test_a_slow_worker_is_not_kept_busy_by_the_pointer(bench: FakeBench, clock: Clock, finished: bool) -> None:
    if finished:
        warmer = rehearsed(bench, clock, PATIENT_SECONDS + 1)
    else:  # a click came into the rehearsal, which had taken long already
        warmer = warmer_of(bench)
        clock.now += PATIENT_SECONDS + 1
        bench.become(State.POINTS, State.IDLE)
    warmer.rest((1.0, 2.0, 3.0))
    assert len(bench.client.asked) == 1
