"""The same workbench with a real worker process and a real (small, untrained) network."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from odd_volumes import blobs, odd_affine, odd_shape
from scene_host import make_volume
from thread_transport import ThreadTransport
from VISTA3DScene.jobs import State
from VISTA3DScene.workbench import Workbench

from VISTA3DLib.checkpoint import save_checkpoint
from VISTA3DLib.devices import Runtime
from VISTA3DLib.model import Model
from VISTA3DLib.network import seeded_network
from VISTA3DLib.prompts import Point
from VISTA3DLib.session import Session
from VISTA3DLib.settings import NetworkSettings
from VISTA3DLib.volume import Volume

SETTINGS = NetworkSettings(filters=8, blocks_down=(1, 1), window=(16, 16, 16), spacing=(3.0, 3.0, 3.0))
CLASSES = [1, 3, 5, 6, 12]
A, B = (16, 20, 10), (9, 12, 14)


@pytest.fixture(scope="module")
def network() -> Model:
    """The network that the worker loads, in this process."""
    torch.set_num_threads(1)
    return Model(seeded_network(SETTINGS, 0), SETTINGS, Runtime(device=torch.device("cpu")), id="tiny")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, network: Model) -> str:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(path, network.network, network.settings)
    return str(path)


class RealTable:
    """A workbench with a process."""

    def __init__(self, scene: Any, folder: Path, weights: str) -> None:
        self.transport = ThreadTransport(folder)
        self.bench = Workbench(scene, self.transport, folder)
        self.failures: list[tuple[str, str, str]] = []
        self.said: list[str] = []
        self.bench.failed.connect(lambda *failure: self.failures.append(failure))
        self.bench.said.connect(self.said.append)
        self.volume = Volume(array=blobs(odd_shape("oblique")), affine=odd_affine("oblique"))
        self.bench.load_model(weights, device="cpu")
        self.bench.set_volume(make_volume(scene, self.volume.array, self.volume.affine))

    def wait(self) -> None:
        self.transport.pump(lambda: not self.bench.busy, 120.0)

    def at(self, *index: int) -> tuple[float, float, float]:
        r, a, s = (float(v) for v in self.volume.grid.to_world(index))
        return r, a, s

    def mask(self) -> np.ndarray:
        mask = self.bench.mask_on_volume(self.bench.selected or "")
        assert mask is not None
        return mask


@pytest.fixture
def real(scene: Any, tmp_path: Path, weights: str) -> Iterator[RealTable]:
    folder = tmp_path / "session"
    folder.mkdir()
    table = RealTable(scene, folder, weights)
    yield table
    table.bench.close()
    assert table.transport.process is not None
    table.transport.process.wait(30)
    assert not folder.exists()
    assert not [f for f in table.failures if f[0] not in {"PromptError"}]


@pytest.fixture
def session(network: Model) -> Session:
    """What the answers must be."""
    made = Session(network)
    made.set_volume(Volume(array=blobs(odd_shape("oblique")), affine=odd_affine("oblique")))
    return made


def asked(session: Session, table: RealTable, *places: tuple[int, int, int], base: Any = None, off: Any = ()) -> Any:
    points = [Point(ras=table.at(*p)) for p in places] + [Point(ras=table.at(*p), positive=False) for p in off]
    return session.segment_points(points, zero_shot=True, base_mask=base).to_full(base)


def test_clicks_moves_and_removals_give_what_the_session_gives_afresh(real: RealTable, session: Session) -> None:
    real.bench.add_point(real.at(*A))
    real.wait()
    assert real.mask().any()
    assert np.array_equal(real.mask(), asked(session, real, A))
    real.bench.add_point(real.at(*B))
    real.wait()
    assert np.array_equal(real.mask(), asked(session, real, A, B))
    real.bench.flip_point(1)
    real.wait()
    assert np.array_equal(real.mask(), asked(session, real, A, off=[B]))
    real.bench.move_point(0, real.at(A[0] + 3, A[1] - 2, A[2]))
    real.bench.remove_point(1)
    real.wait()
    assert np.array_equal(real.mask(), asked(session, real, (A[0] + 3, A[1] - 2, A[2])))
    assert real.bench.model is not None
    assert real.bench.model.device == "cpu"


def test_an_automatic_run_arrives_as_the_session_gives_it_and_is_repaired(real: RealTable, session: Session) -> None:
    labels = session.segment_classes(CLASSES).labelmap
    assert labels is not None
    real.bench.segment_classes(CLASSES)
    assert real.bench.state is State.AUTOMATIC
    real.wait()
    found = {s.class_id: s.id for s in real.bench.segments}
    for class_id in CLASSES:
        if (labels == class_id).any():
            mask = real.bench.mask_on_volume(found[class_id])
            assert np.array_equal(mask, labels == class_id)
        else:
            assert class_id not in found
    class_id = next(iter(found))
    assert class_id is not None
    real.bench.select_segment(found[class_id])
    base = real.mask()
    real.bench.add_point(real.at(*A))
    real.wait()
    point = Point(ras=real.at(*A))
    expected = session.segment_points([point], class_id=class_id, base_mask=base).to_full(base)
    assert np.array_equal(real.mask(), expected)
    real.bench.undo()
    assert np.array_equal(real.mask(), base)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_a_killed_process_is_replaced_and_the_click_is_answered(real: RealTable, session: Session) -> None:
    real.wait()
    real.bench.add_point(real.at(*A))
    assert real.transport.process is not None
    os.kill(real.transport.process.pid, signal.SIGKILL)
    real.wait()
    real.transport.pump(lambda: real.transport.started == 2, 60.0)
    real.wait()
    assert np.array_equal(real.mask(), asked(session, real, A))
    assert any("started again" in line for line in real.said)


def test_a_cancelled_run_changes_nothing_and_the_next_click_works(real: RealTable, session: Session) -> None:
    real.wait()
    real.bench.segment_classes("everything")
    real.bench.cancel()
    assert not real.bench.busy
    real.bench.add_point(real.at(*A))
    real.wait()
    assert len(real.bench.segments) == 1
    assert np.array_equal(real.mask(), asked(session, real, A))
