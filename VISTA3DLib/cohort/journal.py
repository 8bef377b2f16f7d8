"""The memory of a cohort: one record per finished scan, gathered into Parquet parts. Survives any kill.

A record is a small JSON file that appears, whole, after the outputs of its scan: it is the commit. Now and then the
records that the run has seen are written into one Parquet part, which appears whole, and are then deleted. Whoever dies
in between leaves a record in both places; the reader takes it once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from VISTA3DLib.cohort.rows import Row, manifest_schema
from VISTA3DLib.cohort.storage import Store
from VISTA3DLib.errors import ReadError

if TYPE_CHECKING:
    import pyarrow as pa

RECORDS, PARTS = "manifest/records", "manifest/parts"
PART_ROWS = 200


def record_name(scan_id: str) -> str:
    """Where the record of a scan lies: in 256 folders, since a million files in one are slow everywhere."""
    digest = hashlib.sha256(scan_id.encode()).hexdigest()
    return f"{RECORDS}/{digest[:2]}/{digest[2:34]}.json"


def write_record(store: Store, row: Row) -> None:
    """Commit a scan. Raises ``OutputError``."""
    store.write(record_name(row.scan), json.dumps(row.to_dict(), ensure_ascii=False).encode())


class Journal:
    """The manifest of the cohort in ``store``. ``add`` rows whose record is written; memory stays bounded."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[Row] = []
        self._next = 1 + max((_number(name) for name in self._part_names()), default=0)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever recorded here."""
        return not self._part_names() and next(self._record_names(), None) is None

    def add(self, row: Row) -> None:
        """Take in a row; every ``PART_ROWS`` rows become a part."""
        self._waiting.append(row)
        if len(self._waiting) >= PART_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the rows that wait into a part and delete their records."""
        if not self._waiting:
            return
        self._write_part(self._waiting)
        for row in self._waiting:
            self._store.delete(record_name(row.scan))
        self._waiting = []

    def gather(self) -> None:
        """Take in the records that an earlier run left behind, and remove what it left half-written."""
        self._store.tidy("manifest", recursive=True)
        for name in list(self._record_names()):
            try:
                row = Row.from_dict(json.loads(self._store.read(name)))
            except (ValueError, TypeError, KeyError) as error:
                raise ReadError(
                    f"{self._store.address(name)} is damaged: {error}.", "Delete it; its scan is done again."
                ) from error
            self.add(row)
        self.flush()

    def parts(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The parts in the order in which they were written. Raises ``ReadError``."""
        return (self._read_part(name, columns) for name in self._part_names())

    def part(self, number: int) -> pa.Table:
        """One of the parts, counted in that order from 0. Raises ``ReadError``."""
        return self._read_part(self._part_names()[number], None)

    def _read_part(self, name: str, columns: list[str] | None) -> pa.Table:
        import pyarrow as pa
        import pyarrow.parquet as pq

        with self._store.fetched([name]) as (path,):
            try:
                return pq.read_table(path, columns=columns, partitioning=None)
            except (pa.ArrowException, OSError) as error:
                raise ReadError(
                    f"{self._store.address(name)} is damaged: {error}.", "Delete it; its scans are done again."
                ) from error

    def _write_part(self, rows: list[Row]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        plain: list[dict[str, Any]] = [row.to_dict() for row in rows]
        table = pa.Table.from_pylist(plain, schema=manifest_schema())
        with self._store.writing(f"{PARTS}/part-{self._next:07d}.parquet") as path:
            pq.write_table(table, path, compression="zstd")
        self._next += 1

    def _part_names(self) -> list[str]:
        return [name for name in self._store.names(PARTS) if name.endswith(".parquet")] if self._has(PARTS) else []

    def _record_names(self) -> Iterator[str]:
        if self._has(RECORDS):
            yield from (name for name in self._store.names(RECORDS) if name.endswith(".json"))

    def _has(self, folder: str) -> bool:
        return self._store.is_folder(folder)


def _number(name: str) -> int:
    digits = Path(name).stem.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else 0
