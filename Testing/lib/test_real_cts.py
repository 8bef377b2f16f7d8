"""Real CTs through the command line; the results, reopened by others' readers, lie where the CTs lie.

The CTs are not part of the project: these tests are left out where the folder ``shared/data/ct`` is not beside it.
"""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
import slicerio

from VISTA3DLib.cli.app import run
from VISTA3DLib.weights import find_weights

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "ct"
CASES = ["ts_abdpelvis", "tpt_vertebra_l3", "kbp_002", "sts_001"]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not DATA.is_dir(), reason="no real CTs beside the project")]


@pytest.mark.parametrize("name", CASES)
def test_a_real_ct_is_segmented_in_its_own_geometry(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ct = DATA / name / "ct.nii.gz"
    out, labels = tmp_path / "out.seg.nrrd", tmp_path / "out.nii.gz"
    for path in (out, labels):
        assert run(["segment", str(ct), "-o", str(path), "-c", "everything", "-q", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.split("\n}\n")[0] + "\n}")
    image = nibabel.load(ct)
    assert nibabel.load(labels).shape == image.shape
    assert np.allclose(nibabel.load(labels).affine, image.affine, atol=1e-4)
    ours, theirs = SimpleITK.ReadImage(str(labels)), SimpleITK.ReadImage(str(ct))
    assert ours.GetSize() == theirs.GetSize()
    for a, b in ((ours.GetOrigin(), theirs.GetOrigin()), (ours.GetSpacing(), theirs.GetSpacing())):
        assert np.allclose(a, b, atol=1e-3)
    assert np.allclose(ours.GetDirection(), theirs.GetDirection(), atol=1e-4)
    found = {s["name"]: s["voxels"] for s in summary["segments"] if s["voxels"]}
    opened = slicerio.read_segmentation(str(out))
    assert {s["name"] for s in opened["segments"]} == set(found)
    voxels = np.asarray(opened["voxels"])
    for segment in opened["segments"]:
        assert int((voxels == segment["labelValue"]).sum()) == found[segment["name"]]


def test_the_built_in_model_says_that_it_is_for_demonstration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert find_weights("vista3d-mini").demonstration
    run(["segment", str(DATA / CASES[1] / "ct.nii.gz"), "-o", str(tmp_path / "x.nii.gz"), "-q"])
    err = capsys.readouterr().err
    assert "demonstration" in err or "untrained" in err
