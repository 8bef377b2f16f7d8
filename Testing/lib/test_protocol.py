"""The lines of the protocol: whatever is fed in, in whatever pieces, nothing raises and nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from VISTA3DLib.progress import Progress
from VISTA3DLib.protocol import (
    LONGEST_LINE,
    Advance,
    EventReader,
    Failure,
    Garbage,
    LineBuffer,
    Log,
    ProtocolError,
    Ready,
    Request,
    Result,
    decode_event,
    decode_request,
    encode,
    encode_request,
    file_in,
    progress_values,
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
values = st.dictionaries(
    st.text(), st.recursive(scalars, lambda v: st.lists(v) | st.dictionaries(st.text(), v), max_leaves=6)
)
requests = st.builds(Request, id=st.integers(0, 2**31), op=st.text(min_size=1), arguments=values)


@given(requests)
def test_a_request_survives_the_wire(request_: Request) -> None:
    line = encode_request(request_)
    assert line.count(b"\n") == 1
    assert decode_request(line) == request_


@given(st.lists(values, max_size=5), st.data())
def test_events_do_not_depend_on_how_the_stream_is_cut(contents: list[dict], data: st.DataObject) -> None:
    stream = b"".join(encode({"type": "result", "id": n, "values": v}) for n, v in enumerate(contents))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    reader = EventReader()
    events = [event for piece in pieces for event in reader.feed(piece)]
    assert events == [Result(id=n, values=v) for n, v in enumerate(contents)]


@given(st.binary(max_size=300))
def test_rubbish_becomes_an_event_and_never_an_exception(rubbish: bytes) -> None:
    reader = EventReader()
    reader.feed(rubbish)
    reader.feed(b"\n")
    assert reader.feed(encode({"type": "log", "text": "after"})) == [Log(text="after")]


@given(values)
def test_any_object_is_an_event_or_garbage(message: dict) -> None:
    decode_event(json.dumps({"v": 1, **message}).encode())


def test_every_kind_of_event_is_read() -> None:
    progress = Progress(stage="windows", done=3, total=9, seconds_left=1.5, note="hm")
    lines = {
        encode({"type": "ready", "pid": 5, "version": "1"}): Ready(pid=5, version="1"),
        encode({"type": "log", "text": "x"}): Log(text="x"),
        encode({"type": "error", "id": 2, "kind": "K", "message": "m", "fix": "f"}): Failure(
            id=2, kind="K", message="m", fix="f"
        ),
        encode({"type": "progress", "id": 2, **progress_values(progress)}): Advance(id=2, progress=progress),
    }
    for line, event in lines.items():
        assert decode_event(line) == event


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"5",
        b"{}",
        b'{"v":2,"type":"log","text":"x"}',
        b'{"v":1,"type":"result","id":true,"values":{}}',
        b'{"v":1,"type":"result","id":-1,"values":{}}',
        b'{"v":1,"type":"result","id":1,"values":3}',
        b'{"v":1,"type":"dance","id":1}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_what_is_no_event_is_garbage_with_a_reason(line: bytes) -> None:
    event = decode_event(line)
    assert isinstance(event, Garbage)
    assert event.reason
    assert len(event.text) <= 120


def test_another_version_is_named() -> None:
    with pytest.raises(ProtocolError, match="version 7"):
        decode_request(b'{"v":7,"id":1,"op":"x"}')


def test_values_that_are_no_json_cannot_be_sent() -> None:
    for bad in (float("nan"), object(), b"x"):
        with pytest.raises(ProtocolError, match="cannot be sent"):
            encode_request(Request(id=1, op="x", arguments={"a": bad}))


def test_a_line_that_never_ends_is_dropped() -> None:
    buffer = LineBuffer()
    assert buffer.feed(b"x" * (LONGEST_LINE + 1)) == []
    assert buffer.feed(b"y\n") == [b"y"]


@pytest.mark.parametrize("name", ["", ".", "..", "../x.npy", "/etc/passwd", "a/b.npy", "a\\b.npy", None, 5])
def test_file_names_cannot_leave_the_session_folder(tmp_path: Path, name: object) -> None:
    with pytest.raises(ProtocolError):
        file_in(tmp_path, name)
    assert file_in(tmp_path, "a.npy") == tmp_path / "a.npy"
