"""Writers of images for the tests of reading: NIfTI, NRRD and ITK's formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 - the name that everybody uses

from VISTA3DLib.geometry import flip_lps_ras, reverse_axes

FloatArray = npt.NDArray[np.float64]
LPS = flip_lps_ras(np.eye(4))


def values(shape: tuple[int, ...] = (7, 9, 5), dtype: npt.DTypeLike = np.int16) -> npt.NDArray[Any]:
    """Random numbers between those of air and of metal."""
    return np.random.default_rng(0).integers(-1024, 3000, size=shape).astype(dtype)


def write_nifti(path: Path, array: npt.NDArray[Any], affine: FloatArray) -> None:
    """An image of ``array[i, j, k]`` by nibabel."""
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


def write_nrrd(path: Path, array: npt.NDArray[Any], affine: FloatArray, **header: Any) -> None:
    """The same by pynrrd; ``header`` fields come before those of the affine."""
    lps = flip_lps_ras(affine)
    fields = {"space": "left-posterior-superior", "space directions": lps[:3, :3].T, "space origin": lps[:3, 3]}
    nrrd.write(str(path), array, {**fields, **header})


def write_itk(path: Path, array: npt.NDArray[Any], affine: FloatArray) -> None:
    """The same by SimpleITK, in the format of the path's ending."""
    lps = flip_lps_ras(affine)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(reverse_axes(array))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    sitk.WriteImage(image, str(path))
