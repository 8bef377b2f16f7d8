"""Evaluations of what is broken, missing, too large or full."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from evaluation_lists import AUTO, CLICKS, entry, rows_in, write_case, write_list
from test_files_maker import small_disk

from VISTA3DLib.errors import OutputError, ReadError, SettingsError
from VISTA3DLib.evaluation import run as run_module
from VISTA3DLib.evaluation.evaluate import evaluate
from VISTA3DLib.evaluation.failures import EvaluationError, Failure, grouped
from VISTA3DLib.evaluation.settings import EvaluationSettings


def test_a_broken_case_does_not_stop_the_others(tmp_path: Path, weights: str) -> None:
    write_case(tmp_path, "good", "lps", 4)
    write_case(tmp_path, "torn", "lps", 5)
    whole = (tmp_path / "torn.nii.gz").read_bytes()
    (tmp_path / "torn.nii.gz").write_bytes(whole[: len(whole) // 2])
    write_case(tmp_path, "moved", "lps", 6)
    label = nibabel.load(tmp_path / "moved_label.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.asarray(label.dataobj)[1:], label.affine), tmp_path / "moved_label.nii.gz")
    names = ["good", "torn", "moved", "missing"]
    data = write_list(tmp_path, [entry(n) for n in names])
    outputs = evaluate(data, tmp_path / "out", AUTO, weights=weights, worst=0)
    fatal = {f.case: f for f in outputs.findings.evaluation.failures if f.fatal and f.class_id is None}
    assert set(fatal) == {"torn", "moved", "missing"}
    assert "25 x 27 x 17" in fatal["moved"].cause
    assert "missing.nii.gz" in fatal["missing"].cause
    assert {r["case"] for r in rows_in(outputs)} == {"good"}
    page = outputs.files[0].read_text(encoding="utf-8")
    assert all(name in page for name in names)


def test_a_case_that_does_not_fit_into_memory_is_left_out(
    two_cases: Path, tmp_path: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = run_module.load_case

    def load(case: Any) -> Any:
        if case.id == "a":
            raise MemoryError
        return original(case)

    monkeypatch.setattr(run_module, "load_case", load)
    outputs = evaluate(two_cases, tmp_path / "out", AUTO, weights=weights, worst=0)
    assert [f.kind for f in outputs.findings.evaluation.failures if f.case == "a"] == ["MemoryError"]
    assert {r["case"] for r in rows_in(outputs)} == {"b"}


def test_nothing_to_score_is_an_error_that_says_why(tmp_path: Path, weights: str) -> None:
    write_case(tmp_path, "a", "lps", 4)
    data = write_list(tmp_path, [entry("gone")])
    with pytest.raises(EvaluationError, match=r"gone\.nii\.gz"):
        evaluate(data, tmp_path / "out", AUTO, weights=weights)
    data = write_list(tmp_path, [entry("a")], label_mapping=[[2, 205]])
    with pytest.raises(EvaluationError, match="no automatic class 205"):
        evaluate(data, tmp_path / "out", AUTO, weights=weights)
    assert not (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "no JSON"),
        ('{"training": []}', "no cases"),
        ('{"training": 7}', "no cases"),
        ('{"training": [{"image": "a.nii.gz", "label": "a_label.nii.gz", "fold": "x"}], "label_mapping": []}', "fold"),
        ('{"training": [{"image": "a.nii.gz", "label": "a_label.nii.gz"}], "label_mapping": [[1]]}', "label_mapping"),
        (
            '{"training": [{"image": "a.nii.gz", "label": "a_label.nii.gz"}], "label_mapping": [[1, 1]], '
            '"subtract": [[1]]}',
            "subtract",
        ),
    ],
)
def test_a_bad_list_is_named(tmp_path: Path, weights: str, content: str, text: str) -> None:
    write_case(tmp_path, "a", "lps", 4)
    path = tmp_path / "list.json"
    path.write_text(content)
    with pytest.raises(ReadError, match=text) as caught:
        evaluate(path, tmp_path / "out", AUTO, weights=weights)
    assert str(path) in caught.value.message


def test_a_list_without_a_mapping_is_an_error(tmp_path: Path, weights: str) -> None:
    write_case(tmp_path, "a", "lps", 4)
    path = write_list(tmp_path, [entry("a")], label_mapping={})
    with pytest.raises(SettingsError, match="no label mapping"):
        evaluate(path, tmp_path / "out", AUTO, weights=weights)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "48k") as place:
        yield place


def test_a_full_disk_is_an_error_and_leaves_no_half_report(two_cases: Path, full_disk: Path, weights: str) -> None:
    with pytest.raises(OutputError, match="free"):
        evaluate(two_cases, full_disk / "out", CLICKS, weights=weights, worst=4)
    left = {p.name for p in (full_disk / "out").iterdir()}
    assert left <= {"cases"}


def test_a_file_in_the_place_of_the_folder_is_an_error(two_cases: Path, tmp_path: Path, weights: str) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError):
        evaluate(two_cases, tmp_path / "out", AUTO, weights=weights)
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize(
    "values",
    [
        {"protocol": "magic"},
        {"clicks": 0},
        {"clicks": 1000},
        {"min_ml": -1.0},
        {"tolerance_mm": float("nan")},
        {"baselines": ("watershed",)},
        {"baseline_clicks": "mine"},
        {"seed": -1},
        {"protocol": "auto", "start_from_auto": True},
    ],
)
def test_settings_that_cannot_work_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        EvaluationSettings(**{"protocol": "clicks", **values})


def test_one_cause_is_said_once_for_all_of_its_cases() -> None:
    failures = [Failure(case=c, cause="no class 7", kind="ClassError", class_id=7) for c in "abcde"]
    groups = grouped([failures[0], Failure(case="a", cause="torn", kind="ReadError"), *failures[1:]])
    assert [(g.first.cause, g.where) for g in groups] == [("no class 7", "a, b, c and 2 more cases"), ("torn", "a")]
