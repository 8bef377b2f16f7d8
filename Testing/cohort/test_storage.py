"""Files on disks and in object stores: whole or not at all, whatever their names are."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from VISTA3DLib.cohort.find import find_scans
from VISTA3DLib.cohort.run import run_cohort
from VISTA3DLib.cohort.settings import CohortSettings
from VISTA3DLib.cohort.storage import Store, split
from VISTA3DLib.errors import OutputError, ReadError, SettingsError


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket of a server on this machine."""
    from pyarrow import fs

    for name, value in (
        ("AWS_ENDPOINT_URL", s3_server),
        ("AWS_ACCESS_KEY_ID", "nobody"),
        ("AWS_SECRET_ACCESS_KEY", "nothing"),
    ):
        monkeypatch.setenv(name, value)
    server = fs.S3FileSystem(endpoint_override=s3_server, allow_bucket_creation=True, allow_bucket_deletion=True)
    server.create_dir("cohorts")
    yield "s3://cohorts"
    server.delete_dir("cohorts")


@pytest.fixture(params=["path", "file", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty folder of every kind."""
    if request.param == "s3":
        return Store(f"{request.getfixturevalue('bucket')}/a folder")
    addresses = {
        "path": str(tmp_path / "ä b"),
        "file": f"file://{tmp_path}/ä b",
        "memory": f"memory://{tmp_path.name}/x",
    }
    return Store(addresses[request.param])


def test_what_is_written_is_there_and_can_be_listed(store: Store, tmp_path: Path) -> None:
    names = ["Größe 1/b c.txt", "Größe 1/deep/患者.txt", "a.txt"]
    for name in names:
        store.write(name, name.encode())
    copy = pickle.loads(pickle.dumps(store))
    assert copy.names() == names
    assert copy.names("Größe 1", recursive=False) == ["Größe 1/b c.txt"]
    assert copy.read(names[1]) == names[1].encode()
    assert copy.exists("a.txt")
    assert not copy.exists("b.txt")
    assert copy.is_folder("Größe 1")
    assert not copy.is_folder("a.txt")
    assert copy.stamp("a.txt")
    assert copy.stamp("b.txt") == ""
    with copy.fetched(names) as paths:
        assert [path.read_text(encoding="utf-8") for path in paths] == names
    store.delete("a.txt")
    store.delete("a.txt")
    assert copy.names() == names[:2]


def test_a_folder_is_filled_when_its_block_ends(store: Store) -> None:
    with store.filled("result/ü") as folder:
        (folder / "x.txt").write_text("x")
    assert store.read("result/ü/x.txt") == b"x"
    with store.writing("table.csv") as path:
        path.write_text("y")
    assert store.read("table.csv") == b"y"


def test_pruning_removes_empty_folders_and_nothing_else(tmp_path: Path) -> None:
    store = Store(tmp_path / "ä")
    store.write("kept/a/x.txt", b"x")
    (tmp_path / "ä" / "kept" / "empty" / "deep").mkdir(parents=True)
    for folder in ("kept/empty/deep", "kept/a", "not there", ""):
        store.prune(folder)
    assert store.names() == ["kept/a/x.txt"]
    assert [path.name for path in (tmp_path / "ä" / "kept").iterdir()] == ["a"]
    store.delete("kept/a/x.txt")
    store.prune("kept/a")
    assert list((tmp_path / "ä").iterdir()) == []


def test_nothing_appears_when_writing_fails(store: Store) -> None:
    store.write("kept.txt", b"old")

    def fail() -> None:
        with store.writing("kept.txt") as path:
            path.write_text("half")
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError):
        fail()
    assert store.read("kept.txt") == b"old"
    assert store.names() == ["kept.txt"]


def test_what_a_killed_writer_left_goes_when_the_folder_is_filled_again(tmp_path: Path) -> None:
    left = tmp_path / "scans" / "a" / ".segmentation.seg.nrrd.x1y2" / "segmentation.seg.nrrd"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    with Store(tmp_path).filled("scans/a") as folder:
        (folder / "x.txt").write_text("x")
    assert [path.name for path in folder.iterdir()] == ["x.txt"]


def test_what_is_not_there_is_said(store: Store) -> None:
    with pytest.raises(ReadError):
        store.read("no such file")


def test_a_place_that_cannot_be_written_is_said(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for address in (f"{tmp_path}/file/x", f"{bucket}-none/x"):
        with pytest.raises(OutputError):
            Store(address).write("a.txt", b"x")


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(SettingsError, match="nonsense://x"):
        Store("nonsense://x").exists()


def test_an_address_is_split_into_folder_and_name() -> None:
    assert [(place.root, name) for place, name in (split("/a/b c.csv"), split("s3://bucket/x/y.csv"))] == [
        ("/a", "b c.csv"),
        ("s3://bucket/x", "y.csv"),
    ]


def test_a_cohort_runs_from_bucket_to_bucket(
    cluster: str, bucket: str, small_cts: Path, tmp_path: Path, tools: SimpleNamespace
) -> None:
    del cluster
    from test_files_maker import SeriesMaker, ct_values

    source, output = Store(f"{bucket}/in put"), f"{bucket}/out"
    for path in sorted(small_cts.iterdir())[:3]:
        source.write(f"Größe/{path.name}", path.read_bytes())
    source.write("zero.nii.gz", b"")
    for path in SeriesMaker(hu=ct_values()).write(tmp_path / "dicom").values():
        source.write(f"study/{path.name}", path.read_bytes())
    assert len(find_scans(source.root).scans) == 5
    settings = CohortSettings(formats=("nii.gz", "dcm"))

    summary = run_cohort(tools.request_of(source.root, output, settings=settings), tools.thresholds())
    again = run_cohort(tools.request_of(source.root, output, settings=settings, resume=True), tools.thresholds())

    results = Store(output)
    assert summary.counts == again.counts == {"ok": 4, "failed": 1}
    assert again.skipped == 4
    names = results.names("scans")
    assert {"scans/Größe/ct 0/segmentation.nii.gz", "scans/study/segmentation.dcm"} <= set(names)
    assert results.exists("report.html")
    for name in results.names():
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / name).write_bytes(results.read(name))
    rows = tools.scans_of(tmp_path / "copy")
    assert rows["zero"]["cause"] == "empty file"
    assert rows["study"]["path"] == f"{source.root}/study/{Path(rows['study']['path']).name}"
