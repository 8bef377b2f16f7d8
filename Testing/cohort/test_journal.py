"""The manifest survives a death at every step, and says the same afterwards."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from VISTA3DLib.cohort import journal as journal_module
from VISTA3DLib.cohort.journal import PART_ROWS, Journal, record_name, write_record
from VISTA3DLib.cohort.manifest import Manifest
from VISTA3DLib.cohort.rows import FAILED, NOT_RUN, OK, SAME, Row
from VISTA3DLib.cohort.scan import Scan
from VISTA3DLib.cohort.storage import Store
from VISTA3DLib.errors import OutputError, ReadError

STRUCTURE = {"class_id": 1, "name": "liver", "voxels": 5, "ml": 1.5, "mean_hu": 55.0, "sd_hu": 9.0}
STRUCTURE |= {"components": 1, "largest": 1.0, "border": False, "agreement": 0.9}


def row(scan: str, **values: Any) -> Row:
    values = {"input_hash": f"{hash(scan) & 0xFFFFFFFF:064x}", "fingerprint": "f", "structures": (STRUCTURE,)} | values
    return Row(scan=scan, path=f"/{scan}", seconds={"read": 0.5}, shape=(3, 4, 5), spacing=(1.0, 2.0, 3.5), **values)


def scans(*names: str) -> list[Scan]:
    return [Scan(id=name, root="/", name=name) for name in names]


def manifest(store: Store, *names: str) -> dict[str, Row]:
    rows = Manifest(Journal(store), scans(*names), "f", ("stopped", "It was stopped.")).rows()
    return {row.scan: row for row in rows}


@given(
    scan=st.text(min_size=1),
    error=st.text(),
    seconds=st.dictionaries(st.sampled_from(["read", "network"]), st.floats(0, 1e6)),
)
def test_a_row_survives_json(scan: str, error: str, seconds: dict[str, float]) -> None:
    made = replace(row(scan, error=error), seconds=seconds)
    assert Row.from_dict(json.loads(json.dumps(made.to_dict()))) == made


def test_rows_survive_a_part(tmp_path: Path) -> None:
    store, journal = Store(tmp_path), Journal(Store(tmp_path))
    rows = [row("a", findings=("odd", "very odd")), row("ä b/c", status=FAILED, structures=())]
    for made in rows:
        write_record(store, made)
        journal.add(made)
    journal.flush()
    assert list(manifest(store, "a", "ä b/c").values()) == rows
    assert not list(tmp_path.rglob("*.json"))


def test_a_record_that_nobody_saw_is_gathered(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write_record(store, row("a"))
    assert not Journal(store).is_empty
    Journal(store).gather()
    assert manifest(store, "a")["a"].status == OK


def test_dying_between_the_part_and_its_records_counts_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    write_record(store, row("a"))
    journal = Journal(store)
    journal.add(row("a"))
    with monkeypatch.context() as patch:
        patch.setattr(Store, "delete", lambda *_: (_ for _ in ()).throw(OutputError("died")))
        with pytest.raises(OutputError):
            journal.flush()
    assert (tmp_path / record_name("a")).exists()
    Journal(store).gather()
    assert list(manifest(store, "a")) == ["a"]


def test_parts_are_written_now_and_then(tmp_path: Path) -> None:
    journal = Journal(Store(tmp_path))
    for number in range(PART_ROWS + 3):
        journal.add(row(f"{number}"))
    assert len(list((tmp_path / journal_module.PARTS).iterdir())) == 1
    journal.flush()
    later = Journal(Store(tmp_path))
    later.add(row("0", status=FAILED))
    later.flush()
    assert len(list((tmp_path / journal_module.PARTS).iterdir())) == 3
    assert manifest(Store(tmp_path), "0")["0"].status == FAILED  # the newest counts


def test_a_scan_without_a_row_is_said_to_be_not_run(tmp_path: Path) -> None:
    missing = manifest(Store(tmp_path), "b")["b"]
    assert (missing.status, missing.cause, missing.error) == (NOT_RUN, "stopped", "It was stopped.")


def test_rows_of_another_model_do_not_count(tmp_path: Path) -> None:
    journal = Journal(Store(tmp_path))
    journal.add(row("a", fingerprint="of another model"))
    journal.flush()
    assert manifest(Store(tmp_path), "a")["a"].status == NOT_RUN


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_of_equal_contents_the_first_by_name_counts_whichever_was_done_first(
    tmp_path: Path, order: tuple[str, str]
) -> None:
    journal = Journal(Store(tmp_path))
    for name in order:
        journal.add(row(name, input_hash="c" * 64))
    journal.flush()
    rows = manifest(Store(tmp_path), "a", "b")
    assert (rows["a"].status, rows["b"].status, rows["b"].same_as) == (OK, SAME, "a")
    assert rows["b"].structures == ()


@pytest.mark.parametrize("kind", ["record", "part"])
def test_a_damaged_manifest_is_said(tmp_path: Path, kind: str) -> None:
    store, journal = Store(tmp_path), Journal(Store(tmp_path))
    if kind == "record":
        store.write(record_name("a"), b"{half")
    else:
        store.write(f"{journal_module.PARTS}/part-0000001.parquet", b"PAR1 half")
    with pytest.raises(ReadError, match="damaged"):
        journal.gather() if kind == "record" else list(journal.parts())
