"""Where things are: from the world to a node's own frame and back, through linear and non-linear transforms.

A node's own frame is RAS millimetres before its parent transform; the worker thinks in the volume's. Points are kept
in it, so they stay on the anatomy when the volume is moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk

from VISTA3DLib.errors import VolumeError
from VISTA3DLib.geometry import FloatArray, Grid, Vector3


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameMap:
    """The way from one frame to another: ``matrix`` (4x4) where it is linear, ``transform`` (VTK) in every case."""

    transform: Any
    matrix: FloatArray | None

    def apply(self, points: FloatArray) -> FloatArray:
        """Points of shape (N, 3) in the other frame."""
        return np.array([self.transform.TransformPoint(p) for p in points]).reshape(-1, 3)


def matrix_to_array(matrix: Any) -> FloatArray:
    """A ``vtkMatrix4x4`` as a 4x4 array."""
    return np.array([[matrix.GetElement(i, j) for j in range(4)] for i in range(4)])


def array_to_matrix(array: FloatArray) -> Any:
    """A 4x4 array as a ``vtkMatrix4x4``."""
    matrix = vtk.vtkMatrix4x4()
    for i in range(4):
        for j in range(4):
            matrix.SetElement(i, j, float(array[i, j]))
    return matrix


def matrix_of_image(image: Any) -> FloatArray:
    """Voxel index to RAS of a ``vtkOrientedImageData``."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return matrix_to_array(matrix)


def volume_grid(volume: Any) -> Grid:
    """The voxels of a volume node in its own frame. Raises ``VolumeError`` for a node without an image."""
    image = volume.GetImageData()
    if image is None or 0 in image.GetDimensions():
        raise VolumeError(f"The volume '{volume.GetName()}' has no voxels.", "Load it again, or choose another.")
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return Grid(shape=image.GetDimensions(), affine=matrix_to_array(matrix))


def from_world(node: Any, point: Vector3) -> Vector3:
    """A world point in the own frame of a transformable node."""
    return _transformed(None, node.GetParentTransformNode(), point)


def to_world(node: Any, point: Vector3) -> Vector3:
    """A point in the own frame of a transformable node, in the world."""
    return _transformed(node.GetParentTransformNode(), None, point)


def frame_map(source: Any, target: Any) -> FrameMap | None:
    """The way from one node's own frame to another's; None where they are the same."""
    first, second = source.GetParentTransformNode(), target.GetParentTransformNode()
    if first is second:
        return None
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(first, second, transform)
    if not slicer.vtkMRMLTransformNode.IsGeneralTransformLinear(transform):
        return FrameMap(transform=transform, matrix=None)
    matrix = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(first, second, matrix)
    return FrameMap(transform=transform, matrix=matrix_to_array(matrix))


def _transformed(source: Any, target: Any, point: Vector3) -> Vector3:
    if source is target:
        return point
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(source, target, transform)
    r, a, s = transform.TransformPoint(point)
    return r, a, s
