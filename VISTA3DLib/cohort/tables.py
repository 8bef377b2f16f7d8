"""The tables that a cohort ends in: one row a scan, one row a structure, as Parquet and CSV."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from VISTA3DLib.cohort.flags import Flag, codes, scan_flags, structure_flags, summary
from VISTA3DLib.cohort.manifest import Manifest
from VISTA3DLib.cohort.population import Population, Usual
from VISTA3DLib.cohort.rows import OK, STAGES, Row
from VISTA3DLib.cohort.scan import LeftOut
from VISTA3DLib.cohort.settings import FlagRules
from VISTA3DLib.cohort.storage import Store

if TYPE_CHECKING:
    import pyarrow as pa

SCAN_TABLE, STRUCTURE_TABLE, LEFT_OUT_TABLE = "scans", "structures", "left_out"
_BATCH = 500  # rows that are written at a time
# What differs between two runs of the same work; everything else must not.
RUN_COLUMNS = (
    "device",
    "node",
    "attempts",
    "finished",
    "seconds_total",
    *(f"seconds_{s.replace(' ', '_')}" for s in STAGES),
)


def population_of(manifest: Manifest, rules: FlagRules) -> dict[int, Usual]:
    """What is usual in the cohort, from all scans that have a result."""
    population = Population()
    for row in manifest.rows():
        if row.status != OK or not row.structures:
            continue
        ids = np.array([s["class_id"] for s in row.structures], dtype=np.int64)
        ml = np.array([s["ml"] for s in row.structures], dtype=np.float64)
        whole = np.array([not s["border"] for s in row.structures])
        population.add(ids, [s["name"] for s in row.structures], ml, whole)
    return population.usual(rules)


def flags_of(row: Row, usual: Mapping[int, Usual], rules: FlagRules, named: Collection[int]) -> list[Flag]:
    """All flags of a scan, those of the whole scan first; none for a scan without a result."""
    if row.status != OK:
        return []
    found = sum(1 for structure in row.structures if structure["voxels"])
    flags = scan_flags(found, row.findings)
    for structure in row.structures:
        flags += structure_flags(structure, usual.get(structure["class_id"]), rules, named)
    return flags


def scan_record(row: Row, flags: Sequence[Flag]) -> dict[str, Any]:
    """The flat row of a scan."""
    seconds = {f"seconds_{stage.replace(' ', '_')}": row.seconds.get(stage) for stage in STAGES}
    return {
        "scan": row.scan,
        "path": row.path,
        "series": row.series,
        "status": row.status,
        "cause": row.cause,
        "error": row.error,
        "fix": row.fix,
        "stage": row.stage,
        "same_as": row.same_as,
        "flags": ";".join(codes(flags)),
        "flag_text": summary(flags),
        "structures": sum(1 for s in row.structures if s["voxels"]),
        "shape": "x".join(map(str, row.shape)),
        "spacing": "x".join(f"{value:.4g}" for value in row.spacing),
        "input_hash": row.input_hash,
        "input_bytes": row.input_bytes,
        "model": row.model,
        "model_hash": row.model_hash,
        "settings": row.settings,
        "fingerprint": row.fingerprint,
        "findings": "; ".join(row.findings),
        "notes": "; ".join(row.notes),
        "outputs": ";".join(row.outputs),
        "version": row.version,
        "device": row.device,
        "node": row.node,
        "attempts": row.attempts,
        "finished": row.finished,
        **seconds,
        "seconds_total": sum(row.seconds.values()),
    }


def structure_records(row: Row, flags: Sequence[Flag]) -> list[dict[str, Any]]:
    """The rows of a scan's structures."""
    by_class: dict[int, list[Flag]] = {}
    for flag in flags:
        by_class.setdefault(flag.class_id, []).append(flag)
    return [
        {"scan": row.scan, **structure, "flags": ";".join(codes(by_class.get(structure["class_id"], ())))}
        for structure in row.structures
    ]


class TableWriter:
    """Writes the tables of ``store`` row by row, as a context; they appear together when it ends well."""

    def __init__(self, store: Store) -> None:
        self._stack = ExitStack()
        self._store = store

    def __enter__(self) -> TableWriter:
        self._scans = _Table(self._stack, self._store, SCAN_TABLE, scan_schema())
        self._structures = _Table(self._stack, self._store, STRUCTURE_TABLE, structure_schema())
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            self._scans.close()
            self._structures.close()
        self._stack.__exit__(*error)

    def write(self, row: Row, flags: Sequence[Flag]) -> None:
        """Write one scan and its structures."""
        self._scans.write([scan_record(row, flags)])
        self._structures.write(structure_records(row, flags))


class _Table:
    """One table as Parquet and CSV, a batch at a time."""

    def __init__(self, stack: ExitStack, store: Store, name: str, schema: pa.Schema) -> None:
        import pyarrow.csv as pa_csv
        import pyarrow.parquet as pq

        self._schema, self._rows = schema, []  # type: ignore[var-annotated]
        parquet, text = (stack.enter_context(store.writing(f"{name}.{ending}")) for ending in ("parquet", "csv"))
        self._writers = (pq.ParquetWriter(parquet, schema, compression="zstd"), pa_csv.CSVWriter(text, schema))

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._rows += rows
        if len(self._rows) >= _BATCH:
            self._flush()

    def close(self) -> None:
        self._flush()
        for writer in self._writers:
            writer.close()

    def _flush(self) -> None:
        import pyarrow as pa

        table = pa.Table.from_pylist(self._rows, schema=self._schema)
        for writer in self._writers:
            writer.write_table(table)
        self._rows = []


def write_left_out(store: Store, left_out: Sequence[LeftOut]) -> None:
    """The table of what is no scan to segment, with reasons."""
    with store.writing(f"{LEFT_OUT_TABLE}.csv") as path, path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "series", "description", "reason"])
        writer.writerows([item.path, item.series, item.description, item.reason] for item in left_out)


def scan_schema() -> pa.Schema:
    """The columns of the table of scans."""
    import pyarrow as pa

    numbers = {"input_bytes": pa.int64(), "attempts": pa.int32(), "structures": pa.int32()}
    example = scan_record(Row(scan="", path=""), ())
    kinds = {name: pa.float64() if name.startswith("seconds_") else pa.string() for name in example}
    return pa.schema([(name, numbers.get(name, kind)) for name, kind in kinds.items()])


def structure_schema() -> pa.Schema:
    """The columns of the table of structures."""
    import pyarrow as pa

    from VISTA3DLib.cohort.rows import structure_type

    measures = [(field.name, field.type) for field in structure_type()]
    return pa.schema([("scan", pa.string()), *measures, ("flags", pa.string())])
