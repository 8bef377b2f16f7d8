"""``vista3d train`` and its configurations."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from VISTA3DLib.checkpoint import read_checkpoint
from VISTA3DLib.cli.app import run
from VISTA3DLib.errors import ReadError
from VISTA3DLib.training.settings import STAGES, packaged_configurations, read_training_settings

CONFIG = """
name: quick
data: list.json
output: run
network: {filters: 8, blocks_down: [1, 1], window: [16, 16, 16], spacing: [4.0, 4.0, 4.0]}
device: cpu
augment: false
stages:
  - {use: joint, epochs: 1, learning_rate: 0.001, supervoxels: false}
"""


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """A list of one case and a configuration beside it."""
    index = np.indices((18, 17, 15)).astype(np.float32)
    ball = ((index - 8) ** 2).sum(axis=0) < 20
    affine = np.diag([-4.0, 4.0, 5.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(np.where(ball, 200, -50).astype(np.int16), affine), tmp_path / "ct.nii.gz")
    nibabel.save(nibabel.Nifti1Image(ball.astype(np.uint8), affine), tmp_path / "label.nii.gz")
    entry = {"image": "ct.nii.gz", "label": "label.nii.gz"}
    (tmp_path / "list.json").write_text(json.dumps({"training": [entry], "label_mapping": [[1, 1]]}))
    path = tmp_path / "quick.yaml"
    path.write_text(CONFIG)
    return path


def test_the_command_trains_and_says_where_the_weights_are(
    configuration: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", "--config", str(configuration), "--quiet"]) == 0
    printed = capsys.readouterr()
    path = Path(printed.out.strip())
    assert path == configuration.parent / "run" / "last.safetensors"
    stored = read_checkpoint(path)
    assert stored.settings is not None
    assert stored.settings.catalogue.resolve_many(["everything"]) == (1,)
    assert stored.metadata["training"]["stages"][0]["name"] == "joint"
    assert "No fold is held back" in printed.err


@pytest.mark.parametrize(("text", "words"), [("stages:", "stagse:"), ("use: joint", "use: joined")])
def test_a_misspelt_configuration_is_an_error_with_a_way_out(
    configuration: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    configuration.write_text(CONFIG.replace(text, words))
    assert run(["train", "--config", str(configuration)]) == 2
    assert words.split()[-1].rstrip(":") in capsys.readouterr().err


def test_missing_files_are_named(configuration: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (configuration.parent / "label.nii.gz").unlink()
    assert run(["train", "--config", str(configuration)]) == 2
    assert "label.nii.gz" in capsys.readouterr().err
    with pytest.raises(ReadError, match="cannot be read"):
        read_training_settings(configuration.parent / "none.yaml")


def test_the_packaged_configurations_can_be_read_and_have_the_paper_s_stages() -> None:
    found = {name: read_training_settings(Path(name)) for name in packaged_configurations()}
    assert {"stage-1", "stage-2", "stage-3", "stage-4", "four-stages", "mini"} <= set(found)
    assert found["stage-1"].stages == (STAGES["point-supervoxels"],)
    assert found["stage-4"].stages[0].balance_gt
    assert [s.name for s in found["four-stages"].stages] == [
        "point-supervoxels",
        "point",
        "automatic",
        "automatic-finetune",
    ]
    assert found["mini"].data == Path("list.json")
