"""What a model knows already, kept while it learns something new: its own answers on the new cases (spec 6)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np

from VISTA3DLib.files.atomic import written_atomically
from VISTA3DLib.files.read import read_volume
from VISTA3DLib.model import Model
from VISTA3DLib.progress import Cancel, ProgressCallback, Tracker
from VISTA3DLib.session import Session
from VISTA3DLib.training.datalist import Case
from VISTA3DLib.training.run_identity import network_digest
from VISTA3DLib.volume import Volume


def known_classes(model: Model, learned: Sequence[int]) -> tuple[int, ...]:
    """Classes that the model segments and that are not trained now."""
    return tuple(i for i in model.settings.catalogue.sets.get("everything", ()) if i not in learned)


def with_answers(
    cases: Sequence[Case],
    model: Model,
    class_ids: Sequence[int],
    folder: Path,
    *,
    progress: ProgressCallback | None = None,
    cancel: Cancel | None = None,
) -> tuple[Case, ...]:
    """The cases with the model's answers for ``class_ids`` as pseudo labels (NIfTI in ``folder``, made once: their
    names come from the image, the weights and the classes).

    The cases' own images are the only ones at hand; what the model says there about its other classes is what the
    training must not change. Nothing of this is sampled as supervoxel points: the labels are marked unreliable.
    """
    if not class_ids:
        return tuple(cases)
    tracker = Tracker("what the model knows", len(cases), progress, cancel)
    session = Session(model, mode="bundle")
    weights = network_digest(model.network.state_dict(), model.settings)
    result = []
    for case in cases:
        volume = read_volume(case.image)
        path = folder / f"{_digest(volume, class_ids, weights)}_known.nii.gz"
        if not path.exists():
            session.set_volume(volume)
            answer = session.segment_classes(list(class_ids), cancel=cancel).labelmap
            assert answer is not None
            with written_atomically(path) as temporary:
                nibabel.save(nibabel.Nifti1Image(answer.astype(np.int16), volume.affine), temporary)
        result.append(replace(case, pseudo_label=path, reliable=False))
        tracker.step()
    return tuple(result)


def _digest(volume: Volume, class_ids: Sequence[int], weights: str) -> str:
    digest = hashlib.sha256(f"{weights} {list(class_ids)} {volume.array.dtype} {volume.array.shape}".encode())
    for values in (volume.array, volume.affine):
        digest.update(values.tobytes())
    return digest.hexdigest()[:16]
