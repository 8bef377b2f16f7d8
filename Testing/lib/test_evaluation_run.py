"""Whole evaluations: lists in, reports out; what is broken, absent, stopped or full."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from evaluation_lists import entry, labels_of, write_case, write_list
from test_files_maker import small_disk

from VISTA3DLib.checkpoint import save_checkpoint
from VISTA3DLib.cli.app import run
from VISTA3DLib.errors import CancelledError, CheckpointError, OutputError, ReadError, SettingsError
from VISTA3DLib.evaluation import run as run_module
from VISTA3DLib.evaluation.cases import load_case, read_cases
from VISTA3DLib.evaluation.evaluate import evaluate
from VISTA3DLib.evaluation.failures import EvaluationError, Failure, grouped
from VISTA3DLib.evaluation.fold_models import FoldModels
from VISTA3DLib.evaluation.outputs import Outputs
from VISTA3DLib.evaluation.settings import EvaluationSettings
from VISTA3DLib.model import Model
from VISTA3DLib.progress import Cancel, Progress
from VISTA3DLib.session import Session

Console = pytest.CaptureFixture[str]
AUTO = EvaluationSettings(protocol="auto")
CLICKS = EvaluationSettings(protocol="clicks", clicks=3)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, make_model: Callable[..., Model]) -> str:
    """Files of small networks for folds 0 and 1; the path of the first."""
    folder = tmp_path_factory.mktemp("weights")
    for fold in (0, 1):
        model = make_model(fold)
        save_checkpoint(folder / f"fold{fold}.safetensors", model.network, model.settings, metadata={"title": "tiny"})
    return str(folder / "fold0.safetensors")


@pytest.fixture
def two_cases(tmp_path: Path) -> Path:
    """A list of two cases in different geometries."""
    write_case(tmp_path, "a", "oblique", 3)
    write_case(tmp_path, "b", "lps", 4)
    return write_list(tmp_path, [entry("a", fold=0), entry("b", fold=1)])


def rows_in(outputs: Outputs) -> list[dict[str, str]]:
    return list(csv.DictReader(outputs.files[1].read_text(encoding="utf-8").splitlines()))


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


def test_one_case_with_one_object_makes_a_report(tmp_path: Path, weights: str) -> None:
    write_case(tmp_path, "a", "lps", 4)
    data = write_list(tmp_path, [entry("a")], label_mapping=[[2, 205]])
    outputs = evaluate(
        data, tmp_path / "out", EvaluationSettings(protocol="clicks", clicks=1), weights=weights, device="cpu"
    )
    assert outputs.findings.curves[0].objects == 1
    assert outputs.findings.classes[0].dice_sd is None


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
    with pytest.raises(ReadError, match=text):
        evaluate(path, tmp_path / "out", AUTO, weights=weights)


def test_a_list_without_a_mapping_is_an_error(tmp_path: Path, weights: str) -> None:
    write_case(tmp_path, "a", "lps", 4)
    path = write_list(tmp_path, [entry("a")], label_mapping={})
    with pytest.raises(SettingsError, match="no label mapping"):
        evaluate(path, tmp_path / "out", AUTO, weights=weights)


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
    for wrong in ({"split": "dev"}, {"limit": 0}):
        with pytest.raises(SettingsError):
            read_cases(data, **wrong)


def test_two_cases_with_one_name_are_said(tmp_path: Path) -> None:
    write_case(tmp_path, "a", "lps", 1)
    cases = read_cases(write_list(tmp_path, [entry("a"), entry("a")]))
    assert [c.id for c in cases.cases] == ["a"]
    assert "this name" in cases.failures[0].cause


class Page(HTMLParser):
    """Whether tags close, and what a page asks the network for."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.asked: list[str] = []
        self.pictures = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)
        self.pictures += tag == "img"
        for name, value in attributes:
            if name in {"src", "href", "xlink:href"} and value and not value.startswith(("data:", "#")):
                self.asked.append(value)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_is_one_file_with_charts_and_pictures(two_cases: Path, tmp_path: Path, weights: str) -> None:
    outputs = evaluate(two_cases, tmp_path / "out", CLICKS, weights=weights, device="cpu", worst=2)
    text = outputs.files[0].read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.asked == []
    assert page.pictures == 2
    assert not re.search(r"url\((?!#)|@import|<script", text)
    assert text.count("<svg") == 3  # curves, boxes by click, boxes by class
    for words in ("Clicks", "Classes", "Worst cases", "How it was measured", "random walker", "area"):
        assert words in text
    (loaded,) = outputs.findings.evaluation.models
    assert loaded.sha256 in text


def test_names_from_files_cannot_break_the_page(tmp_path: Path, weights: str) -> None:
    write_case(tmp_path, "a", "lps", 4)
    evil = "<script>alert('x')</script> & \"quotes\""
    data = write_list(tmp_path, [entry("a", id=evil)], name=evil)
    outputs = evaluate(data, tmp_path / "out", AUTO, weights=weights, worst=1)
    text = outputs.files[0].read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert rows_in(outputs)[0]["case"] == evil


def test_the_papers_results_lie_beside_its_data_sets(tmp_path: Path, weights: str) -> None:
    write_case(tmp_path, "a", "lps", 4)
    entries = [entry("a", dataset="BTCV-Abdomen")]
    outputs = evaluate(write_list(tmp_path, entries), tmp_path / "out", AUTO, weights=weights, worst=0)
    text = outputs.files[0].read_text(encoding="utf-8")
    assert "The paper&#x27;s results" in text
    assert "0.849" in text  # VISTA3D auto
    assert "VISTA3D auto" in text
    other = evaluate(write_list(tmp_path, [entry("a")]), tmp_path / "out2", AUTO, weights=weights, worst=0)
    assert "The paper" not in other.files[0].read_text(encoding="utf-8").split("How it was measured")[0]


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


def test_fold_weights_are_loaded_once_a_fold(weights: str) -> None:
    models = FoldModels(weights.replace("fold0", "fold{fold}"), device="cpu")
    first = models.model(0)
    assert models.model(0) is first
    assert models.model(1) is not first
    assert models.digest(0) != models.digest(1)
    plain = FoldModels(weights, device="cpu")
    assert plain.model(0) is plain.model(None)


def test_the_command_prints_tables_and_files(two_cases: Path, tmp_path: Path, weights: str, capsys: Console) -> None:
    out = tmp_path / "out"
    status = run(
        ["evaluate", "--data", str(two_cases), "--protocol", "clicks", "-n", "2", "-o", str(out), "-w", weights,
         "--baselines", "region growing", "--device", "cpu", "--map", "1=liver", "--map", "2=205"]
    )  # fmt: skip
    printed = capsys.readouterr()
    assert status == 0
    assert "region growing" in printed.out
    assert "random walker" not in printed.out
    assert "report.html" in printed.out
    assert "cases: 2 of 2" in printed.err


def test_the_command_prints_json(two_cases: Path, tmp_path: Path, weights: str, capsys: Console) -> None:
    status = run(
        ["evaluate", "--data", str(two_cases), "-o", str(tmp_path / "out"), "-w", weights, "--classes", "liver",
         "--json", "--quiet", "--worst", "0"]
    )  # fmt: skip
    plain = json.loads(capsys.readouterr().out)
    assert status == 0
    assert plain["settings"]["classes"] == [1]
    assert plain["datasets"][0]["objects"] == 2
    assert plain["models"][0]["title"] == "tiny"
    assert all(Path(p).is_file() for p in plain["outputs"])
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["classes"] == plain["classes"]


def test_the_command_says_what_is_wrong(tmp_path: Path, weights: str, capsys: Console) -> None:
    for arguments, text in (
        (["--data", str(tmp_path / "none.json")], "none.json"),
        (["--data", str(tmp_path / "none.json"), "--protocol", "magic"], "magic"),
        (["--data", str(tmp_path / "none.json"), "--classes", "liverr"], "liverr"),
    ):
        assert run(["evaluate", *arguments, "-o", str(tmp_path / "out"), "-w", weights]) == 2
        assert text in capsys.readouterr().err


def test_a_class_no_model_knows_is_called_by_its_number_or_its_segment(tmp_path: Path, weights: str) -> None:
    write_case(tmp_path, "a", "lps", 4)
    case = read_cases(write_list(tmp_path, [entry("a")])).cases[0]
    loaded = load_case(case)
    model = FoldModels(weights, device="cpu").model(None)
    assert run_module.class_name(1, loaded.names, model) == "liver"
    assert run_module.class_name(205, loaded.names, model) == "class 205"
    assert run_module.class_name(205, {205: "sarcoma"}, model) == "sarcoma"


def test_one_cause_is_said_once_for_all_of_its_cases() -> None:
    failures = [Failure(case=c, cause="no class 7", kind="ClassError", class_id=7) for c in "abcde"]
    groups = grouped([failures[0], Failure(case="a", cause="torn", kind="ReadError"), *failures[1:]])
    assert [(g.first.cause, g.where) for g in groups] == [("no class 7", "a, b, c and 2 more cases"), ("torn", "a")]
