"""Which cases of a list are evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pytest
from evaluation_lists import entry, labels_of, write_case, write_list

from VISTA3DLib.errors import ReadError, SettingsError
from VISTA3DLib.evaluation.cases import load_case, read_cases
from VISTA3DLib.geometry import flip_lps_ras


def test_splits_folds_and_limits_choose_cases(tmp_path: Path) -> None:
    for n, name in enumerate("abcd"):
        write_case(tmp_path, name, "lps", n)
    data = write_list(
        tmp_path,
        [entry("a", fold=0), entry("b", fold=1), {"image": "a.nii.gz", "id": "u"}],
        testing=[entry("c", fold=0), entry("d")],
    )

    def ids(**options: Any) -> str:
        return "".join(c.id for c in read_cases(data, **options).cases)

    assert ids() == "abcd"
    assert ids(split="training") == "ab"
    assert ids(split="testing") == "cd"
    assert ids(fold=0) == "ac"
    assert ids(limit=3) == "abc"
    assert "1 case has no manual label" in read_cases(data).failures[0].cause
    with pytest.raises(SettingsError, match="has the fold 7") as caught:
        ids(fold=7)
    assert caught.value.fix == "Give one of these: 0, 1."
    for wrong in ({"split": "dev"}, {"limit": 0}):
        with pytest.raises(SettingsError):
            read_cases(data, **wrong)


def test_two_cases_with_one_name_are_said(tmp_path: Path) -> None:
    write_case(tmp_path, "a", "lps", 1)
    cases = read_cases(write_list(tmp_path, [entry("a"), entry("a")]))
    assert [c.id for c in cases.cases] == ["a"]
    assert "this name" in cases.failures[0].cause


def test_a_fold_whose_files_are_missing_is_not_said_to_be_none(tmp_path: Path) -> None:
    write_case(tmp_path, "a", "lps", 1)
    data = write_list(tmp_path, [entry("a", fold=0), entry("gone", fold=1)])
    cases = read_cases(data, fold=1)
    assert cases.cases == ()
    assert "gone.nii.gz" in cases.failures[0].cause
    with pytest.raises(SettingsError, match="has the fold 7"):
        read_cases(data, fold=7)


def test_two_segments_with_one_label_value_are_not_one_truth(tmp_path: Path) -> None:
    write_case(tmp_path, "a", "lps", 1)
    labels, affine = labels_of(tmp_path, "a"), flip_lps_ras(nibabel.load(tmp_path / "a_label.nii.gz").affine)
    header = {"space": "left-posterior-superior", "space origin": affine[:3, 3], "kinds": ["list"] + ["domain"] * 3}
    header["space directions"] = np.insert(affine[:3, :3].T, 0, np.nan, axis=0)
    for layer, name in enumerate(("organ", "tumour")):
        fields = {"ID": name, "Name": name, "Layer": str(layer), "LabelValue": "1"}
        header |= {f"Segment{layer}_{key}": value for key, value in fields.items()}
    layers = np.stack([labels == 1, labels == 2]).astype(np.uint8)
    nrrd.write(str(tmp_path / "a.seg.nrrd"), layers, header)
    data = write_list(tmp_path, [{**entry("a"), "label": "a.seg.nrrd"}])
    with pytest.raises(ReadError, match="label value 1: 'organ' and 'tumour'"):
        load_case(read_cases(data).cases[0])
    unmapped = write_list(tmp_path, [{**entry("a"), "label": "a.seg.nrrd"}], label_mapping=[[3, 1]])
    assert not load_case(read_cases(unmapped).cases[0]).truths[1].voxels
