"""``vista3d supervoxels``, run as a person runs it."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from odd_volumes import blobs, odd_affine

from VISTA3DLib.cli.app import run

Console = pytest.CaptureFixture[str]


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    """An oblique CT in a folder with a space."""
    path = tmp_path / "a folder" / "ct.nii.gz"
    path.parent.mkdir()
    nibabel.save(nibabel.Nifti1Image(blobs((30, 25, 12)), odd_affine("oblique")), path)
    return path


def test_one_command_writes_supervoxels_and_says_how_they_were_made(ct: Path, tmp_path: Path, capsys: Console) -> None:
    out = tmp_path / "sv.nii.gz"
    assert run(["supervoxels", str(ct), "-o", str(out), "--segments", "20"]) == 0
    printed = capsys.readouterr()
    labels = np.asarray(nibabel.load(out).dataobj)
    assert f"{labels.max()} supervoxels (plain)" in printed.out
    assert "supervoxels: 4 of 4" in printed.err
    assert labels.dtype == np.int16
    assert np.allclose(nibabel.load(out).affine, nibabel.load(ct).affine, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--segments", "0"], "0 supervoxels are asked for"),
        (["--segments", "9001"], "9000 voxels (30 x 25 x 12)"),
        (["--compactness", "-1"], "compactness is -1"),
        (["--working-mm", "500"], "500.0 mm"),
        (["--sam", "missing.pth"], "missing.pth"),
        (["--series", "1.2.3"], "1.2.3"),
    ],
)
def test_wrong_input_is_one_error_with_its_value_and_leaves_nothing(
    ct: Path, tmp_path: Path, capsys: Console, arguments: list[str], said: str
) -> None:
    out = tmp_path / "new" / "sv.nii.gz"
    assert run(["supervoxels", str(ct), "-o", str(out), *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not out.parent.exists() or not list(out.parent.iterdir())


def test_a_file_that_is_no_checkpoint_is_refused(ct: Path, tmp_path: Path, capsys: Console) -> None:
    weights = tmp_path / "sam.pth"
    weights.write_bytes(b"PK\x03\x04 half of a download")
    assert run(["supervoxels", str(ct), "-o", str(tmp_path / "sv.nii.gz"), "--sam", str(weights)]) == 2
    assert "sam.pth" in capsys.readouterr().err
    assert not (tmp_path / "sv.nii.gz").exists()


def test_an_output_without_a_fitting_name_is_refused_before_the_ct_is_read(tmp_path: Path, capsys: Console) -> None:
    assert run(["supervoxels", str(tmp_path / "none.nii.gz"), "-o", str(tmp_path / "sv.nrrd")]) == 2
    assert "sv.nrrd has no ending for supervoxels" in capsys.readouterr().err
