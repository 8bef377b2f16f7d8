"""Small labelled cases in data lists for the tests of the evaluation, the usual settings, the rows that come out."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from odd_volumes import blobs, odd_affine

from VISTA3DLib.evaluation.outputs import Outputs
from VISTA3DLib.evaluation.settings import EvaluationSettings

AUTO = EvaluationSettings(protocol="auto")
CLICKS = EvaluationSettings(protocol="clicks", clicks=3)
SHAPES = {"anisotropic": (53, 49, 7)}  # a few windows of the small network


def write_case(folder: Path, name: str, kind: str, seed: int, labels: Mapping[int, float] | None = None) -> None:
    """``name.nii.gz``, a soft CT, and ``name_label.nii.gz``: each label where its own blobs are above a level."""
    shape, affine = SHAPES.get(kind, (25, 27, 17)), odd_affine(kind)
    truth = np.zeros(shape, dtype=np.uint8)
    for number, (label, level) in enumerate((labels or {1: 450.0, 2: 500.0}).items()):
        truth[blobs(shape, 100 * seed + number, sigma=4.0) > level - 200] = label
    image = blobs(shape, seed) // 4 + 120 * (truth > 0).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(image.astype(np.int16), affine), folder / f"{name}.nii.gz")
    nibabel.save(nibabel.Nifti1Image(truth, affine), folder / f"{name}_label.nii.gz")


def entry(name: str, **more: Any) -> dict[str, Any]:
    """The list's entry of a case that ``write_case`` wrote."""
    return {"id": name, "image": f"{name}.nii.gz", "label": f"{name}_label.nii.gz", **more}


def write_list(folder: Path, entries: Sequence[Mapping[str, Any]], **more: Any) -> Path:
    """``list.json`` with these training cases; labels 1 and 2 are the liver and a structure no model has."""
    path = folder / "list.json"
    document = {"name": "blobs", "training": list(entries), "label_mapping": [[1, 1], [2, 205]], **more}
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def labels_of(folder: Path, name: str) -> npt.NDArray[np.uint8]:
    """The label map of a case."""
    return np.asarray(nibabel.load(folder / f"{name}_label.nii.gz").dataobj).astype(np.uint8)


def rows_in(outputs: Outputs) -> list[dict[str, str]]:
    """The rows of ``results.csv``."""
    return list(csv.DictReader(outputs.files[1].read_text(encoding="utf-8").splitlines()))
