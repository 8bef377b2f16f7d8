"""Whole cohorts on a cluster of two workers: real CTs, broken files, results, resuming."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import slicerio
from odd_volumes import blobs
from test_files_maker import SeriesMaker, ct_values, small_disk

from VISTA3DLib.checkpoint import save_checkpoint
from VISTA3DLib.cohort.run import CohortRun, run_cohort
from VISTA3DLib.cohort.settings import CohortSettings
from VISTA3DLib.errors import CheckpointError, ClassError, OutputError, SettingsError, VISTA3DError
from VISTA3DLib.network import seeded_network
from VISTA3DLib.settings import NetworkSettings

pytestmark = pytest.mark.usefixtures("cluster")


def test_real_cts_and_broken_files_each_get_a_row(real_cts: Path, tmp_path: Path, tools: SimpleNamespace) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    shutil.copytree(real_cts, source)
    good = (source / "sts_001.nii.gz").read_bytes()
    (source / "zero.nii.gz").touch()
    (source / "truncated ä.nii.gz").write_bytes(good[: len(good) // 2])
    (source / "no image.nrrd").write_text("this is not an image")
    (source / "z copy.nii.gz").write_bytes(good)
    nibabel.save(nibabel.Nifti1Image(np.zeros((9, 8, 7, 3), dtype=np.int16), np.eye(4)), source / "four.nii.gz")
    (output / "scans").mkdir(parents=True)
    (output / "scans" / "blocked").write_text("a file where the folder of the results should go")
    tools.write_ct(source / "blocked.nii.gz")

    summary = run_cohort(tools.request_of(source, output, options=tools.two), tools.thresholds())

    rows = tools.scans_of(output)
    assert summary.counts == {"ok": 4, "failed": 5, "duplicate": 1}
    assert {name: row["cause"] for name, row in rows.items() if row["status"] != "ok"} == {
        "zero": "empty file",
        "truncated ä": "truncated",
        "no image": "unreadable",
        "z copy": "duplicate",
        "four": "not a 3D image",
        "blocked": "output cannot be written",
    }
    for row in rows.values():
        if row["status"] == "failed":
            assert row["error"]
            assert row["fix"]
        assert row["model_hash"] == "5" * 64
    assert rows["z copy"]["same_as"] == "sts_001"
    for name in ("sts_001", "tpt_vertebra_l3", "ts_upperabd_slab", "kbp_002"):
        opened = slicerio.read_segmentation(str(output / "scans" / name / "segmentation.seg.nrrd"))
        assert {segment["name"] for segment in opened["segments"]}
        assert opened["voxels"].shape == nibabel.load(source / f"{name}.nii.gz").shape
        assert rows[name]["seconds_read"] > 0
        assert rows[name]["device"] == "cpu"


def test_a_copy_that_is_found_after_it_was_segmented_leaves_no_trace(tmp_path: Path, tools: SimpleNamespace) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    tools.write_ct(source / "late" / "copy.nii.gz", seed=3)
    run_cohort(tools.request_of(source, output), tools.thresholds())
    assert (output / "scans" / "late" / "copy").is_dir()
    tools.write_ct(source / "first.nii.gz", seed=3)  # its id comes before: it is the original

    summary = run_cohort(tools.request_of(source, output, resume=True), tools.thresholds())

    assert summary.counts == {"ok": 1, "duplicate": 1}
    assert tools.scans_of(output)["late/copy"]["same_as"] == "first"
    assert [path.name for path in (output / "scans").iterdir()] == ["first"]


def test_measures_are_those_of_the_written_labels(small_cts: Path, tmp_path: Path, tools: SimpleNamespace) -> None:
    settings = CohortSettings(formats=("nii.gz", "seg.nrrd"))
    run_cohort(tools.request_of(small_cts, tmp_path / "out", settings=settings), tools.thresholds())
    _, structures, files = tools.final_tables(tmp_path / "out")
    assert len(structures) == 18
    assert len(files) == 6 * 4  # both formats, the names of the labels, the picture
    for row in structures:
        image = nibabel.load(small_cts / f"{row['scan']}.nii.gz")
        labels = nibabel.load(tmp_path / "out" / "scans" / row["scan"] / "segmentation.nii.gz")
        inside = image.get_fdata()[np.asarray(labels.dataobj) == row["class_id"]]
        assert row["voxels"] == inside.size
        assert row["ml"] == pytest.approx(inside.size * 1.93 * 2.17 * 4.13 / 1000)
        if inside.size:
            assert row["mean_hu"] == pytest.approx(inside.mean())
            assert row["sd_hu"] == pytest.approx(inside.std())


def test_weights_of_the_family_run_as_they_do_alone(tmp_path: Path, tools: SimpleNamespace) -> None:
    settings = NetworkSettings(filters=8, blocks_down=(1, 1), window=(16, 16, 16), spacing=(3.0, 3.0, 3.0))
    weights = tmp_path / "tiny.safetensors"
    save_checkpoint(weights, seeded_network(settings, 3), settings)
    tools.write_ct(tmp_path / "in" / "a.nii.gz", seed=1)
    tools.write_ct(tmp_path / "in" / "b.nii.gz", seed=2)
    request = tools.request_of(
        tmp_path / "in",
        tmp_path / "out",
        settings=CohortSettings(weights=str(weights), classes=("liver", "spleen"), overlapping=True),
    )

    summary = run_cohort(request)

    assert summary.counts == {"ok": 2}
    from VISTA3DLib.files.read import read_volume
    from VISTA3DLib.loading import load_model
    from VISTA3DLib.session import Session

    session = Session(load_model(weights, device="cpu"))
    session.set_volume(read_volume(tmp_path / "in" / "a.nii.gz"))
    alone = session.segment_classes(["liver", "spleen"], overlapping=True).voxel_counts()
    _, structures, _ = tools.final_tables(tmp_path / "out")
    assert {s["class_id"]: s["voxels"] for s in structures if s["scan"] == "a"} == alone
    assert (tmp_path / "out" / "scans" / "a" / "picture.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("values", "error"), [({"weights": "/no/such.safetensors"}, CheckpointError), ({"classes": ("livr",)}, ClassError)]
)
def test_what_no_worker_can_do_ends_the_run_at_once(
    small_cts: Path, tmp_path: Path, tools: SimpleNamespace, values: dict[str, str], error: type[VISTA3DError]
) -> None:
    with pytest.raises(error):
        run_cohort(tools.request_of(small_cts, tmp_path / "out", settings=CohortSettings(**values)))  # type: ignore[arg-type]


def test_dicom_studies_become_dicom_segmentations(tmp_path: Path, tools: SimpleNamespace) -> None:
    hu = np.asarray(blobs((24, 31, 26), seed=5)).transpose(2, 1, 0)
    SeriesMaker(hu=hu).write(tmp_path / "in" / "Ünal, A" / "ct")
    SeriesMaker(hu=hu + 1, uid="1.2.3").write(tmp_path / "in" / "b")
    SeriesMaker(hu=hu + 2, uid="1.2.3").write(tmp_path / "in" / "c")
    SeriesMaker(hu=ct_values(), extra={"EncryptedAttributesSequence": []}).write(tmp_path / "in" / "d")
    SeriesMaker(hu=ct_values(), extra={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}).write(tmp_path / "in" / "e")
    settings = CohortSettings(formats=("dcm", "nii.gz"), picture=False)

    summary = run_cohort(tools.request_of(tmp_path / "in", tmp_path / "out", settings=settings), tools.thresholds())

    rows = tools.scans_of(tmp_path / "out")
    causes = {name: (row["status"], row["cause"]) for name, row in rows.items()}
    clash = ("failed", "two series with one UID")
    assert causes == {"Ünal, A/ct": ("ok", ""), "b": clash, "c": clash, "d": ("failed", "encrypted")}
    assert summary.left_out == 1
    assert "localizer" in (tmp_path / "out" / "left_out.csv").read_text()
    assert (tmp_path / "out" / "scans" / "Ünal, A" / "ct" / "segmentation.dcm").stat().st_size > 1000


def test_an_output_that_cannot_be_written_ends_the_run_before_it_starts(
    small_cts: Path, tmp_path: Path, tools: SimpleNamespace
) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError):
        run_cohort(tools.request_of(small_cts, tmp_path / "file" / "out"), tools.thresholds())


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody may write to: permissions do not stop root, a disk that is mounted so does."""
    if os.geteuid() == 0:
        with small_disk(tmp_path / "disk", "64k,ro") as place:
            yield place
    else:
        (tmp_path / "disk").mkdir(mode=0o555)
        yield tmp_path / "disk"


def test_a_read_only_output_ends_the_run_before_it_starts(
    small_cts: Path, read_only: Path, tools: SimpleNamespace
) -> None:
    with pytest.raises(OutputError, match=r"Choose a folder that you may write to\.$"):
        run_cohort(tools.request_of(small_cts, read_only / "out"), tools.thresholds())


def test_a_finished_cohort_is_not_overwritten_but_resumed(
    small_cts: Path, tmp_path: Path, tools: SimpleNamespace
) -> None:
    output = tmp_path / "out"
    (small_cts / "zero.nii.gz").touch()
    run_cohort(tools.request_of(small_cts, output), tools.thresholds())
    before = tools.final_tables(output)
    with pytest.raises(SettingsError, match="resume"):
        run_cohort(tools.request_of(small_cts, output), tools.thresholds())

    again = run_cohort(tools.request_of(small_cts, output, resume=True), tools.thresholds())

    assert again.skipped == 6  # the one that failed is tried again
    assert tools.final_tables(output) == before


def test_resuming_redoes_what_has_changed(small_cts: Path, tmp_path: Path, tools: SimpleNamespace) -> None:
    output = tmp_path / "out"
    run_cohort(tools.request_of(small_cts, output), tools.thresholds())
    before = tools.scans_of(output)
    tools.write_ct(small_cts / "ct 1.nii.gz", seed=77)  # other content
    os.utime(small_cts / "ct 2.nii.gz", (1e9, 1e9))  # the same content, touched
    shutil.rmtree(output / "scans" / "ct 3")  # its results are gone
    (small_cts / "ct 4.nii.gz").unlink()  # no scan any more
    tools.write_ct(small_cts / "ct 9.nii.gz", seed=9)  # a new one

    again = run_cohort(tools.request_of(small_cts, output, resume=True), tools.thresholds())

    after = tools.scans_of(output)
    made = {name for name, row in after.items() if row["finished"] != before.get(name, {}).get("finished")}
    assert made == {"ct 1", "ct 3", "ct 9"}
    assert again.skipped == 3
    assert set(after) == {"ct 0", "ct 1", "ct 2", "ct 3", "ct 5", "ct 9"}
    assert after["ct 1"]["input_hash"] != before["ct 1"]["input_hash"]


@pytest.mark.parametrize("other", ["model", "settings"])
def test_resuming_with_another_model_or_settings_redoes_all(
    small_cts: Path, tmp_path: Path, tools: SimpleNamespace, other: str
) -> None:
    run_cohort(tools.request_of(small_cts, tmp_path / "out"), tools.thresholds())
    settings = CohortSettings(picture=False, formats=("nii.gz",) if other == "settings" else ("seg.nrrd",))
    make = tools.thresholds(hash="6" * 64) if other == "model" else tools.thresholds()
    again = run_cohort(tools.request_of(small_cts, tmp_path / "out", resume=True, settings=settings), make)
    assert again.skipped == 0
    assert again.counts == {"ok": 6}


def test_progress_tells_pace_and_ends_at_the_total(small_cts: Path, tmp_path: Path, tools: SimpleNamespace) -> None:
    reports = []
    CohortRun(
        tools.request_of(small_cts, tmp_path / "out", options=tools.two),
        progress=reports.append,
        make=tools.thresholds(),
    ).run()
    assert [report.done for report in reports] == [1, 2, 3, 4, 5, 6]
    assert reports[-1].per_hour is not None
    assert reports[-1].seconds_left == 0
    assert max(report.in_air for report in reports) <= 2 * 3
