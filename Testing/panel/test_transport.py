"""The process transport: which Python is started, in which environment, and what becomes of bytes and ends."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PySide6")
pytest.importorskip("slicer")


class Listener:
    """What a client would hear."""

    def __init__(self) -> None:
        self.data = b""
        self.ends: list[int | None] = []
        self.lines: list[str] = []

    def received(self, data: bytes) -> None:
        self.data += data

    def ended(self, status: int | None) -> None:
        self.ends.append(status)


@contextlib.contextmanager
def no_faults() -> Iterator[None]:
    yield


def program(folder: Path, *lines: str) -> str:
    """A shell script that stands for a Python program."""
    path = folder / "program"
    path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def a_listener() -> Listener:
    return Listener()


@pytest.fixture
def make(a_clean_host: Any, a_listener: Listener, tmp_path: Path) -> Iterator[Any]:
    """Makes transports that run a program, and closes them."""
    from VISTA3DWidgets.processTransport import ProcessTransport, workerArguments

    made = []

    def transport(chosen: str) -> Any:
        made.append(ProcessTransport(workerArguments(tmp_path), lambda: chosen, a_listener.lines.append, no_faults))
        made[-1].start(a_listener.received, a_listener.ended)
        return made[-1]

    yield transport
    for each in made:
        each.close()


@pytest.mark.skipif(os.name == "nt", reason="shell scripts")
class TestProcess:
    def test_bytes_go_there_and_back(self, a_clean_host: Any, a_listener: Listener, make: Any, tmp_path: Path) -> None:
        transport = make(program(tmp_path, "exec cat"))
        data = bytes(range(256)) * 4000
        transport.send(data)
        a_clean_host.process(lambda: len(a_listener.data) == len(data))
        assert a_listener.data == data

    def test_it_starts_the_worker_with_the_session_folder(
        self, a_clean_host: Any, a_listener: Listener, make: Any, tmp_path: Path
    ) -> None:
        make(program(tmp_path, 'echo "$@"', 'echo "$PYTHONPATH"'))
        a_clean_host.process(lambda: a_listener.ends)
        root = str(Path(__file__).resolve().parents[2])
        assert a_listener.data.decode().splitlines() == [f"-u -m VISTA3DLib.worker {tmp_path}", root]

    def test_the_status_and_the_last_words_arrive(
        self, a_clean_host: Any, a_listener: Listener, make: Any, tmp_path: Path
    ) -> None:
        make(program(tmp_path, "echo warning >&2", "echo last", "exit 3"))
        a_clean_host.process(lambda: a_listener.ends)
        assert (a_listener.ends, a_listener.data, a_listener.lines) == ([3], b"last\n", ["warning"])

    def test_kill_ends_a_process_that_does_not_listen(
        self, a_clean_host: Any, a_listener: Listener, make: Any, tmp_path: Path
    ) -> None:
        transport = make(program(tmp_path, "trap '' TERM", "echo there", "while :; do sleep 0.1; done"))
        a_clean_host.process(lambda: a_listener.data)
        transport.kill()
        a_clean_host.process(lambda: a_listener.ends)
        assert len(a_listener.ends) == 1

    def test_close_ends_the_process_and_nobody_hears_of_it(
        self, a_clean_host: Any, a_listener: Listener, make: Any, tmp_path: Path
    ) -> None:
        transport = make(program(tmp_path, "echo $$", "exec sleep 60"))
        a_clean_host.process(lambda: a_listener.data.endswith(b"\n"))
        number = int(a_listener.data)
        transport.close()
        for _ in range(10):
            a_clean_host.process()
        assert not a_listener.ends
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)

    def test_a_program_that_cannot_be_started_ends_at_once(
        self, a_clean_host: Any, a_listener: Listener, make: Any, tmp_path: Path
    ) -> None:
        broken = tmp_path / "broken"
        broken.write_text("#!/no/such/interpreter\n")
        broken.chmod(0o755)
        make(str(broken))
        a_clean_host.process(lambda: a_listener.ends)
        assert a_listener.ends[0] is None or a_listener.ends[0] != 0

    def test_a_program_that_does_not_exist_is_told(self, a_clean_host: Any, a_listener: Listener, make: Any) -> None:
        transport = make("/no/such/python")
        transport.send(b"nobody listens\n")
        a_clean_host.process(lambda: a_listener.ends)
        assert a_listener.ends == [None]
        assert "/no/such/python" in a_listener.lines[0]


class TestWhichPython:
    def test_beside_slicer_s_home_when_it_is_not_on_the_path(
        self, a_clean_host: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from VISTA3DWidgets.workerEnvironment import findPython, isSlicersOwn

        monkeypatch.setenv("PATH", "/nowhere")
        found = findPython("")
        assert found == a_clean_host.home / "bin" / "PythonSlicer"
        assert isSlicersOwn(found)

    def test_the_path_comes_first_and_the_setting_before_it(
        self, a_clean_host: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        from VISTA3DWidgets.workerEnvironment import findPython, isSlicersOwn

        own = tmp_path / "PythonSlicer"
        own.write_text("#!/bin/sh\n")
        own.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert findPython("") == own
        chosen = program(tmp_path)
        assert findPython(chosen) == Path(chosen)
        assert not isSlicersOwn(Path(chosen))

    def test_a_slicer_without_its_launcher_has_the_bare_interpreter(
        self, a_clean_host: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is told where the Python inside Slicer finds its packages."""
        import slicer
        from VISTA3DWidgets.workerEnvironment import LIBRARY_ROOT, findPython, isSlicersOwn, workerEnvironment

        monkeypatch.setenv("PATH", "/nowhere")
        monkeypatch.setattr(slicer.app, "slicerHome", "/nowhere")
        found = findPython("")
        assert found == Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
        assert isSlicersOwn(found)
        monkeypatch.setattr(sys, "path", ["", "/slicer/packages", "/module"])
        told = workerEnvironment(found).value("PYTHONPATH")
        assert told == os.pathsep.join([str(LIBRARY_ROOT), "/slicer/packages", "/module"])

    def test_none_at_all_says_what_to_do(self, a_clean_host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        import slicer
        from VISTA3DWidgets.workerEnvironment import findPython

        from VISTA3DLib.errors import SettingsError

        monkeypatch.setenv("PATH", "/nowhere")
        monkeypatch.setattr(slicer.app, "slicerHome", "/nowhere")
        monkeypatch.setattr(sys, "base_prefix", "/nowhere")
        with pytest.raises(SettingsError, match="settings"):
            findPython("")

    def test_the_library_is_on_the_path_of_either(self, a_clean_host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        from VISTA3DWidgets.workerEnvironment import LIBRARY_ROOT, workerEnvironment

        monkeypatch.setenv("PYTHONPATH", "/slicer/packages")
        monkeypatch.setenv("PYTHONHOME", "/slicer/python")
        own = workerEnvironment(Path("/x/PythonSlicer"))
        assert own.value("PYTHONPATH") == os.pathsep.join([str(LIBRARY_ROOT), "/slicer/packages"])
        assert own.value("PYTHONHOME") == "/slicer/python"
        foreign = workerEnvironment(Path("/usr/bin/python3"))
        assert foreign.value("PYTHONPATH") == str(LIBRARY_ROOT)
        assert own.value("PYTHONSAFEPATH") == foreign.value("PYTHONSAFEPATH") == "1"
        assert not foreign.contains("PYTHONHOME")
