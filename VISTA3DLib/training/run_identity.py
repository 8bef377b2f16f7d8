"""What makes a training run itself and no other: only the same run is gone on with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch

from VISTA3DLib.download import sha256_of
from VISTA3DLib.errors import CheckpointError
from VISTA3DLib.settings import NetworkSettings
from VISTA3DLib.training.datalist import Case, DataList
from VISTA3DLib.training.settings import TrainingSettings

_PLACES = {"data", "output", "start", "cache", "device", "precision"}  # where a run is; files count by their content
_SHOWN = 80  # characters of a value in a message


def run_identity(
    settings: TrainingSettings,
    data: DataList,
    tensors: Mapping[str, torch.Tensor],
    network_settings: NetworkSettings,
) -> dict[str, str]:
    """What a run is, by name: each setting, the label mappings, and SHA-256 of the cases and of what it starts from.

    ``tensors`` are the network's before it is trained. Files may move: labels and pseudo labels count by their content,
    images and supervoxels, which are large, by name and size.
    """
    plain = {k: v for k, v in settings.to_dict().items() if k not in _PLACES}
    stages = plain.pop("stages")
    found = {name: _text(value) for name, value in plain.items()}
    for number, stage in enumerate(stages, start=1):
        found |= {f"{name} of stage {number}": _text(value) for name, value in stage.items()}
    mappings = (data.mappings, data.pseudo_mappings)
    found["label mapping"] = _text([{k: v.pairs for k, v in m.items()} for m in mappings])
    cases = [[_case(c) for c in part] for part in (data.training, data.testing)]
    found["SHA-256 of the cases"] = hashlib.sha256(_text(cases).encode()).hexdigest()
    found["SHA-256 of the start weights"] = network_digest(tensors, network_settings)
    return found


def check_same_run(was: Mapping[str, str], now: Mapping[str, str], path: Path) -> None:
    """Raise ``CheckpointError`` that names the first difference, if ``path``, a run's state, is of another run."""
    for name in dict.fromkeys((*now, *was)):
        if was.get(name) != now.get(name):
            before, here = (shorten(run.get(name, "not said"), _SHOWN, placeholder="...") for run in (was, now))
            raise CheckpointError(
                f"{path} belongs to another run: its {name} is {before}, here it is {here}.",
                f"Use another name or output folder, or delete {path.parent} to begin anew.",
            )


def network_digest(tensors: Mapping[str, torch.Tensor], settings: NetworkSettings) -> str:
    """SHA-256 of what a network answers with: its weights and how it is fed."""
    digest = hashlib.sha256(_text(settings.to_dict()).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _case(case: Case) -> list[Any]:
    large = [None if p is None else [p.name, p.stat().st_size] for p in (case.image, case.supervoxels)]
    labels = [None if p is None else _content(p) for p in (case.label, case.pseudo_label)]
    said = [case.id, case.dataset, case.fold, case.annotated, case.absent, case.reliable]
    return [*said, *large, *labels]


def _content(path: Path) -> list[str]:
    """SHA-256 of a file, or of each file of a DICOM folder."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return [sha256_of(p) for p in files]


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
