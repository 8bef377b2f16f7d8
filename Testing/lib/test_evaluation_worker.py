"""The worker's comparison of two label maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from odd_volumes import blobs, odd_affine

from VISTA3DLib.errors import CancelledError, ReadError, VISTA3DError, VolumeError
from VISTA3DLib.evaluation.metrics import compare_masks
from VISTA3DLib.geometry import Grid
from VISTA3DLib.progress import Cancel, Progress, ignore_progress
from VISTA3DLib.protocol import ProtocolError
from VISTA3DLib.worker.operations import Operations

SHAPE = (21, 19, 17)


@pytest.fixture
def maps(tmp_path: Path) -> dict[str, np.ndarray]:
    truth, predicted = np.zeros(SHAPE, dtype=np.uint8), np.zeros(SHAPE, dtype=np.int16)
    truth[blobs(SHAPE, 1) > 100], predicted[blobs(SHAPE, 2) > 0] = 1, 1
    truth[2:6, 2:6, 2:6], predicted[2:6, 2:6, 3:7] = 5, 9
    predicted[15:18, 15:18, 10:14] = 7
    np.save(tmp_path / "t.npy", truth)
    np.save(tmp_path / "p.npy", predicted)
    return {"truth": truth, "predicted": predicted}


def ask(folder: Path, **more: Any) -> dict[str, Any]:
    arguments = {"truth": "t.npy", "predicted": "p.npy", "affine": odd_affine("sheared").tolist(), **more}
    chosen = {k: v for k, v in arguments.items() if v is not None}
    return Operations(folder).perform("compare_segmentations", chosen, ignore_progress, Cancel())


def test_every_label_is_compared_with_itself(tmp_path: Path, maps: dict[str, np.ndarray]) -> None:
    reply = ask(tmp_path)
    grid = Grid(shape=SHAPE, affine=odd_affine("sheared"))
    assert [s["truth_label"] for s in reply["segments"]] == [1, 5, 7, 9]
    assert [s["outcome"] for s in reply["segments"]] == ["scored", "missed", "false positive", "false positive"]
    expected = compare_masks(
        maps["truth"] == 1, maps["predicted"] == 1, grid.spacing, tolerance_mm=2.0, voxel_ml=grid.voxel_ml
    )
    first = reply["segments"][0]
    assert (first["dice"], first["nsd"], first["hd95_mm"]) == (expected.dice, expected.nsd, expected.hd95_mm)
    assert first["volume_error_ml"] == pytest.approx(expected.predicted_ml - expected.truth_ml)


def test_labels_can_be_paired(tmp_path: Path, maps: dict[str, np.ndarray]) -> None:
    (segment,) = ask(tmp_path, pairs=[[5, 9]])["segments"]
    assert (segment["truth_label"], segment["predicted_label"]) == (5, 9)
    assert segment["dice"] == pytest.approx(0.75)
    (absent,) = ask(tmp_path, pairs=[[100, 100]])["segments"]
    assert absent["outcome"] == "absent"
    assert absent["dice"] is None


def test_a_spacing_is_enough(tmp_path: Path, maps: dict[str, np.ndarray]) -> None:
    (segment,) = ask(tmp_path, affine=None, spacing=[1.0, 1.0, 2.0], pairs=[[5, 9]], tolerance_mm=0.5)["segments"]
    assert segment["truth_ml"] == pytest.approx(64 * 2 / 1000)
    assert segment["hd95_mm"] == pytest.approx(2.0)
    assert segment["nsd"] < 1.0


def test_progress_is_told_and_cancelling_works(tmp_path: Path, maps: dict[str, np.ndarray]) -> None:
    heard: list[Progress] = []
    cancel = Cancel()

    def listen(report: Progress) -> None:
        heard.append(report)
        if report.done == 2:
            cancel.cancel()

    arguments = {"truth": "t.npy", "predicted": "p.npy", "spacing": [1, 1, 1]}
    with pytest.raises(CancelledError):
        Operations(tmp_path).perform("compare_segmentations", arguments, listen, cancel)
    assert [h.done for h in heard] == [0, 1, 2]
    assert heard[0].total == 4


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"predicted": "none.npy"}, ReadError, "none.npy"),
        ({"predicted": "short.npy"}, VolumeError, "21 x 19 x 16"),
        ({"predicted": "float.npy"}, VolumeError, "float32"),
        ({"predicted": "negative.npy"}, VolumeError, "-3"),
        ({"pairs": 5}, ProtocolError, "pairs"),
        ({"affine": None}, ProtocolError, "affine"),
        ({"affine": np.zeros((4, 4)).tolist()}, VolumeError, "spacing"),
        ({"predicted": None}, ProtocolError, "predicted"),
    ],
)
def test_bad_requests_are_named(
    tmp_path: Path, maps: dict[str, np.ndarray], changes: dict[str, Any], error: type[VISTA3DError], text: str
) -> None:
    np.save(tmp_path / "short.npy", maps["predicted"][..., :-1])
    np.save(tmp_path / "float.npy", maps["predicted"].astype(np.float32))
    np.save(tmp_path / "negative.npy", maps["predicted"] - 3)
    with pytest.raises(error, match=text):
        ask(tmp_path, **changes)
