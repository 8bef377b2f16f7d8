"""Scans that a table lists: CSV or Parquet with a column ``path``, and ``id`` and ``series`` if wanted."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from VISTA3DLib.cohort.scan import Scan, id_of, unique_id
from VISTA3DLib.cohort.storage import Store, split
from VISTA3DLib.errors import ReadError
from VISTA3DLib.files.image_file import check_file, suffix_of, unreadable

LIST_SUFFIXES = (".csv", ".parquet")
_PATH_NAMES = ("path", "file", "image", "ct", "scan", "folder")


def listed_scans(store: Store, name: str) -> list[Scan]:
    """The scans of a table, in the order of their ids.

    Paths may be relative to the table's folder, absolute, or URLs. ``id`` names the scan in the results (else its path
    does), ``series`` the SeriesInstanceUID. A row that names nothing, or a file that another row names too, stays a
    row with its problem. Raises ``ReadError`` for a table that cannot be read or has no such column.
    """
    with store.fetched([name]) as (path,):
        check_file(path)
        rows = list(_csv_rows(path) if suffix_of(path) == ".csv" else _parquet_rows(path))
    if not rows:
        raise ReadError(f"{store.address(name)} lists no scans.", f"Write a table with a column {_PATH_NAMES[0]}.")
    column = next((c for c in _PATH_NAMES if c in rows[0]), None)
    if column is None:
        raise ReadError(
            f"{store.address(name)} has no column 'path', only {', '.join(map(str, rows[0]))}.", "Rename a column."
        )
    return sorted(_scans(store, rows, column), key=lambda scan: scan.id)


def _scans(store: Store, rows: Iterable[Mapping[str, Any]], column: str) -> Iterator[Scan]:
    taken: set[str] = set()
    first: dict[tuple[str, str], str] = {}
    for number, row in enumerate(rows, start=1):
        text, series, wanted = (str(row.get(key) or "").strip() for key in (column, "series", "id"))
        if not text:
            scan_id = unique_id(id_of(wanted or f"row {number}"), taken)
            problem = f"Row {number} of {store.address()} names no file."
            yield Scan(id=scan_id, root=store.root, name="", problem=problem, fix="Fill in its path.")
            continue
        away = "://" in text or Path(text).is_absolute()
        place, name = split(text) if away else (store, text.replace("\\", "/").rstrip("/"))
        scan_id = unique_id(id_of(wanted or (text if not away else name)), taken)
        same_as = first.setdefault((place.address(name), series), scan_id)
        yield Scan(id=scan_id, root=place.root, name=name, series=series, same_as="" if same_as == scan_id else same_as)


def _csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            sample = file.readline()
            file.seek(0)
            # Excel writes semicolons where the comma is the decimal sign.
            delimiter = ";" if sample.count(";") > sample.count(",") else ","
            for row in csv.DictReader(file, delimiter=delimiter):
                yield {str(key).strip().lower(): value for key, value in row.items() if key is not None}
    except (UnicodeDecodeError, csv.Error) as error:
        raise unreadable(path, error, "a CSV table in UTF-8") from error


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = [n for n in pq.read_schema(path).names if n.lower() in {*_PATH_NAMES, "id", "series"}]
        table = pq.read_table(path, columns=names) if names else pq.read_table(path).slice(0, 1)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error, "a Parquet table") from error
    for batch in table.to_batches():
        for row in batch.to_pylist():
            yield {key.lower(): value for key, value in row.items()}
