"""Synthetic cases for the automatic branch: phantoms with varied anatomy, contrast, noise and lesions, and labels."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

from VISTA3DLib.files.atomic import written_atomically
from VISTA3DLib.phantom import LABEL_NAMES, Phantom, PhantomSettings, make_phantom
from VISTA3DLib.progress import Cancel, ProgressCallback, Tracker
from VISTA3DLib.training.datalist import Case, LabelMapping

DATASET = "phantom"


def phantom_mapping() -> LabelMapping:
    """Phantom labels are VISTA3D's ids already."""
    return LabelMapping(pairs=tuple((i, i) for i in sorted(LABEL_NAMES)))


def phantom_settings(seed: int, spacing: float) -> PhantomSettings:
    """A varied person and scan: everything is drawn from ``seed``. ``spacing`` in mm."""
    rng = np.random.default_rng((seed, 77))
    return PhantomSettings(
        seed=seed,
        spacing=(spacing, spacing, spacing),
        variation=float(rng.uniform(0.3, 1.0)),
        contrast=float(rng.uniform(0.0, 1.0)),
        noise_hu=float(rng.uniform(4.0, 30.0)),
        blur_mm=float(rng.uniform(0.5, 2.5)),
        lesions=int(rng.integers(0, 4)),
        table=bool(rng.random() < 0.8),
    )


def write_phantom_cases(
    folder: Path,
    count: int,
    *,
    first_seed: int = 1000,
    spacing: float = 3.0,
    progress: ProgressCallback | None = None,
    cancel: Cancel | None = None,
) -> tuple[Case, ...]:
    """Write ``count`` phantoms (CT and label map, NIfTI) that are not there yet, and return them as cases."""
    tracker = Tracker("phantoms", count, progress, cancel)
    cases = []
    for seed in range(first_seed, first_seed + count):
        image, label = folder / f"phantom_{seed}_ct.nii.gz", folder / f"phantom_{seed}_label.nii.gz"
        if not (image.exists() and label.exists()):
            phantom = make_phantom(phantom_settings(seed, spacing))
            _save(label, phantom.labels, phantom)
            _save(image, phantom.array, phantom)
        present = tuple(sorted(LABEL_NAMES))
        cases.append(Case(id=f"phantom_{seed}", image=image, label=label, dataset=DATASET, annotated=present))
        tracker.step()
    return tuple(cases)


def _save(path: Path, array: np.ndarray, phantom: Phantom) -> None:
    with written_atomically(path) as temporary:
        nibabel.save(nibabel.Nifti1Image(array, phantom.affine), temporary)
