"""What is scored in whole evaluations, and with which numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from evaluation_lists import AUTO, CLICKS, entry, labels_of, rows_in, write_case, write_list

from VISTA3DLib.evaluation import run as run_module
from VISTA3DLib.evaluation.cases import load_case, read_cases
from VISTA3DLib.evaluation.evaluate import evaluate
from VISTA3DLib.evaluation.fold_models import FoldModels
from VISTA3DLib.evaluation.rows import rows_to_csv
from VISTA3DLib.evaluation.settings import EvaluationSettings
from VISTA3DLib.model import Model
from VISTA3DLib.session import Session


def test_the_columns_of_the_results_keep_their_names_and_places() -> None:
    columns = "case dataset class_id class_name method clicks outcome dice nsd hd95_mm truth_ml predicted_ml "
    columns += "volume_error_ml volume_error_percent click_r click_a click_s click_positive seconds fold"
    assert rows_to_csv([]) == ",".join(columns.split()) + "\n"


def test_dice_is_that_of_the_session_s_mask_on_the_ct_s_grid(
    two_cases: Path, tmp_path: Path, weights: str, make_model: Callable[..., Model]
) -> None:
    outputs = evaluate(two_cases, tmp_path / "out", AUTO, weights=weights, device="cpu", worst=0)
    cases = read_cases(two_cases).cases
    session = Session(make_model(0), mode="quality")
    for case in cases:
        loaded = load_case(case)
        session.set_volume(loaded.volume)
        found = session.segment_classes([1], overlapping=True).mask(1)
        truth = labels_of(tmp_path, case.id) == 1
        expected = 2.0 * (found & truth).sum() / (found.sum() + truth.sum())
        (row,) = [r for r in rows_in(outputs) if r["case"] == case.id]
        assert float(row["dice"]) == pytest.approx(expected, abs=1e-6)
        assert float(row["truth_ml"]) == pytest.approx(truth.sum() * loaded.volume.grid.voxel_ml, rel=1e-5)
    dice = [float(r["dice"]) for r in rows_in(outputs)]
    assert outputs.findings.datasets[0].dice == pytest.approx(np.mean(dice), abs=1e-6)


def test_a_class_the_model_lacks_is_said_and_not_scored(two_cases: Path, tmp_path: Path, weights: str) -> None:
    outputs = evaluate(two_cases, tmp_path / "out", AUTO, weights=weights, device="cpu", worst=0)
    refused = [f for f in outputs.findings.evaluation.failures if f.class_id == 205]
    assert len(refused) == 2
    assert all(f.fatal and f.kind == "ClassError" for f in refused)


def test_clicks_stand_beside_every_baseline(two_cases: Path, tmp_path: Path, weights: str) -> None:
    outputs = evaluate(two_cases, tmp_path / "out", CLICKS, weights=weights, device="cpu")
    curves = {c.method: c for c in outputs.findings.curves}
    assert list(curves) == ["model", "region growing", "fast marching", "random walker"]
    assert all(c.objects == 4 and len(c.mean) == 3 for c in curves.values())
    rows = rows_in(outputs)
    for case in ("a", "b"):
        places = {
            method: [
                (r["click_r"], r["click_a"], r["click_s"], r["click_positive"])
                for r in rows
                if (r["case"], r["method"], r["class_id"]) == (case, method, "205")
            ]
            for method in curves
        }
        assert len(set(map(tuple, places.values()))) == 1  # the same clicks for all


def test_baselines_may_get_clicks_for_their_own_errors(two_cases: Path, tmp_path: Path, weights: str) -> None:
    own = EvaluationSettings(protocol="clicks", clicks=3, baselines=("region growing",), baseline_clicks="own")
    rows = rows_in(evaluate(two_cases, tmp_path / "out", own, weights=weights, device="cpu", worst=0))
    clicks = {
        method: [r["click_r"] for r in rows if (r["case"], r["method"], r["class_id"]) == ("a", method, "1")]
        for method in ("model", "region growing")
    }
    assert clicks["model"][0] == clicks["region growing"][0]
    assert clicks["model"] != clicks["region growing"]


def test_absent_classes_are_listed_and_never_scored(tmp_path: Path, weights: str) -> None:
    write_case(tmp_path, "a", "lps", 4)
    data = write_list(tmp_path, [entry("a")], label_mapping=[[1, 1], [7, 3]])
    for settings in (AUTO, CLICKS):
        outputs = evaluate(data, tmp_path / settings.protocol, settings, weights=weights, device="cpu", worst=0)
        (score,) = [s for s in outputs.findings.classes if s.class_id == 3]
        assert (score.cases, score.absent, score.dice) == (0, 1, None)
        assert outputs.findings.datasets[0].classes == 1
        (row,) = [r for r in rows_in(outputs) if r["class_id"] == "3"]
        assert row["outcome"] in {"absent", "false positive"}
        assert row["dice"] == ""


def test_classes_that_were_not_annotated_are_not_scored(tmp_path: Path, weights: str) -> None:
    write_case(tmp_path, "a", "lps", 4)
    mapping = [[1, 1], [2, 3]]
    data = write_list(tmp_path, [entry("a", annotated=[1])], label_mapping=mapping)
    outputs = evaluate(data, tmp_path / "out", AUTO, weights=weights, device="cpu", worst=0)
    assert {r["class_id"] for r in rows_in(outputs)} == {"1"}
    notes = [f.cause for f in outputs.findings.evaluation.failures]
    assert not any("not mapped" in n for n in notes)


def test_labels_outside_the_mapping_are_said(tmp_path: Path, weights: str) -> None:
    write_case(tmp_path, "a", "lps", 4)
    data = write_list(tmp_path, [entry("a")], label_mapping=[[1, 1]])
    outputs = evaluate(data, tmp_path / "out", AUTO, weights=weights, device="cpu", worst=0)
    (note,) = [f for f in outputs.findings.evaluation.failures if "not mapped" in f.cause]
    assert not note.fatal
    assert note.cause.endswith("scored: 2.")


def test_small_objects_can_be_left_out(two_cases: Path, tmp_path: Path, weights: str) -> None:
    volumes = [float(r["truth_ml"]) for r in rows_in(evaluate(two_cases, tmp_path / "1", CLICKS, weights=weights))]
    least = (min(volumes) + max(volumes)) / 2
    settings = EvaluationSettings(protocol="clicks", clicks=1, baselines=(), min_ml=least)
    outputs = evaluate(two_cases, tmp_path / "2", settings, weights=weights, worst=0)
    assert all(float(r["truth_ml"]) >= least for r in rows_in(outputs))
    assert any("Left out" in f.cause for f in outputs.findings.evaluation.failures)


def test_only_some_classes_can_be_asked_for(two_cases: Path, tmp_path: Path, weights: str) -> None:
    settings = EvaluationSettings(protocol="clicks", clicks=1, baselines=(), classes=(205,))
    outputs = evaluate(two_cases, tmp_path / "out", settings, weights=weights, worst=0)
    assert {r["class_id"] for r in rows_in(outputs)} == {"205"}


def test_a_class_no_model_knows_is_called_by_its_number_or_its_segment(tmp_path: Path, weights: str) -> None:
    write_case(tmp_path, "a", "lps", 4)
    case = read_cases(write_list(tmp_path, [entry("a")])).cases[0]
    loaded = load_case(case)
    model = FoldModels(weights, device="cpu").model(None)
    assert run_module.class_name(1, loaded.names, model) == "liver"
    assert run_module.class_name(205, loaded.names, model) == "class 205"
    assert run_module.class_name(205, {205: "sarcoma"}, model) == "sarcoma"
