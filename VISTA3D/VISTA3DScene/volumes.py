"""Voxels of volume nodes as the library wants them, without copying."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from vtk.util.numpy_support import vtk_to_numpy

from VISTA3DLib.errors import VolumeError
from VISTA3DLib.geometry import Box, reverse_axes
from VISTA3DScene.frames import from_world, matrix_to_array, volume_grid


def voxels_of(volume: Any) -> npt.NDArray[Any]:
    """The voxels of a scalar volume node as a view ``[i, j, k]`` of its own memory.

    Raises ``VolumeError`` for nodes that are no scalar image.
    """
    grid = volume_grid(volume)
    scalars = volume.GetImageData().GetPointData().GetScalars()
    if scalars is None:
        raise VolumeError(f"The volume '{volume.GetName()}' has no values.", "Load it again, or choose another.")
    if scalars.GetNumberOfComponents() != 1:
        raise VolumeError(
            f"The volume '{volume.GetName()}' has {scalars.GetNumberOfComponents()} values a voxel.",
            "Choose a grey-value volume; a colour image or a vector field cannot be segmented.",
        )
    i, j, k = grid.shape
    return reverse_axes(vtk_to_numpy(scalars).reshape(k, j, i))


def modality_of(volume: Any) -> str:
    """What the volume says of itself: ``CT``, ``MR`` ...; CT when it says nothing."""
    value = volume.GetAttribute("DICOM.Modality")
    return str(value) if value else "CT"


def box_of_roi(roi: Any, volume: Any) -> Box | None:
    """The voxels of a volume inside a markups ROI's box (its bounds, where it is turned); None for an undefined ROI."""
    corners = roi_corners(roi)
    if corners is None:
        return None
    grid = volume_grid(volume)
    local = np.array([from_world(volume, (float(r), float(a), float(s))) for r, a, s in corners])
    index = grid.to_voxel(local)
    low, high = np.ceil(index.min(axis=0) - 1e-6), np.floor(index.max(axis=0) + 1e-6) + 1
    (i0, j0, k0), (i1, j1, k1) = low.astype(int), high.astype(int)
    box = Box(start=(i0, j0, k0), stop=(i1, j1, k1)) & grid.box
    if not box.size:
        raise VolumeError(
            f"The region '{roi.GetName()}' lies outside the volume '{volume.GetName()}'.", "Move it over the image."
        )
    return box


def roi_corners(roi: Any) -> npt.NDArray[np.float64] | None:
    """The eight corners of a markups ROI in the world; None if it was never placed."""
    sides = [0.0, 0.0, 0.0]
    roi.GetSizeWorld(sides)
    size = np.array(sides)
    if roi.GetNumberOfControlPoints() == 0 or not size.all():
        return None
    matrix = matrix_to_array(roi.GetObjectToWorldMatrix())
    signs = np.array([[i, j, k] for i in (-0.5, 0.5) for j in (-0.5, 0.5) for k in (-0.5, 0.5)])
    return np.asarray(signs * size @ matrix[:3, :3].T + matrix[:3, 3])
