"""The worker on an asyncio loop: a real process, its death, its end; and the client on top of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from browsing import run_alone, until

from VISTA3DLib.client import Handlers, WorkerClient
from VISTA3DWeb.transport import AsyncioTransport

ECHO = "import sys\nfor line in sys.stdin: sys.stdout.write(line.upper()); sys.stdout.flush()"
STUBBORN = """
import signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
sys.stdin.read()
signal.pause()
"""


class Listener:
    def __init__(self) -> None:
        self.data, self.ended = b"", list[int | None]()

    def received(self, data: bytes) -> None:
        self.data += data


def test_what_is_sent_before_the_process_is_there_arrives_in_order(tmp_path: Path) -> None:
    async def run() -> None:
        transport, heard = AsyncioTransport(tmp_path, command=[sys.executable, "-c", ECHO]), Listener()
        transport.start(heard.received, heard.ended.append)
        for n in range(50):
            transport.send(f"line {n}\n".encode())
        await until(lambda: b"LINE 49" in heard.data)
        assert heard.data.split(b"\n")[:3] == [b"LINE 0", b"LINE 1", b"LINE 2"]
        transport.kill()
        await until(lambda: bool(heard.ended))
        transport.send(b"to nobody\n")
        await transport.finish()

    run_alone(run())


def test_a_command_that_does_not_exist_ends_with_no_status(tmp_path: Path) -> None:
    async def run() -> None:
        log: list[str] = []
        transport, heard = AsyncioTransport(tmp_path, command=[str(tmp_path / "nothing")], log=log.append), Listener()
        transport.start(heard.received, heard.ended.append)
        await until(lambda: bool(heard.ended))
        assert heard.ended == [None]
        assert "cannot be started" in log[0]

    run_alone(run())


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_process_that_ignores_being_asked_is_forced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("VISTA3DWeb.transport.KILL_SECONDS", 0.2)

    async def run() -> None:
        transport, heard = AsyncioTransport(tmp_path, command=[sys.executable, "-c", STUBBORN]), Listener()
        transport.start(heard.received, heard.ended.append)
        await until(lambda: b"up" in heard.data)
        await transport.finish()
        assert transport.pid is None
        assert heard.ended == [-9]

    run_alone(run())


def test_the_real_worker_answers_dies_and_is_replaced(tmp_path: Path) -> None:
    async def run() -> None:
        said: list[str] = []
        log: list[str] = []
        transport = AsyncioTransport(tmp_path, log=log.append)
        client = WorkerClient(transport, tmp_path, say=said.append, log=log.append)
        results: list[Any] = []
        client.set_state(
            "load_model", {"weights": "vista3d-mini"}, Handlers(result=results.append, error=results.append)
        )
        await until(lambda: len(results) == 1)
        assert results[0]["id"] == "vista3d-mini"
        first = transport.pid
        assert first is not None
        os.kill(first, 9)
        await until(lambda: transport.pid not in {None, first})
        client.submit("hello", {}, Handlers(result=results.append, error=results.append))
        await until(lambda: len(results) == 2)
        assert "cpu" in results[1]["devices"]
        assert "nothing is lost" in said[0]
        client.close()
        await transport.finish()
        assert transport.pid is None
        assert not tmp_path.exists()

    run_alone(run())
