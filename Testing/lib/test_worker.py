"""A real worker process through its client: answers, progress, cancelling, dying, rubbish, a full disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from odd_volumes import blobs, odd_affine, odd_shape
from test_files_maker import small_disk
from thread_transport import ROOT, ThreadTransport

from VISTA3DLib import client as client_module
from VISTA3DLib.checkpoint import save_checkpoint
from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.client import Handlers, WorkerClient
from VISTA3DLib.errors import OutputError
from VISTA3DLib.model import Model
from VISTA3DLib.progress import Progress
from VISTA3DLib.prompts import Point
from VISTA3DLib.protocol import Failure
from VISTA3DLib.session import Session
from VISTA3DLib.volume import Volume

CLASSES = [1, 3, 5, 6, 12]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, make_model: Callable[..., Model]) -> str:
    model = make_model(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(path, model.network, model.settings)
    return str(path)


class Heard:
    """Collects what handlers are told."""

    def __init__(self) -> None:
        self.values: Mapping[str, Any] | None = None
        self.failure: Failure | None = None
        self.progress: list[Progress] = []

    @property
    def done(self) -> bool:
        return self.values is not None or self.failure is not None

    def handlers(self) -> Handlers:
        def keep(values: Mapping[str, Any]) -> None:
            assert not self.done
            self.values = values

        def fail(failure: Failure) -> None:
            assert not self.done
            self.failure = failure

        return Handlers(result=keep, error=fail, progress=self.progress.append)


class Bench:
    """A client with a real worker, and short words for what tests do with it."""

    def __init__(self, folder: Path, weights: str, volume: Volume) -> None:
        self.folder, self.weights, self.volume = folder, weights, volume
        self.said: list[str] = []
        self.logged: list[str] = []
        self.transport = ThreadTransport(folder)
        self.client = WorkerClient(self.transport, folder, say=self.said.append, log=self.logged.append)

    def wait(self, heard: Heard, seconds: float = 600.0) -> Mapping[str, Any]:
        self.transport.pump(lambda: heard.done, seconds)
        assert heard.failure is None, heard.failure
        assert heard.values is not None
        return heard.values

    def ask(self, op: str, arguments: Mapping[str, Any] | None = None, **arrays: Any) -> Mapping[str, Any]:
        heard = Heard()
        self.client.submit(op, arguments or {}, heard.handlers(), arrays=arrays)
        return self.wait(heard)

    def fails(self, op: str, arguments: Mapping[str, Any] | None = None) -> Failure:
        heard = Heard()
        self.client.submit(op, arguments or {}, heard.handlers())
        self.transport.pump(lambda: heard.done)
        assert heard.failure is not None
        return heard.failure

    def prepare(self) -> Mapping[str, Any]:
        model, volume = Heard(), Heard()
        self.client.set_state("load_model", {"weights": self.weights, "device": "cpu"}, model.handlers())
        values = {"array": "ct", "affine": self.volume.affine.tolist(), "name": self.volume.name}
        self.client.set_state("set_volume", values, volume.handlers(), arrays={"ct": self.volume.array})
        self.wait(volume)
        return self.wait(model)

    def click(self, index: tuple[int, int, int], positive: bool = True) -> dict[str, Any]:
        return {"ras": self.volume.grid.to_world(index).tolist(), "positive": positive}


@contextmanager
def a_bench(folder: Path, weights: str) -> Iterator[Bench]:
    made = Bench(folder, weights, Volume(array=blobs(odd_shape("lps")), affine=odd_affine("lps"), name="lps"))
    yield made
    made.client.close()
    made.transport.end()
    assert not folder.exists()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, weights: str) -> Iterator[Bench]:
    """One worker for the tests that treat it well."""
    with a_bench(tmp_path_factory.mktemp("session"), weights) as made:
        yield made


@pytest.fixture
def fresh_bench(tmp_path_factory: pytest.TempPathFactory, weights: str) -> Iterator[Bench]:
    """A worker of its own, for tests that kill it or count its files."""
    with a_bench(tmp_path_factory.mktemp("session"), weights) as made:
        yield made


def test_answers_are_those_of_a_session_in_this_process(bench: Bench, a_model: Model) -> None:
    described = bench.prepare()
    assert ClassCatalogue.from_dict(described["catalogue"]) == a_model.settings.catalogue
    session = Session(a_model)
    session.set_volume(bench.volume)
    classes = bench.ask("segment_classes", {"classes": CLASSES})
    assert np.array_equal(bench.client.array(classes["labelmap"]), session.segment_classes(CLASSES).labelmap)
    index = (16, 20, 10)
    mask = bench.ask("segment_points", {"points": [bench.click(index)], "class_id": 5})
    point = Point(ras=tuple(bench.volume.grid.to_world(index)))
    expected = session.segment_points([point], class_id=5)
    assert tuple(mask["start"]) == expected.box.start
    assert np.array_equal(bench.client.array(mask["array"]), expected.mask)
    overlapping = bench.ask("segment_classes", {"classes": CLASSES, "overlapping": True})
    assert set(overlapping["masks"]) == {str(c) for c in CLASSES}


def test_a_mask_is_repaired_from_the_box_that_is_sent(bench: Bench, a_model: Model) -> None:
    bench.prepare()
    base = np.zeros(bench.volume.grid.shape, dtype=bool)
    base[10:20, 12:25, 5:12] = True
    part = base[8:22, 10:27, 4:14]
    clicks = [bench.click((15, 18, 8), False)]
    answer = bench.ask("segment_points", {"points": clicks, "base": {"array": "m", "start": [8, 10, 4]}}, m=part)
    session = Session(a_model)
    session.set_volume(bench.volume)
    point = Point(ras=tuple(clicks[0]["ras"]), positive=False)
    expected = session.segment_points([point], base_mask=base)
    assert tuple(answer["start"]) == expected.box.start
    assert tuple(answer["stop"]) == expected.box.stop
    assert [c["voxels"] for c in answer["changes"]] == [c.voxels for c in expected.changes]


def test_no_array_file_is_left_once_it_was_read(fresh_bench: Bench) -> None:
    bench = fresh_bench
    bench.prepare()
    answer = bench.ask("segment_points", {"points": [bench.click((16, 20, 10))]})
    bench.client.array(answer["array"])
    left = sorted(p.name for p in bench.folder.iterdir())
    assert left == ["request_1.npy"]  # the volume, for a worker that might replace this one


def test_progress_arrives_while_the_work_goes_on(bench: Bench) -> None:
    bench.prepare()
    heard = Heard()
    bench.client.submit("segment_classes", {"classes": CLASSES}, heard.handlers())
    bench.wait(heard)
    assert heard.progress[-1].done == heard.progress[-1].total
    assert heard.progress[0].stage == "windows"


def test_errors_come_with_their_kind_and_the_way_out(fresh_bench: Bench) -> None:
    bench = fresh_bench
    failure = bench.fails("segment_classes", {"classes": CLASSES})
    assert failure.kind == "VolumeError"
    assert "set_volume" in failure.fix
    bench.prepare()
    assert bench.fails("segment_classes", {"classes": ["livr"]}).kind == "ClassError"
    outside = {"points": [{"ras": [9999, 0, 0], "positive": True}]}
    assert bench.fails("segment_points", outside).kind == "PromptError"
    assert bench.fails("dance").kind == "ProtocolError"
    assert bench.fails("segment_points").kind == "ProtocolError"
    assert bench.fails("warm", {"ras": "x"}).kind == "InternalError"
    assert bench.ask("hello")["version"]  # it is still there


def test_a_cancelled_request_is_never_answered_and_the_next_one_is(bench: Bench) -> None:
    bench.prepare()
    cancelled, kept = Heard(), Heard()
    number = bench.client.submit("segment_classes", {"classes": CLASSES}, cancelled.handlers())
    bench.client.submit("segment_points", {"points": [bench.click((16, 20, 10))]}, kept.handlers())
    bench.client.cancel(number)
    bench.wait(kept)
    assert not cancelled.done
    assert not bench.client.busy


def test_a_worker_that_is_killed_is_replaced_and_the_open_question_answered(fresh_bench: Bench) -> None:
    bench = fresh_bench
    bench.prepare()
    first = bench.ask("segment_points", {"points": [bench.click((16, 20, 10))]})
    expected = bench.client.array(first["array"])
    heard = Heard()
    assert bench.transport.process is not None
    os.kill(bench.transport.process.pid, signal.SIGSTOP)  # or it may answer before it is killed
    bench.client.submit("segment_points", {"points": [bench.click((16, 20, 10))]}, heard.handlers())
    os.kill(bench.transport.process.pid, signal.SIGKILL)
    answer = bench.wait(heard)
    assert np.array_equal(bench.client.array(answer["array"]), expected)
    assert bench.transport.started == 2
    assert len(bench.said) == 1
    assert "nothing is lost" in bench.said[0]


def test_an_idle_worker_that_dies_is_replaced_with_model_and_volume(fresh_bench: Bench) -> None:
    bench = fresh_bench
    bench.prepare()
    assert bench.transport.process is not None
    os.kill(bench.transport.process.pid, signal.SIGKILL)
    bench.transport.pump(lambda: bench.transport.started == 2)
    assert bench.ask("segment_classes", {"classes": [1]})["class_ids"] == [1]


def test_a_worker_that_always_dies_is_given_up_and_said(tmp_path: Path) -> None:
    folder = tmp_path / "session"
    folder.mkdir()
    dying = [sys.executable, "-c", "import sys; sys.stdin.readline(); sys.exit(3)"]
    transport = ThreadTransport(folder, command=dying)
    client = WorkerClient(transport, folder)
    heard = Heard()
    client.submit("hello", {}, heard.handlers())
    transport.pump(lambda: heard.done)
    assert heard.failure is not None
    assert heard.failure.kind == "WorkerDied"
    assert transport.started == 2
    client.close()
    transport.end()


def test_a_worker_that_ignores_cancel_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in that reads and never answers; the deadline is shortened."""
    monkeypatch.setattr(client_module, "CANCEL_SECONDS", 0.2)
    folder = tmp_path / "session"
    folder.mkdir()
    transport = ThreadTransport(folder, command=[sys.executable, "-c", "import sys; [None for _ in sys.stdin]"])
    client = WorkerClient(transport, folder)
    heard = Heard()
    client.cancel(client.submit("hello", {}, heard.handlers()))
    process = transport.process
    assert process is not None
    transport.pump(lambda: process.poll() is not None, 20)
    assert not heard.done
    client.close()
    transport.end()


def test_rubbish_on_its_input_does_not_stop_the_worker(bench: Bench) -> None:
    bench.ask("hello")
    bench.transport.send(b"\x00\xff rubbish\n{}\n[1,2]\n" + b"\n" * 5)
    assert bench.ask("hello")["version"]
    assert any("JSON" in line or "version" in line for line in bench.logged)


def test_what_libraries_print_does_not_get_between_the_replies(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    code = (
        "import sys, os; sys.argv = ['worker', sys.argv[1]];"
        "from VISTA3DLib.worker import operations, __main__ as entry;"
        "hello = operations.Operations._hello;"
        "def noisy(*a):\n print('noise', flush=True); os.write(1, b'more noise\\n'); return hello(*a)\n"
    )
    script = tmp_path / "noisy.py"
    script.write_text(code.replace("def noisy", "\ndef noisy") + "operations.Operations._hello = noisy\nentry.main()\n")
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "s")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b'{"v":1,"id":1,"op":"hello"}\n')
    process.stdin.flush()
    lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert [m["type"] for m in lines] == ["ready", "result"]
    _, errors = process.communicate(timeout=60)
    assert b"more noise" in errors


def start_worker(folder: Path, *, first_on_path: Path = ROOT) -> Any:
    """A worker with pipes, without a client."""
    return subprocess.Popen(
        [sys.executable, "-m", "VISTA3DLib.worker", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(first_on_path), str(ROOT)])},
    )


def test_the_worker_ends_when_its_client_is_gone(tmp_path: Path) -> None:
    process = start_worker(tmp_path)
    process.stdout.readline()
    process.stdin.close()
    assert process.wait(timeout=120) == 0


def test_a_missing_session_folder_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "VISTA3DLib.worker", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == 2
    assert b"usage" in done.stderr


def test_a_full_disk_is_an_error_that_names_the_folder_and_leaves_nothing(tmp_path: Path, weights: str) -> None:
    with small_disk(tmp_path / "disk", "128k") as disk:
        folder = disk / "session"
        folder.mkdir()
        made = Bench(folder, weights, Volume(array=blobs((8, 8, 8)), affine=odd_affine("lps")))
        big = np.zeros((64, 64, 64), dtype=np.int16)
        with pytest.raises(OutputError, match="handed"):
            made.client.submit("set_volume", {"array": "ct"}, Heard().handlers(), arrays={"ct": big})
        assert list(folder.iterdir()) == []
        made.client.close()
        made.transport.end()


def test_starting_the_worker_does_not_wait_for_torch(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('too early')")
    process = start_worker(tmp_path, first_on_path=tmp_path)
    ready = json.loads(process.stdout.readline())
    assert ready["type"] == "ready"
    process.stdin.close()
    process.wait(timeout=120)
