"""A CT that was read by the library, as a node of the scene."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from VISTA3DScene.frames import array_to_matrix
from vtk.util.numpy_support import numpy_to_vtk

from VISTA3DLib.geometry import reverse_axes
from VISTA3DLib.volume import Volume

WIDTH, CENTRE = 400.0, 40.0  # HU; the window that a CT is opened with


def add_volume(scene: Any, volume: Volume) -> Any:
    """Add a scalar volume node with the voxels and the geometry of ``volume``, oblique and sheared ones too."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", volume.name)
    image = vtk.vtkImageData()
    image.SetDimensions(*volume.grid.shape)
    flat = np.ascontiguousarray(reverse_axes(volume.array)).ravel()
    scalars = numpy_to_vtk(flat, deep=True)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    node.SetIJKToRASMatrix(array_to_matrix(volume.affine))
    node.SetAndObserveImageData(image)
    node.SetAttribute("DICOM.Modality", volume.modality)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(WIDTH, CENTRE)
    return node


def remove_node(scene: Any, node: Any) -> None:
    """Take a node, its displays and its storage out of the scene."""
    if node is None or node.GetScene() is not scene:
        return
    displays = [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]
    for part in (*displays, node.GetStorageNode(), node):
        if part is not None and scene.IsNodePresent(part):
            scene.RemoveNode(part)
