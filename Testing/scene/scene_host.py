"""A MRML scene without an application: what Slicer sets up around a scene, from the slicer-core wheel, and its end."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

_LOGICS = {
    "Volumes": "vtkSlicerVolumesLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
}


class SceneHost:
    """Owns a scene with its logics. ``close`` takes everything down in the order that lets Python exit cleanly."""

    def __init__(self) -> None:
        self.scene = slicer.vtkMRMLScene()
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        self.scene.AddNode(crosshair)
        self.application = slicer.vtkSlicerApplicationLogic()
        self.application.SetMRMLScene(self.scene)
        colors = self.application.GetColorLogic()
        colors.SetMRMLScene(self.scene)
        colors.AddDefaultColorNodes()
        self.application.SetModuleLogic("Colors", colors)
        self.application.SetSliceLogics(vtk.vtkCollection())
        self.application.SetViewLogics(vtk.vtkCollection())
        self.logics = {name: self._logic(name, kind) for name, kind in _LOGICS.items()}
        self._cache = TemporaryDirectory(prefix="vista3d-scene-")
        self._remote_io = slicer.vtkMRMLRemoteIOLogic()
        self._remote_io.SetMRMLScene(self.scene)
        self._remote_io.SetMRMLApplicationLogic(self.application)
        self._remote_io.GetCacheManager().SetRemoteCacheDirectory(self._cache.name)
        self._data_io = slicer.vtkDataIOManagerLogic()
        self._data_io.SetMRMLScene(self.scene)
        self._data_io.SetMRMLApplicationLogic(self.application)
        self._data_io.SetAndObserveDataIOManager(self._remote_io.GetDataIOManager())
        self._remote_io.AddDataIOToScene()

    def _logic(self, name: str, kind: str) -> Any:
        logic = getattr(slicer, kind)()
        logic.SetMRMLScene(self.scene)
        logic.SetMRMLApplicationLogic(self.application)
        self.application.SetModuleLogic(name, logic)
        return logic

    def close(self) -> None:
        """Take the logics down, then the scene."""
        for name in self.logics:
            self.application.SetModuleLogic(name, None)
        self.logics.clear()
        self.scene.Clear(1)
        self._remote_io.RemoveDataIOFromScene()
        self._data_io.SetAndObserveDataIOManager(None)
        self._data_io.SetMRMLScene(None)
        self._remote_io.SetMRMLScene(None)
        self.application.SetMRMLScene(None)
        del self._data_io, self._remote_io, self.application
        self._cache.cleanup()
        gc.collect()


def make_volume(scene: Any, array: npt.NDArray[Any], affine: npt.ArrayLike, name: str = "CT") -> Any:
    """A scalar volume node with ``array[i, j, k]``."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    image = vtk.vtkImageData()
    image.SetDimensions(*array.shape)
    flat = np.ascontiguousarray(array.transpose(2, 1, 0)).ravel()
    image.GetPointData().SetScalars(numpy_to_vtk(flat, deep=True))
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(vtk_matrix(affine))
    return node


def make_segmentation(scene: Any, volume: Any = None, name: str = "Segmentation") -> Any:
    """An empty segmentation node on the grid of a volume (none: without a geometry)."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    if volume is not None:
        node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    return node


def make_transform(scene: Any, matrix: npt.ArrayLike, name: str = "Linear") -> Any:
    """A linear transform node."""
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    node.SetMatrixTransformToParent(vtk_matrix(matrix))
    return node


def make_warp(scene: Any, center: Sequence[float], size: float, shift: float, name: str = "Warp") -> Any:
    """A thin plate spline: the middle of a cube is pushed by ``shift`` mm, its corners stay."""
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    offsets = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    for offset in offsets:
        point = [c + o * size / 2 for c, o in zip(center, offset, strict=True)]
        source.InsertNextPoint(point)
        target.InsertNextPoint(point)
    source.InsertNextPoint(center)
    target.InsertNextPoint([center[0] + shift, center[1] - shift / 2, center[2] + shift / 3])
    spline = vtk.vtkThinPlateSplineTransform()
    spline.SetBasisToR()
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", name)
    node.SetAndObserveTransformToParent(spline)
    return node


def vtk_matrix(values: npt.ArrayLike) -> Any:
    """A 4x4 array as a ``vtkMatrix4x4``."""
    array, matrix = np.asarray(values, dtype=float), vtk.vtkMatrix4x4()
    for i in range(4):
        for j in range(4):
            matrix.SetElement(i, j, array[i, j])
    return matrix


def save_segmentation(scene: Any, node: Any, path: Path) -> None:
    """Write a ``.seg.nrrd`` file."""
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    scene.AddNode(storage)
    assert storage.WriteData(node)
    scene.RemoveNode(storage)


def load_segmentation(scene: Any, path: Path) -> Any:
    """Read a ``.seg.nrrd`` file."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", path.name)
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    scene.AddNode(storage)
    assert storage.ReadData(node)
    scene.RemoveNode(storage)
    return node
