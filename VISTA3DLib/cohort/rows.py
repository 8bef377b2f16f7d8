"""The row of the manifest that every scan gets, whatever became of it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from VISTA3DLib import __version__

if TYPE_CHECKING:
    import pyarrow as pa

OK, FAILED, SAME, NOT_RUN = "ok", "failed", "duplicate", "not run"
STAGES = ("fetch", "hash", "read", "prepare", "network", "labels", "to volume", "measure", "picture", "write")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One scan in the manifest.

    ``status``: ``ok``, ``failed``, ``duplicate`` (of the scan ``same_as``) or ``not run`` (the run ended before it).
    ``cause`` groups failures, ``error`` is the message and ``fix`` the way out, ``stage`` where it happened.
    ``stamp``: size and time of the files, ``input_hash``: SHA-256 of their contents. ``fingerprint``: of model and
    settings. ``seconds``: time of each of ``STAGES``. ``outputs`` are names below the cohort's folder. ``record`` names
    this very attempt. ``structures`` are the measures of each class (``measures.Structure`` as plain values).
    """

    scan: str
    path: str
    series: str = ""
    status: str = OK
    cause: str = ""
    error: str = ""
    fix: str = ""
    stage: str = ""
    same_as: str = ""
    input_hash: str = ""
    input_bytes: int = 0
    stamp: str = ""
    model: str = ""
    model_hash: str = ""
    settings: str = ""
    fingerprint: str = ""
    device: str = ""
    node: str = ""
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    findings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    attempts: int = 1
    finished: str = ""
    version: str = __version__
    record: str = field(default_factory=lambda: uuid.uuid4().hex)
    seconds: Mapping[str, float] = field(default_factory=dict)
    structures: tuple[Mapping[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and Parquet."""
        plain = asdict(self)
        plain["seconds"] = [{"stage": name, "seconds": float(value)} for name, value in self.seconds.items()]
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Row:
        """The inverse of ``to_dict``; columns that this version does not know are passed over."""
        known = {f.name for f in fields(cls)}
        values = {key: value for key, value in plain.items() if key in known}
        for key in ("shape", "spacing", "findings", "notes", "outputs", "structures"):
            values[key] = tuple(values.get(key) or ())
        values["seconds"] = {item["stage"]: item["seconds"] for item in values.get("seconds") or ()}
        return cls(**values)


def now() -> str:
    """The time, as rows state it."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def manifest_schema() -> pa.Schema:
    """The columns of the manifest's parts."""
    import pyarrow as pa

    texts = pa.list_(pa.string())
    special = {
        "input_bytes": pa.int64(),
        "attempts": pa.int32(),
        "shape": pa.list_(pa.int32()),
        "spacing": pa.list_(pa.float64()),
        "findings": texts,
        "notes": texts,
        "outputs": texts,
        "seconds": pa.list_(pa.struct([("stage", pa.string()), ("seconds", pa.float64())])),
        "structures": pa.list_(structure_type()),
    }
    return pa.schema([(f.name, special.get(f.name, pa.string())) for f in fields(Row)])


def structure_type() -> pa.StructType:
    """The measures of one structure."""
    import pyarrow as pa

    return pa.struct(
        [
            ("class_id", pa.int32()),
            ("name", pa.string()),
            ("voxels", pa.int64()),
            ("ml", pa.float64()),
            ("mean_hu", pa.float64()),
            ("sd_hu", pa.float64()),
            ("components", pa.int32()),
            ("largest", pa.float64()),
            ("border", pa.bool_()),
            ("agreement", pa.float64()),
        ]
    )
