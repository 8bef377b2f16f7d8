"""Evaluations that are stopped, killed or started again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_lists import AUTO, CLICKS, rows_in, write_case

from VISTA3DLib.devices import Runtime
from VISTA3DLib.errors import CancelledError
from VISTA3DLib.evaluation import run as run_module
from VISTA3DLib.evaluation.cases import read_cases
from VISTA3DLib.evaluation.evaluate import evaluate
from VISTA3DLib.evaluation.fold_models import FoldModels
from VISTA3DLib.progress import Cancel, Progress


class KilledError(Exception):
    """Ends a run the hard way."""


def counted_cases(monkeypatch: pytest.MonkeyPatch, stop_at: str = "") -> list[str]:
    """The cases that are really computed from now on; the run dies at ``stop_at``."""
    computed: list[str] = []
    original = run_module.score_case

    def score(case: Any, *rest: Any, **more: Any) -> Any:
        if case.id == stop_at:
            raise KilledError
        computed.append(case.id)
        return original(case, *rest, **more)

    monkeypatch.setattr(run_module, "score_case", score)
    return computed


def test_a_killed_run_goes_on_where_it_stopped(
    two_cases: Path, tmp_path: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluate(two_cases, tmp_path / "whole", CLICKS, weights=weights)
    with monkeypatch.context() as patch:
        counted_cases(patch, stop_at="b")
        with pytest.raises(KilledError):
            evaluate(two_cases, tmp_path / "out", CLICKS, weights=weights)
    assert not (tmp_path / "out" / "report.html").exists()
    computed = counted_cases(monkeypatch)
    outputs = evaluate(two_cases, tmp_path / "out", CLICKS, weights=weights)
    assert computed == ["b"]
    timeless = [{k: v for k, v in r.items() if k != "seconds"} for r in rows_in(outputs)]
    assert timeless == [{k: v for k, v in r.items() if k != "seconds"} for r in rows_in(whole)]


def test_what_changed_is_computed_anew(
    two_cases: Path, tmp_path: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    computed = counted_cases(monkeypatch)
    evaluate(two_cases, out, AUTO, weights=weights, worst=0)
    evaluate(two_cases, out, AUTO, weights=weights, worst=3)
    assert computed == ["a", "b"]
    evaluate(two_cases, out, AUTO, weights=weights.replace("fold0", "fold1"), worst=0)
    assert computed == ["a", "b", "a", "b"]
    write_case(tmp_path, "b", "lps", 9)
    evaluate(two_cases, out, AUTO, weights=weights.replace("fold0", "fold1"), worst=0)
    assert computed[4:] == ["b"]
    for damaged in (out / "cases").glob("a-*.npz"):
        damaged.write_bytes(b"PK\x03\x04 not really")
    evaluate(two_cases, out, AUTO, weights=weights.replace("fold0", "fold1"), worst=0)
    assert computed[5:] == ["a"]


def test_a_result_is_not_reused_for_another_precision_or_kind_of_device(
    two_cases: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (case, _) = read_cases(two_cases).cases
    runtimes = {
        "fp32": Runtime(device=torch.device("cpu")),
        "bf16": Runtime(device=torch.device("cpu"), precision="bf16"),
        "gpu": Runtime(device=torch.device("cuda:0")),
        "other gpu": Runtime(device=torch.device("cuda:1")),
    }
    keys = {}
    for name, runtime in runtimes.items():
        monkeypatch.setattr(FoldModels, "runtime", runtime)
        keys[name] = run_module.case_key(case, FoldModels(weights), AUTO)
    assert len(set(keys.values())) == 3
    assert keys["gpu"] == keys["other gpu"]


def test_cancelling_keeps_the_finished_cases_and_writes_no_report(
    two_cases: Path, tmp_path: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel = Cancel()

    def listen(report: Progress) -> None:
        if report.stage == "cases" and report.done == 1:
            cancel.cancel()

    with pytest.raises(CancelledError):
        evaluate(two_cases, tmp_path / "out", AUTO, weights=weights, progress=listen, cancel=cancel)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["cases"]
    computed = counted_cases(monkeypatch)
    evaluate(two_cases, tmp_path / "out", AUTO, weights=weights, worst=0)
    assert computed == ["b"]
