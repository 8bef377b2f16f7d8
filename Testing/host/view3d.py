"""A 3D view without Slicer's widgets: Slicer's own displayable managers and interactor style, rendered offscreen."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from managers import managers_of_view

MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
)
SIZE = 240  # pixels, both ways


class ThreeDView:
    """Looks at a place of the scene from the front; ``click`` is what a mouse does to the interactor."""

    def __init__(self, scene: Any, application_logic: Any) -> None:
        self._scene = scene
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetSize(SIZE, SIZE)
        self.renderer = vtk.vtkRenderer()
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkGenericRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
        self.node = slicer.vtkMRMLViewNode()
        self.node.SetName("View1")
        self.node.SetLayoutName("1")
        scene.AddNode(self.node)
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        self.group = managers_of_view(factory, MANAGERS, application_logic, self.renderer, self.node)
        self.style = slicer.vtkMRMLThreeDViewInteractorStyle()
        self.style.SetDisplayableManagers(self.group)
        self.style.SetInteractor(self.interactor)
        self.interactor.Initialize()

    def look_at(self, ras: tuple[float, float, float], distance: float = 200.0) -> None:
        """Put a place into the middle, seen from the front of the patient."""
        camera = self.renderer.GetActiveCamera()
        camera.SetFocalPoint(*ras)
        camera.SetPosition(ras[0], ras[1] + distance, ras[2])
        camera.SetViewUp(0.0, 0.0, 1.0)
        self.renderer.ResetCameraClippingRange()
        self.window.Render()

    def click(self, x: int, y: int) -> None:
        """Move there, press and release the left button (pixels from the lower left corner)."""
        self.interactor.InvokeEvent("EnterEvent")
        self.interactor.SetEventInformation(x, y, 0, 0)
        self.interactor.InvokeEvent("MouseMoveEvent")
        self.window.Render()  # a surface is picked in what was drawn
        for event in ("MouseMoveEvent", "LeftButtonPressEvent", "LeftButtonReleaseEvent"):
            self.interactor.InvokeEvent(event)

    def close(self) -> None:
        """Take the view apart in the order that does not crash at exit."""
        self.style.SetInteractor(None)
        self.group.SetMRMLDisplayableNode(None)
        self.group.SetRenderer(None)
        del self.group, self.style
        self._scene.RemoveNode(self.node)
        self.window.Finalize()
