"""Finished cases on disk, so that an evaluation that was killed goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from VISTA3DLib.errors import VISTA3DError
from VISTA3DLib.evaluation.failures import Failure
from VISTA3DLib.evaluation.masks import BoxedMask
from VISTA3DLib.evaluation.rows import Row
from VISTA3DLib.files.atomic import all_written_atomically
from VISTA3DLib.geometry import Box

_FORMAT = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class CaseResult:
    """What is known of a finished case: its rows, what could not be scored, the model's last masks by class id."""

    rows: tuple[Row, ...]
    failures: tuple[Failure, ...]
    masks: Mapping[int, BoxedMask]


class CaseStore:
    """Results by case in a ``folder``; ``key`` names everything that decides a result (see ``run.case_key``)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, case: str, key: str, result: CaseResult) -> None:
        """Write the result of a case. Raises ``OutputError``."""
        plain = {
            "format": _FORMAT,
            "key": key,
            "case": case,
            "rows": [row.to_dict() for row in result.rows],
            "failures": [failure.to_dict() for failure in result.failures],
        }
        packed: dict[str, Any] = {}
        for class_id, mask in result.masks.items():
            packed[f"box_{class_id}"] = np.array([mask.box.start, mask.box.stop])
            packed[f"mask_{class_id}"] = np.packbits(mask.mask)
        table, masks = self._paths(case)
        with all_written_atomically(table, masks) as (new_table, new_masks):
            new_table.write_text(json.dumps(plain), encoding="utf-8")
            np.savez_compressed(new_masks, **packed)

    def load(self, case: str, key: str) -> CaseResult | None:
        """The result of a case, if it was made with the same ``key`` and can still be read."""
        table, masks = self._paths(case)
        try:
            plain = json.loads(table.read_text(encoding="utf-8"))
            if plain["format"] != _FORMAT or plain["key"] != key:
                return None
            rows = tuple(Row.from_dict(row) for row in plain["rows"])
            failures = tuple(Failure(**failure) for failure in plain["failures"])
            return CaseResult(rows=rows, failures=failures, masks=_read_masks(masks))
        except (OSError, ValueError, LookupError, TypeError, EOFError, BadZipFile, VISTA3DError):
            return None  # never made, or damaged: it is made again

    def _paths(self, case: str) -> tuple[Path, Path]:
        readable = re.sub(r"[^A-Za-z0-9_.-]+", "_", case)[:60]
        name = f"{readable}-{hashlib.sha256(case.encode()).hexdigest()[:8]}"
        return self._folder / f"{name}.json", self._folder / f"{name}.npz"


def _read_masks(path: Path) -> dict[int, BoxedMask]:
    masks: dict[int, BoxedMask] = {}
    with np.load(path, allow_pickle=False) as packed:
        for name in packed.files:
            kind, _, class_id = name.partition("_")
            if kind == "box":
                start, stop = packed[name].tolist()
                box = Box(start=tuple(start), stop=tuple(stop))
                bits = np.unpackbits(packed[f"mask_{class_id}"], count=box.size)
                masks[int(class_id)] = BoxedMask(box=box, mask=bits.reshape(box.shape).astype(bool))
    return masks
