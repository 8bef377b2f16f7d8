"""Fine-tuning in the worker: cases as arrays, progress with numbers, a result that is listed, cancel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from VISTA3DLib.checkpoint import read_checkpoint, save_checkpoint
from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.errors import CancelledError, CheckpointError, SettingsError
from VISTA3DLib.network import seeded_network
from VISTA3DLib.progress import Cancel, Progress, ignore_progress
from VISTA3DLib.protocol import Advance, decode_event, encode, progress_values
from VISTA3DLib.settings import NetworkSettings
from VISTA3DLib.weights import WeightsCatalogue
from VISTA3DLib.worker.operations import Operations

SETTINGS = NetworkSettings(
    catalogue=ClassCatalogue.load().restricted_to([1]),
    filters=8,
    blocks_down=(1, 1),
    window=(16, 16, 16),
    spacing=(4.0, 4.0, 4.0),
)


@pytest.fixture
def request_values(tmp_path: Path) -> dict[str, object]:
    """A bright ball (label 3) in a sheared-free, anisotropic volume, as the panel sends it."""
    (tmp_path / "session").mkdir()
    index = np.indices((18, 17, 15)).astype(np.float32)
    ball = ((index - 8) ** 2).sum(axis=0) < 20
    np.save(tmp_path / "session" / "ct.npy", np.where(ball, 200, -50).astype(np.int16))
    np.save(tmp_path / "session" / "label.npy", (ball * 3).astype(np.uint8))
    start = tmp_path / "start.safetensors"
    save_checkpoint(start, seeded_network(SETTINGS, 1), SETTINGS)
    affine = np.diag([-4.0, 4.0, 5.0, 1.0]).tolist()
    return {
        "cases": [{"id": "a", "image": "ct.npy", "label": "label.npy", "affine": affine}],
        "mapping": [[3, 140]],
        "classes": {"140": "a ball"},
        "name": "ball",
        "weights": str(start),
        "folder": str(tmp_path / "models"),
        "epochs": 2,
        "device": "cpu",
    }


def test_the_result_is_listed_and_the_numbers_come_while_it_trains(
    request_values: dict[str, object], tmp_path: Path
) -> None:
    reports: list[Progress] = []
    asked = {**request_values, "single_piece": [140]}
    values = Operations(tmp_path / "session").perform("finetune", asked, reports.append, Cancel())
    encode(values)  # plain JSON
    measured = [r.values for r in reports if r.values]
    assert [m["epoch"] for m in measured] == [1.0, 2.0]
    assert all(m["loss"] > 0 for m in measured)
    assert values["measured_on_training"]
    assert values["before"]["automatic"] == {"a ball": None}
    assert "ball" in WeightsCatalogue.load([tmp_path / "models"]).ids
    stored = read_checkpoint(tmp_path / "models" / "ball.safetensors").settings
    assert stored is not None
    assert stored.catalogue.single_piece == (140,)


def test_the_same_name_goes_on_with_the_same_cases_and_is_refused_for_others(
    request_values: dict[str, object], tmp_path: Path
) -> None:
    operations, cancel = Operations(tmp_path / "session"), Cancel()

    def stop(report: Progress) -> None:
        if report.values.get("epoch") == 1.0:
            cancel.cancel()

    with pytest.raises(CancelledError):
        operations.perform("finetune", request_values, stop, cancel)
    with pytest.raises(CheckpointError, match="another run"):
        operations.perform("finetune", {**request_values, "mapping": [[3, 141]], "classes": {}}, stop, Cancel())
    reports: list[Progress] = []
    operations.perform("finetune", request_values, reports.append, Cancel())
    assert [r.values["epoch"] for r in reports if r.values] == [2.0]


def test_numbers_survive_the_protocol() -> None:
    report = Progress(stage="finetune", done=1, total=2, values={"loss": 0.5})
    event = decode_event(encode({"type": "progress", "id": 3, **progress_values(report)}))
    assert isinstance(event, Advance)
    assert event.progress == report


def test_it_can_be_cancelled_and_wants_cases(request_values: dict[str, object], tmp_path: Path) -> None:
    operations, cancel = Operations(tmp_path / "session"), Cancel()
    cancel.cancel()
    with pytest.raises(CancelledError):
        operations.perform("finetune", request_values, ignore_progress, cancel)
    with pytest.raises(SettingsError, match="no cases"):
        operations.perform("finetune", {**request_values, "cases": []}, ignore_progress, Cancel())
    assert not (tmp_path / "models" / "ball.safetensors").exists()


def test_how_it_is_taught_is_asked_for_as_on_the_command_line(
    request_values: dict[str, object], tmp_path: Path
) -> None:
    operations = Operations(tmp_path / "session")
    with pytest.raises(SettingsError, match="no optimiser 'sgd'"):
        operations.perform("finetune", {**request_values, "optimiser": "sgd"}, ignore_progress, Cancel())
    operations.perform("finetune", {**request_values, "epochs": 1}, ignore_progress, Cancel())
    for other in ({"warp": False}, {"optimiser": "muon"}):
        with pytest.raises(CheckpointError, match="another run"):
            operations.perform("finetune", {**request_values, "epochs": 1, **other}, ignore_progress, Cancel())
