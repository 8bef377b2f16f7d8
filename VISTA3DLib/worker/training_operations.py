"""The worker's operation ``finetune``: teach weights from a few segmentations that a person drew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from VISTA3DLib.errors import SettingsError
from VISTA3DLib.files.atomic import written_atomically
from VISTA3DLib.progress import Cancel, ProgressCallback

ReadArray = Callable[[Any], npt.NDArray[Any]]


def finetune(
    arguments: Mapping[str, Any], read_array: ReadArray, progress: ProgressCallback, cancel: Cancel
) -> dict[str, Any]:
    """Run ``VISTA3DLib.training.finetune`` on cases from the session folder or from files.

    Arguments: ``cases`` and ``testing`` (lists of ``{"id", "image", "label", "affine"}``; with ``affine`` the two are
    arrays of the session folder, without it paths), ``mapping`` (``[[label value, class id], ...]``), ``classes``
    (``{"140": "name"}`` of new ids), ``single_piece`` (ids), ``name``, ``weights``, ``epochs``, and what else
    ``FinetuneSettings`` has.
    """
    from VISTA3DLib.training.datalist import DataList, LabelMapping
    from VISTA3DLib.training.finetune import FinetuneSettings
    from VISTA3DLib.training.finetune import finetune as run
    from VISTA3DLib.weights import models_folders

    name = str(arguments["name"])
    models = Path(arguments["folder"]) if arguments.get("folder") else models_folders()[0]
    given = {k: arguments[k] for k in _OPTIONS if arguments.get(k) is not None}
    settings = FinetuneSettings(
        name=name,
        output=models / f"{name}.training",
        install=models,
        classes={int(k): str(v) for k, v in dict(arguments.get("classes") or {}).items()},
        single_piece=tuple(int(i) for i in arguments.get("single_piece") or ()),
        **given,
    )
    cases = settings.output / "cases"
    lists = {
        part: tuple(_case(entry, number, cases, read_array) for number, entry in enumerate(arguments.get(part) or ()))
        for part in ("cases", "testing")
    }
    if not lists["cases"]:
        raise SettingsError("There are no cases to learn from.", "Choose at least one volume with a segmentation.")
    mapping = LabelMapping(pairs=tuple((int(a), int(b)) for a, b in arguments["mapping"]))
    data = DataList(name=name, training=lists["cases"], testing=lists["testing"], mappings={"default": mapping})
    report = run(data, settings, progress=progress, cancel=cancel)
    return report.to_dict()


_OPTIONS = (
    "weights",
    "epochs",
    "learning_rate",
    "optimiser",
    "patches_per_case",
    "train",
    "replay",
    "warp",
    "seed",
    "device",
    "precision",
)


def _case(entry: Mapping[str, Any], number: int, folder: Path, read_array: ReadArray) -> Any:
    from VISTA3DLib.training.datalist import Case

    name = str(entry.get("id") or f"case{number + 1}")
    if "affine" not in entry:
        return Case(id=name, image=Path(entry["image"]), label=Path(entry["label"]))
    affine = np.asarray(entry["affine"], dtype=np.float64)
    image, label = (folder / f"{number}_{part}.nii.gz" for part in ("image", "label"))
    _save(image, read_array(entry["image"]), affine)
    _save(label, read_array(entry["label"]), affine)
    return Case(id=name, image=image, label=label)


def _save(path: Path, array: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> None:
    import nibabel

    values = array if array.dtype in (np.int16, np.float32, np.uint8) else array.astype(np.int16)
    with written_atomically(path) as temporary:
        nibabel.save(nibabel.Nifti1Image(np.asarray(values), affine), temporary)
