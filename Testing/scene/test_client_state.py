"""What a client tells the worker when the model or the volume changes again before the last change was answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from VISTA3DLib.client import Handlers, WorkerClient
from VISTA3DLib.protocol import Request, decode_request, encode


class Wire:
    """A transport that remembers what was sent; the test writes the answers."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.received: Callable[[bytes], None] = lambda _: None

    def start(self, received: Callable[[bytes], None], ended: Callable[[int | None], None]) -> None:
        self.received = received

    def send(self, data: bytes) -> None:
        self.requests.append(decode_request(data.rstrip(b"\n")))

    def kill(self) -> None:
        """Nothing runs."""

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """No time passes."""

    def answer(self, number: int, values: Mapping[str, Any]) -> None:
        self.received(encode({"type": "result", "id": number, "values": values}))


def heard(what: list[str], name: str) -> Handlers:
    return Handlers(result=lambda _: what.append(name), error=lambda failure: what.append(failure.kind))


def test_a_newer_volume_cancels_the_request_for_the_older_one(tmp_path: Path) -> None:
    wire, what = Wire(), list[str]()
    client = WorkerClient(wire, tmp_path / "session")
    (tmp_path / "session").mkdir()
    array = np.zeros((2, 3, 4), dtype=np.int16)
    first = client.set_state("set_volume", {"array": "ct"}, heard(what, "first"), arrays={"ct": array})
    second = client.set_state("set_volume", {"array": "ct"}, heard(what, "second"), arrays={"ct": array})
    assert [r.op for r in wire.requests] == ["set_volume", "cancel", "set_volume"]
    assert wire.requests[1].arguments == {"target": first}
    assert len(list((tmp_path / "session").iterdir())) == 1  # the older volume is not kept
    wire.answer(first, {})
    wire.answer(second, {})
    assert what == ["second"]
    client.close()


def test_another_model_cancels_what_was_asked_for_the_one_before(tmp_path: Path) -> None:
    wire, what = Wire(), list[str]()
    client = WorkerClient(wire, tmp_path / "session")
    client.set_state("load_model", {"weights": "a"}, heard(what, "a"))
    client.set_state("set_volume", {}, heard(what, "volume of a"))
    client.set_state("load_model", {"weights": "b"}, heard(what, "b"))
    cancelled = {r.arguments["target"] for r in wire.requests if r.op == "cancel"}
    assert cancelled == {wire.requests[0].id, wire.requests[1].id}
    client.close()


def test_an_answered_request_is_not_cancelled_by_the_next(tmp_path: Path) -> None:
    wire, what = Wire(), list[str]()
    client = WorkerClient(wire, tmp_path / "session")
    wire.answer(client.set_state("load_model", {"weights": "a"}, heard(what, "a")), {})
    client.set_state("load_model", {"weights": "b"}, heard(what, "b"))
    assert [r.op for r in wire.requests] == ["load_model", "load_model"]
    assert what == ["a"]
    client.close()
