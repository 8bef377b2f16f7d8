"""The data list that ``vista3d-mini`` is trained on, from a folder of CTs: ``python -m benchmarks.mini_list CTS OUT``.

CTS holds ``splits.json`` (``{"train": [case, ...]}``) and a folder a case with ``ct.nii.gz``, ``seg.nii.gz`` and
``labels.json`` (label value -> what it is). Patients are dealt to five folds, each group shuffled with seed 0.
Supervoxels are taken from ``--supervoxels FOLDER`` (``CASE.nii.gz``, as ``vista3d supervoxels`` writes them) where
they exist.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

FOLDS = 5
# Label value -> class id; ids from 133 up are the structures that the published model lacks.
MAPPINGS = {
    "kbp": [[121, 121], [11, 11], [200, 133], [201, 134], [202, 135], [203, 136], [204, 137]],
    "sts": [[205, 138]],
}
# A CT of head and neck ends above the abdomen; the sarcomas lie in limbs, pelvis and trunk.
ABSENT = {
    "kbp": [1, 3, 4, 5, 7, 10, 12, 14, 15, 62, 93, 94, 95, 96, 97],
    "sts": [133, 134, 135, 136, 137],
}


def mini_list(folder: Path, supervoxels: Path | None) -> dict[str, Any]:
    """The list as ``read_datalist`` reads it; paths are absolute."""
    train = json.loads((folder / "splits.json").read_text(encoding="utf-8"))["train"]
    entries = []
    for group in MAPPINGS:
        cases = [case for case in train if case.startswith(group)]
        order = np.random.default_rng(0).permutation(len(cases))
        fold_of = {cases[n]: place % FOLDS for place, n in enumerate(order)}
        entries += [_entry(folder / case, group, fold_of[case], supervoxels) for case in cases]
    return {"name": "head-neck-sarcoma", "training": entries, "label_mapping": MAPPINGS, "absent": ABSENT}


def _entry(case: Path, group: str, fold: int, supervoxels: Path | None) -> dict[str, Any]:
    labels = json.loads((case / "labels.json").read_text(encoding="utf-8"))
    entry: dict[str, Any] = {
        "id": case.name,
        "image": str((case / "ct.nii.gz").resolve()),
        "label": str((case / "seg.nii.gz").resolve()),
        "fold": fold,
        "dataset": group,
        "annotated": sorted(int(value) for value in labels),
    }
    found = None if supervoxels is None else supervoxels / f"{case.name}.nii.gz"
    return {**entry, "label_sv": str(found.resolve())} if found is not None and found.exists() else entry


def main() -> None:
    """Write the list."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cts", type=Path, help="folder with splits.json and the cases")
    parser.add_argument("output", type=Path, help="the list to write, e.g. list.json")
    parser.add_argument("--supervoxels", type=Path, help="folder with CASE.nii.gz")
    arguments = parser.parse_args()
    made = mini_list(arguments.cts, arguments.supervoxels)
    arguments.output.write_text(json.dumps(made, indent=1), encoding="utf-8")
    print(f"{arguments.output}: {len(made['training'])} cases")


if __name__ == "__main__":
    main()
