"""The command line, run as a person runs it, with a small network in place of the real weights."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from odd_volumes import blobs, odd_affine, odd_shape

from VISTA3DLib import __version__
from VISTA3DLib.checkpoint import save_checkpoint
from VISTA3DLib.cli.app import run
from VISTA3DLib.cli.segment_job import SegmentJob
from VISTA3DLib.cli.segment_options import parse_roi
from VISTA3DLib.errors import SettingsError
from VISTA3DLib.files.read import read_volume
from VISTA3DLib.files.segmentation_read import read_segmentation
from VISTA3DLib.geometry import Box, Grid
from VISTA3DLib.model import Model

Console = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, make_model: Callable[..., Model]) -> str:
    """A file with the small network of the tests."""
    model = make_model(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(path, model.network, model.settings, metadata={"title": "tiny"})
    return str(path)


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    """An oblique CT in a folder with a space and an umlaut."""
    folder = tmp_path / "Röntgen folder"
    folder.mkdir()
    path = folder / "ct.nii.gz"
    nibabel.save(nibabel.Nifti1Image(blobs(odd_shape("oblique")), odd_affine("oblique")), path)
    return path


def click_at(ct: Path, index: tuple[float, ...], sign: str) -> str:
    r, a, s = read_volume(ct).grid.to_world(index)
    return f"{r},{a},{s},{sign}"


def test_one_command_goes_from_a_ct_to_segments(ct: Path, weights: str, tmp_path: Path, capsys: Console) -> None:
    out, picture = tmp_path / "new" / "out.seg.nrrd", tmp_path / "new" / "out.png"
    status = run(
        ["segment", str(ct), "-o", str(out), "-w", weights, "-c", "liver,spleen", "-c", "5", "--picture", str(picture)]
    )
    printed = capsys.readouterr()
    assert status == 0
    assert "liver" in printed.out
    assert "windows" in printed.err
    file = read_segmentation(out)
    assert file.grid.same_as(read_volume(ct).grid)
    assert {s.name for s in file.segments} <= {"liver", "spleen", "right kidney"}
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_summary_is_json_with_times_memory_and_volumes(
    ct: Path, weights: str, tmp_path: Path, capsys: Console
) -> None:
    out = tmp_path / "out.nii.gz"
    assert run(["segment", str(ct), "-o", str(out), "-w", weights, "-c", "lung", "--json", "-q"]) == 0
    printed = capsys.readouterr()
    summary = json.loads(printed.out)
    assert summary["version"] == __version__
    assert {"read", "load", "prepare", "network", "labels", "to volume", "write"} <= set(summary["seconds"])
    assert summary["peak_memory_bytes"]["process"] > 1e7
    assert [s["id"] for s in summary["segments"]] == [28, 29, 30, 31, 32]
    voxel_ml = read_volume(ct).grid.voxel_ml
    for segment in summary["segments"]:
        assert segment["ml"] == pytest.approx(segment["voxels"] * voxel_ml, abs=1e-3)
    assert summary["model"]["id"]
    assert "windows" not in printed.err


def test_a_click_becomes_a_segment_and_further_clicks_repair_it(
    ct: Path, weights: str, tmp_path: Path, capsys: Console
) -> None:
    first, second = tmp_path / "first.seg.nrrd", tmp_path / "second.seg.nrrd"
    click = click_at(ct, (16, 20, 10), "+")
    base = ["-w", weights, "-q"]
    assert run(["segment", str(ct), "-o", str(first), "--point", click, "--new-structure", "Läsion", *base]) == 0
    before = read_segmentation(first)
    assert [s.name for s in before.segments] == ["Läsion"]
    negative = click_at(ct, (16, 20, 10), "-")
    capsys.readouterr()
    repair = ["--refine", str(first), "--segment", "läsion", "--point", negative, "--json"]
    assert run(["segment", str(ct), "-o", str(second), *repair, *base]) == 0
    summary = json.loads(capsys.readouterr().out)
    change = summary["changes"][0] if summary["changes"] else None
    assert change is None or change["kind"] == "removed"
    after = read_segmentation(second)
    assert after.grid.same_as(before.grid)


def test_a_class_that_is_also_clicked_is_repaired_and_not_added_twice(
    ct: Path, weights: str, tmp_path: Path, capsys: Console
) -> None:
    out = tmp_path / "out.seg.nrrd"
    click = click_at(ct, (16, 20, 10), "+")
    status = run(
        ["segment", str(ct), "-o", str(out), "-w", weights, "-c", "liver", "--class", "liver", "--point", click]
    )
    assert status == 0
    assert "liver" in capsys.readouterr().out
    assert len(read_segmentation(out).segments) == 1


def test_points_come_from_a_slicer_file(ct: Path, weights: str, tmp_path: Path) -> None:
    r, a, s = read_volume(ct).grid.to_world((16, 20, 10))
    control = {"label": "F-1", "position": [-r, -a, s], "positionStatus": "defined"}
    points = tmp_path / "F.mrk.json"
    points.write_text(json.dumps({"markups": [{"coordinateSystem": "LPS", "controlPoints": [control]}]}))
    one, two = tmp_path / "one.nii.gz", tmp_path / "two.nii.gz"
    assert run(["segment", str(ct), "-o", str(one), "-w", weights, "-q", "--points", str(points)]) == 0
    assert run(["segment", str(ct), "-o", str(two), "-w", weights, "-q", "--point", f"{r},{a},{s},+"]) == 0
    assert np.array_equal(nibabel.load(one).dataobj, nibabel.load(two).dataobj)


def test_voxel_points_and_world_points_are_the_same(ct: Path, weights: str, tmp_path: Path) -> None:
    one, two = tmp_path / "one.nii.gz", tmp_path / "two.nii.gz"
    base = ["-w", weights, "-q"]
    run(["segment", str(ct), "-o", str(one), "--point", "16,20,10,+", "--point-space", "ijk", *base])
    run(["segment", str(ct), "-o", str(two), "--point", click_at(ct, (16, 20, 10), "+"), *base])
    assert np.array_equal(nibabel.load(one).dataobj, nibabel.load(two).dataobj)


def test_the_sample_needs_no_file(weights: str, tmp_path: Path, capsys: Console) -> None:
    out = tmp_path / "torso.nii.gz"
    roi = "-30,30,-30,30,-30,30"
    assert run(["segment", "--sample", "torso", "-o", str(out), "-w", weights, "-c", "heart", "--roi", roi, "-q"]) == 0
    assert nibabel.load(out).shape == (267, 200, 200)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["CT"], "-o out.seg.nrrd"),
        (["-o", "x.seg.nrrd"], "--sample"),
        (["CT", "--sample", "torso", "-o", "x.seg.nrrd"], "--sample"),
        (["--sample", "leg", "-o", "x.seg.nrrd"], "torso"),
        (["CT", "-o", "x.png"], ".seg.nrrd"),
        (["missing.nii.gz", "-o", "x.seg.nrrd"], "missing.nii.gz"),
        (["CT", "-o", "x.seg.nrrd", "-c", "livr"], "liver"),
        (["CT", "-o", "x.seg.nrrd", "-c", "liver, musles"], "Did you mean: muscles (a set of"),
        (["CT", "-o", "x.seg.nrrd", "-c", "rectum"], "rectum"),
        (["CT", "-o", "x.seg.nrrd", "-c", " , "], "--classes ' , ' names nothing"),
        (["CT", "-o", "x.seg.nrrd", "-w", "empty folder"], "There are no weights at empty folder"),
        (["letter", "-o", "x.seg.nrrd"], "holds no image that can be read here"),
        (["CT", "-o", "x.seg.nrrd", "--point", "1,2,+"], "12.5,-40,88,+"),
        (["CT", "-o", "x.seg.nrrd", "--point", "9999,0,0,+"], "outside"),
        (["CT", "-o", "x.seg.nrrd", "--point-space", "xyz", "--point", "1,2,3"], "ijk"),
        (["CT", "-o", "x.seg.nrrd", "--class", "liver"], "--point"),
        (["CT", "-o", "x.seg.nrrd", "--refine", "CT"], "--segment"),
        (["CT", "-o", "x.seg.nrrd", "--roi", "1,2,3"], "R0,R1,A0,A1,S0,S1"),
        (["CT", "-o", "x.seg.nrrd", "--roi", "9000,9001,0,1,0,1"], "RAS"),
        (["CT", "-o", "x.seg.nrrd", "--mode", "fast"], "bundle"),
        (["CT", "-o", "x.seg.nrrd", "--device", "cuda:7"], "cpu"),
        (["CT", "-o", "x.seg.nrrd", "--precision", "fp8"], "fp16"),
        (["CT", "-o", "x.seg.nrrd", "-w", "vista3d-xl"], "vista3d-mini"),
    ],
)
def test_wrong_input_ends_with_status_2_a_reason_and_the_way_out_and_writes_nothing(
    ct: Path,
    weights: str,
    tmp_path: Path,
    capsys: Console,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    text: str,
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "empty folder").mkdir()
    (work / "letter").write_text("Dear colleague, the CT is attached.")
    before = sorted(work.rglob("*"))
    monkeypatch.chdir(work)
    chosen = [str(ct) if a == "CT" else a for a in arguments]
    extra = [] if "-w" in chosen else ["-w", weights]
    assert run(["segment", *chosen, *extra]) == 2
    printed = " ".join(capsys.readouterr().err.split())
    assert "Error" in printed
    assert text in printed
    assert sorted(work.rglob("*")) == before


def test_ctrl_c_ends_with_status_130_and_a_word(
    ct: Path, tmp_path: Path, capsys: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: SegmentJob) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SegmentJob, "run", interrupted)
    assert run(["segment", str(ct), "-o", str(tmp_path / "x.seg.nrrd")]) == 130
    assert "Stopped." in capsys.readouterr().err


def test_untrained_weights_say_so(ct: Path, tmp_path: Path, capsys: Console) -> None:
    from VISTA3DLib.weights import find_weights

    entry = find_weights("vista3d-mini")
    if entry.path is not None and entry.path.is_file():
        pytest.skip("the built-in weights are trained")
    run(["segment", str(ct), "-o", str(tmp_path / "x.seg.nrrd"), "-c", "liver", "-q"])
    assert "untrained" in capsys.readouterr().err


def test_classes_are_found_by_part_of_a_name(capsys: Console) -> None:
    assert run(["classes", "kidn"]) == 0
    out = capsys.readouterr().out
    assert "left kidney" in out
    assert "14" in out


def test_the_members_of_a_set_are_shown_and_a_misspelt_name_is_answered(capsys: Console) -> None:
    assert run(["classes", "lesions", "--json"]) == 0
    assert [c["id"] for c in json.loads(capsys.readouterr().out)] == [23, 24, 26, 27, 116, 117, 128]
    assert run(["classes", "orgns"]) == 2
    assert "Did you mean: organs (a set of" in capsys.readouterr().err


def test_classes_are_shown_as_a_tree_and_as_json(capsys: Console) -> None:
    assert run(["classes"]) == 0
    tree = capsys.readouterr().out
    assert "Spine" in tree
    assert run(["classes", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 132
    assert run(["classes", "--sets", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["everything"]) == 117


@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_the_classes_of_a_file_that_holds_no_weights_are_refused(ending: str, tmp_path: Path, capsys: Console) -> None:
    path = tmp_path / f"notes{ending}"
    path.write_text("liver, spleen, and the date of the next meeting")
    assert run(["classes", "--weights", str(path)]) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert str(path) in "".join(printed.err.splitlines())
    assert "Download or copy it again" in printed.err


def test_the_classes_of_a_foreign_checkpoint_are_those_of_the_ct_model(
    make_model: Callable[..., Model], tmp_path: Path, capsys: Console
) -> None:
    path = tmp_path / "theirs.pt"
    torch.save(make_model(0).network.state_dict(), path)
    assert run(["classes", "kidn", "--weights", str(path), "--json"]) == 0
    assert 14 in [c["id"] for c in json.loads(capsys.readouterr().out)]


def test_the_list_of_weights_names_licences(capsys: Console) -> None:
    assert run(["weights", "list", "--json"]) == 0
    rows = {r["id"]: r for r in json.loads(capsys.readouterr().out)}
    assert {"vista3d-mini", "vista3d-ct", "vista3d-ctmr"} <= set(rows)
    assert rows["vista3d-mini"]["demonstration"]
    assert "NVIDIA" in rows["vista3d-ct"]["licence"]


def test_weights_are_verified(weights: str, tmp_path: Path, capsys: Console) -> None:
    assert run(["weights", "verify", weights, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"]
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(Path(weights).read_bytes()[:-100])
    assert run(["weights", "verify", str(broken)]) == 2


def test_the_doctor_names_versions_devices_and_weights(capsys: Console) -> None:
    assert run(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["vista3d"]["version"] == __version__
    assert re.match(r"\d+\.\d+", report["packages"]["torch"])
    assert "GFLOP/s" in report["devices"]["cpu"]
    assert report["weights"]["vista3d-mini"]
    assert str(Path.home()) not in json.dumps(report)


def test_the_version_and_the_help_are_there(capsys: Console) -> None:
    assert run(["--version"]) == 0
    assert __version__ in capsys.readouterr().out
    assert run(["segment", "--help"]) == 0
    assert "--refine" in capsys.readouterr().out


def test_an_unknown_option_ends_with_status_2(capsys: Console) -> None:
    assert run(["segment", "--frobnicate"]) == 2
    assert "frobnicate" in capsys.readouterr().err


def test_a_region_covers_the_voxels_inside_it_whatever_the_order_of_its_ends() -> None:
    grid = Grid(shape=(20, 20, 20), affine=np.diag([-2.0, -2.0, 3.0, 1.0]))
    assert parse_roi("-4,-8,-2,-6,3,9", grid) == Box(start=(2, 1, 1), stop=(5, 4, 4))
    assert parse_roi("-8,-4,-6,-2,9,3", grid) == Box(start=(2, 1, 1), stop=(5, 4, 4))
    with pytest.raises(SettingsError):
        parse_roi("a,b,c,d,e,f", grid)


# ------------------------------------------------------------------------------------------------ said before the work


@pytest.mark.parametrize(
    ("output", "extra", "said"),
    [
        ("folder.seg.nrrd", [], "Is a directory"),
        ("file/out.seg.nrrd", [], "out.seg.nrrd cannot be written"),
        ("out.dcm", [], "needs the DICOM files of the CT"),
        ("out.seg.nrrd", ["--picture", "out.xyz"], "out.xyz has no picture ending"),
        ("out.seg.nrrd", ["--picture", "file/out.png"], "out.png cannot be written"),
        ("out.seg.nrrd", ["--segment", "liver"], "--segment liver says what to repair"),
    ],
)
def test_what_cannot_be_written_is_said_before_the_model_is_loaded(
    ct: Path, tmp_path: Path, capsys: Console, monkeypatch: pytest.MonkeyPatch, output: str, extra: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.seg.nrrd").mkdir()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    assert run(["segment", str(ct), "-o", output, "-w", "no such weights.pt", *extra]) == 2
    assert said in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_result_never_replaces_what_it_is_made_from(
    ct: Path, tmp_path: Path, capsys: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ct.read_bytes()
    monkeypatch.chdir(ct.parent)
    assert run(["segment", str(ct), "-o", ct.name]) == 2
    assert "would be replaced" in capsys.readouterr().err
    assert run(["supervoxels", ct.name, "-o", str(ct)]) == 2
    assert "would be replaced" in capsys.readouterr().err
    assert ct.read_bytes() == before
