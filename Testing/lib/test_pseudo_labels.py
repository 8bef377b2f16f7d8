"""Pseudo labels: values of their own, and the filter that says which may be trusted."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pytest

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.cli.app import run
from VISTA3DLib.errors import ReadError, SettingsError
from VISTA3DLib.settings import NetworkSettings
from VISTA3DLib.training.datalist import read_datalist
from VISTA3DLib.training.patches import PatchSource
from VISTA3DLib.training.pseudo_labels import PseudoLabelRule, check_classes, flag_datalist

CATALOGUE = ClassCatalogue.load()
SHAPE = (30, 26, 22)
AFFINE = np.diag([-3.0, -3.0, 4.0, 1.0])
VOXEL_ML = 0.036
LIVER, SPLEEN, TUMOR = 1, 3, 26
Array = npt.NDArray[np.int16]


def organs() -> Array:
    """A liver, a spleen and a tumour in two pieces."""
    labels = np.zeros(SHAPE, dtype=np.int16)
    labels[2:12, 2:12, 2:12], labels[16:24, 4:12, 4:12] = LIVER, SPLEEN
    labels[20:24, 18:23, 3:7] = labels[3:7, 18:23, 3:7] = TUMOR
    return labels


def shattered(share: float) -> Array:
    """The same with a liver whose largest piece is about this share of it."""
    labels = organs()
    labels[labels == LIVER] = 0
    planes = round(10 * share)
    labels[2 : 2 + planes, 2:12, 2:12] = LIVER
    labels[3 + planes : 13, 2:12, 2:12] = LIVER
    return labels


def test_a_class_in_pieces_is_discrepant_but_several_lesions_are_none() -> None:
    assert [c.class_id for c in check_classes(organs(), CATALOGUE, VOXEL_ML)] == [LIVER, SPLEEN]
    assert not any(c.discrepant for c in check_classes(organs(), CATALOGUE, VOXEL_ML))
    liver, spleen = check_classes(shattered(0.6), CATALOGUE, VOXEL_ML)
    assert liver.largest_share == pytest.approx(0.6, abs=0.1)
    assert liver.discrepant
    assert not spleen.discrepant
    assert not check_classes(shattered(0.9), CATALOGUE, VOXEL_ML)[0].discrepant


def test_parts_that_touch_by_a_corner_are_one_piece() -> None:
    labels = np.zeros((8, 8, 8), dtype=np.int16)
    labels[:4, :4, :4] = labels[4:, 4:, 4:] = SPLEEN
    assert check_classes(labels, CATALOGUE, 1.0)[0].largest_share == 1.0


def test_what_is_too_small_is_not_judged() -> None:
    labels = np.zeros(SHAPE, dtype=np.int16)
    labels[0, 0, 0] = labels[9, 9, 9] = LIVER
    assert check_classes(labels, CATALOGUE, VOXEL_ML) == ()
    assert check_classes(labels, CATALOGUE, VOXEL_ML, rule=PseudoLabelRule(least_ml=0.0))[0].discrepant


def test_a_contradiction_to_the_manual_label_counts_only_for_annotated_classes() -> None:
    moved = np.roll(organs(), 9, axis=1)
    checks = check_classes(organs(), CATALOGUE, VOXEL_ML, manual=moved, annotated=[SPLEEN])
    assert [(c.class_id, c.discrepant) for c in checks] == [(LIVER, False), (SPLEEN, True)]
    assert checks[0].dice is None
    assert checks[1].dice == pytest.approx(0.0, abs=0.3)
    same = check_classes(organs(), CATALOGUE, VOXEL_ML, manual=organs(), annotated=[LIVER, SPLEEN])
    assert [c.dice for c in same] == [1.0, 1.0]


@pytest.mark.parametrize("values", [{"least_share": 1.5}, {"least_dice": -0.1}, {"least_ml": float("nan")}])
def test_rules_that_cannot_work_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=next(iter(values))):
        PseudoLabelRule(**values)


# ------------------------------------------------------------------------------------------------ lists


@pytest.fixture
def a_list(tmp_path: Path) -> Path:
    """A good case, a shattered one, one without a pseudo label; pseudo labels with values of another model."""
    rng = np.random.default_rng(0)
    for name, labels in {"good": organs(), "bad": shattered(0.5), "none": None}.items():
        image = rng.integers(-200, 200, SHAPE, dtype=np.int16)
        nibabel.save(nibabel.Nifti1Image(image, AFFINE), tmp_path / f"{name}.nii.gz")
        if labels is not None:
            other = np.select([labels == LIVER, labels == SPLEEN], [50, 7], 0).astype(np.int16)
            nibabel.save(nibabel.Nifti1Image(other, AFFINE), tmp_path / f"{name}_pseudo.nii.gz")
    training = [{"image": f"{n}.nii.gz", "pseudo_label": f"{n}_pseudo.nii.gz"} for n in ("good", "bad")]
    document = {
        "training": [*training, {"image": "none.nii.gz"}],
        "pseudo_label_mapping": [[50, LIVER], [7, SPLEEN]],
    }
    path = tmp_path / "list.json"
    path.write_text(json.dumps(document))
    return path


def test_pseudo_labels_have_a_mapping_of_their_own(a_list: Path) -> None:
    data = read_datalist(a_list)
    settings = NetworkSettings(spacing=(4.0, 4.0, 4.0), window=(32, 32, 32), blocks_down=(1, 1))
    source = PatchSource(data.training[:1], data, settings, augment=False, pseudo_ids=[5, 6])
    patch = source.patches(0, 0)[0]
    assert patch.pseudo_label is not None
    assert set(patch.pseudo_label.unique().tolist()) == {0, LIVER, SPLEEN}
    assert patch.pseudo_ids == (LIVER, SPLEEN)
    assert patch.label is None


def test_without_a_mapping_their_values_are_class_ids(a_list: Path) -> None:
    document = json.loads(a_list.read_text())
    del document["pseudo_label_mapping"]
    a_list.write_text(json.dumps(document))
    data = read_datalist(a_list)
    assert data.pseudo_mapping_of(data.training[0]) is None
    assert read_datalist(a_list).digest == data.digest


def test_the_mapping_is_part_of_the_lists_digest(a_list: Path) -> None:
    before = read_datalist(a_list).digest
    a_list.write_text(a_list.read_text().replace("[50, 1]", "[50, 5]"))
    assert read_datalist(a_list).digest != before


def test_a_list_is_written_with_a_flag_for_each_pseudo_label(a_list: Path, tmp_path: Path) -> None:
    output = tmp_path / "other" / "flagged.json"
    output.parent.mkdir()
    checks = flag_datalist(a_list, output, CATALOGUE)
    assert [(c.case, c.reliable, c.discrepant) for c in checks] == [("good", True, ()), ("bad", False, (LIVER,))]
    data = read_datalist(output)  # finds all files from its new place
    assert [c.reliable for c in data.training] == [True, False, True]
    entries = json.loads(output.read_text())["training"]
    assert [e.get("pseudo_label_reliability") for e in entries] == [1, 0, None]


def test_a_list_without_pseudo_labels_is_refused_and_nothing_is_written(a_list: Path, tmp_path: Path) -> None:
    document = json.loads(a_list.read_text())
    a_list.write_text(json.dumps({**document, "training": document["training"][2:]}))
    with pytest.raises(ReadError, match="has a pseudo label"):
        flag_datalist(a_list, tmp_path / "flagged.json", ClassCatalogue.load())
    assert not (tmp_path / "flagged.json").exists()


def test_an_empty_pseudo_label_is_not_reliable(a_list: Path, tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros(SHAPE, dtype=np.int16), AFFINE), tmp_path / "good_pseudo.nii.gz")
    assert [c.reliable for c in flag_datalist(a_list, tmp_path / "flagged.json", CATALOGUE)] == [False, False]


def test_maps_on_different_grids_are_refused(a_list: Path, tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.ones((5, 5, 5), dtype=np.int16), AFFINE), tmp_path / "label.nii.gz")
    document = json.loads(a_list.read_text())
    document["training"][0]["label"] = "label.nii.gz"
    a_list.write_text(json.dumps({**document, "label_mapping": [[1, LIVER]]}))
    with pytest.raises(ReadError, match="case good lie on different grids"):
        flag_datalist(a_list, tmp_path / "flagged.json", CATALOGUE)
    assert not (tmp_path / "flagged.json").exists()


def test_the_command_names_what_is_discrepant(a_list: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["pseudo-labels", str(a_list), "-o", str(tmp_path / "flagged.json")]) == 0
    printed = capsys.readouterr().out
    assert "bad: not reliable, 2 classes judged; discrepant: liver" in printed
    assert "1 of 2 pseudo labels are reliable" in printed
    assert run(["pseudo-labels", str(a_list), "-o", str(tmp_path / "x.json"), "--least-share", "3"]) == 2
