"""Cross-validation: each case is answered by the weights that have not seen it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from evaluation_lists import AUTO, entry, rows_in, write_case, write_list

from VISTA3DLib.errors import CheckpointError
from VISTA3DLib.evaluation.cases import load_case, read_cases
from VISTA3DLib.evaluation.evaluate import evaluate
from VISTA3DLib.evaluation.fold_models import FoldModels
from VISTA3DLib.model import Model
from VISTA3DLib.session import Session


def test_each_fold_is_answered_by_its_own_weights(
    two_cases: Path, tmp_path: Path, weights: str, make_model: Callable[..., Model]
) -> None:
    pattern = weights.replace("fold0", "fold{fold}")
    outputs = evaluate(two_cases, tmp_path / "out", AUTO, weights=pattern, device="cpu", worst=0)
    assert [m.fold for m in outputs.findings.evaluation.models] == [0, 1]
    assert len({m.sha256 for m in outputs.findings.evaluation.models}) == 2
    for case in read_cases(two_cases).cases:
        loaded = load_case(case)
        session = Session(make_model(case.fold), mode="quality")
        session.set_volume(loaded.volume)
        found = session.segment_classes([1], overlapping=True).mask(1)
        (row,) = [r for r in rows_in(outputs) if r["case"] == case.id]
        assert float(row["predicted_ml"]) == pytest.approx(found.sum() * loaded.volume.grid.voxel_ml, rel=1e-5)
        assert row["fold"] == str(case.fold)


def test_a_case_without_a_fold_has_no_weights_in_cross_validation(tmp_path: Path, weights: str) -> None:
    write_case(tmp_path, "a", "lps", 4)
    write_case(tmp_path, "b", "lps", 5)
    data = write_list(tmp_path, [entry("a", fold=0), entry("b")])
    pattern = weights.replace("fold0", "fold{fold}")
    outputs = evaluate(data, tmp_path / "out", AUTO, weights=pattern, device="cpu", worst=0)
    (failure,) = [f for f in outputs.findings.evaluation.failures if f.case == "b"]
    assert "no fold" in failure.cause


def test_missing_weights_of_a_fold_stop_the_run(two_cases: Path, tmp_path: Path, weights: str) -> None:
    pattern = weights.replace("fold0", "other{fold}")
    with pytest.raises(CheckpointError, match="other0"):
        evaluate(two_cases, tmp_path / "out", AUTO, weights=pattern)


def test_fold_weights_are_loaded_once_a_fold(weights: str) -> None:
    models = FoldModels(weights.replace("fold0", "fold{fold}"), device="cpu")
    first = models.model(0)
    assert models.model(0) is first
    assert models.model(1) is not first
    assert models.digest(0) != models.digest(1)
    plain = FoldModels(weights, device="cpu")
    assert plain.model(0) is plain.model(None)
