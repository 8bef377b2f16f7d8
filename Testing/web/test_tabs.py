"""One tab shows the views; what the others are told follows from who is active."""

from __future__ import annotations

from VISTA3DWeb.tabs import Tabs


def ignore(_: str) -> None:
    """Nobody wants to know."""


def test_the_first_tab_is_active_and_a_second_one_waits() -> None:
    seen: list[str] = []
    tabs = Tabs(seen.append, ignore)
    tabs.opened("connection 1", "a")
    tabs.opened("connection 2", "b")
    assert tabs.active == "a"
    assert seen == ["a"]


def test_a_reload_goes_on_although_the_old_connection_closes_late() -> None:
    tabs = Tabs(ignore, ignore)
    tabs.opened("connection 1", "a")
    tabs.opened("connection 2", "reloaded a")
    tabs.closed("connection 1")
    assert tabs.active == "reloaded a"


def test_a_waiting_tab_may_take_over_and_the_other_then_waits() -> None:
    tabs = Tabs(ignore, ignore)
    tabs.opened("1", "a")
    tabs.opened("2", "b")
    tabs.take_over("b")
    assert tabs.active == "b"
    tabs.closed("2")
    assert tabs.active == "a"
    tabs.closed("1")
    assert tabs.active == ""


def test_a_tab_that_is_not_connected_cannot_take_over() -> None:
    tabs = Tabs(ignore, ignore)
    tabs.opened("1", "a")
    tabs.take_over("ghost")
    assert tabs.active == "a"
    tabs.closed("never seen")
    assert tabs.active == "a"


def test_a_connection_that_comes_back_under_the_same_name_stays_active() -> None:
    tabs = Tabs(ignore, ignore)
    tabs.opened("1", "a")
    tabs.opened("2", "a")
    tabs.closed("1")
    assert tabs.active == "a"


def test_a_tab_is_gone_when_its_last_connection_is_and_before_another_goes_on() -> None:
    told: list[str] = []
    tabs = Tabs(lambda name: told.append(f"active: {name}"), lambda name: told.append(f"gone: {name}"))
    tabs.opened("1", "a")
    tabs.opened("2", "a")
    tabs.opened("3", "b")
    tabs.closed("1")
    assert told == ["active: a"]
    tabs.closed("2")
    assert told == ["active: a", "gone: a", "active: b"]
    tabs.closed("3")
    assert told[3:] == ["gone: b", "active: "]
