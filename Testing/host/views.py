"""Slice views without Slicer's widgets: pictures of VTK's offscreen renderer on a Qt widget, mouse events forwarded.

The displayable managers, the interactor style and so the placing of points are Slicer's own C++.
"""

from __future__ import annotations

import sys
import traceback
from typing import Any

import numpy as np
import slicer
import vtk
import wrap
from managers import managers_of_view
from PySide6.QtCore import QEvent, QPoint, Qt
from PySide6.QtGui import QImage, QMouseEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QWidget
from vtk.util.numpy_support import vtk_to_numpy

MANAGERS = (
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
)
COLORS = {"Red": (0.95, 0.29, 0.2), "Yellow": (0.93, 0.83, 0.3), "Green": (0.43, 0.69, 0.29)}
ORIENTATIONS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}


class SliceView(QWidget):
    """One slice view: ``mrmlSliceNode``, ``sliceLogic`` and clicks."""

    def __init__(self, name: str, scene: Any, application_logic: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._closed = False
        self.setObjectName(f"qMRMLSliceWidget{name}")
        self.setMouseTracking(True)
        self.setMinimumSize(120, 120)
        self.window_ = vtk.vtkRenderWindow()
        self.window_.SetOffScreenRendering(1)
        self.window_.SetSize(256, 256)
        self.renderer = vtk.vtkRenderer()
        self.window_.AddRenderer(self.renderer)
        self.interactor = vtk.vtkGenericRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window_)
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(application_logic)
        self.logic.SetMRMLScene(scene)
        self.logic.AddSliceNode(name)
        self.node = self.logic.GetSliceNode()
        self.node.SetOrientation(ORIENTATIONS.get(name, "Axial"))
        self.node.SetLayoutName(name)
        application_logic.GetSliceLogics().AddItem(self.logic)
        self._image_actor()
        self._boot_managers(application_logic)
        self.interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
        self.style_ = slicer.vtkMRMLSliceViewInteractorStyle()
        self.style_.SetSliceLogic(self.logic)
        self.style_.SetDisplayableManagers(self.group)
        self.style_.SetInteractor(self.interactor)
        self.interactor.Initialize()
        self._picture: QImage | None = None

    def _boot_managers(self, application_logic: Any) -> None:
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        self.group = managers_of_view(factory, MANAGERS, application_logic, self.renderer, self.node)
        self._tag = self.group.AddObserver(vtk.vtkCommand.UpdateEvent, self._outdated)

    def _outdated(self, _caller: Any, _event: str) -> None:
        if not self._closed:
            self.update()

    def _image_actor(self) -> None:
        self.mapper = vtk.vtkImageMapper()
        self.mapper.SetColorWindow(255)
        self.mapper.SetColorLevel(127.5)
        self.mapper.SetInputConnection(self.logic.GetImageDataConnection())
        self.actor = vtk.vtkActor2D()
        self.actor.SetMapper(self.mapper)
        self.actor.GetProperty().SetDisplayLocationToBackground()
        self.renderer.AddViewProp(self.actor)
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self.renderer.SetBackground(0, 0, 0)

    def render_now(self) -> QImage:
        """Draw the view; returns the picture."""
        connection = self.logic.GetImageDataConnection()
        self.actor.SetVisibility(connection is not None)
        self.mapper.SetInputConnection(connection)
        self.window_.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window_)
        grab.ReadFrontBufferOff()
        grab.Update()
        output = grab.GetOutput()
        width, height, _ = output.GetDimensions()
        pixels = vtk_to_numpy(output.GetPointData().GetScalars()).reshape(height, width, 3)[::-1]
        pixels = np.ascontiguousarray(pixels)
        self._picture = QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888).copy()
        return self._picture

    def pixel_of(self, ras: tuple[float, float, float]) -> QPoint:
        """Where a world point lies in the widget (the slice must go through it)."""
        matrix = vtk.vtkMatrix4x4()
        matrix.DeepCopy(self.node.GetXYToRAS())
        matrix.Invert()
        x, y, _, _ = matrix.MultiplyPoint((*ras, 1.0))
        return QPoint(round(x), round(self.height() - 1 - y))

    def ras_of(self, pixel: QPoint) -> tuple[float, float, float]:
        """The world point under a pixel of the widget."""
        r, a, s, _ = self.node.GetXYToRAS().MultiplyPoint((pixel.x(), self.height() - 1 - pixel.y(), 0.0, 1.0))
        return r, a, s

    def jump_to(self, ras: tuple[float, float, float]) -> None:
        """Move the slice through a world point."""
        self.node.JumpSliceByOffsetting(*ras)

    def resizeEvent(self, event: QResizeEvent) -> None:
        size = event.size()
        self.window_.SetSize(size.width(), size.height())
        self.interactor.UpdateSize(size.width(), size.height())
        self.logic.ResizeSliceNode(size.width(), size.height())

    def paintEvent(self, _: QPaintEvent) -> None:
        try:
            if not self._closed:
                painter = QPainter(self)
                painter.drawImage(0, 0, self.render_now())
                painter.end()
        except (RuntimeError, ValueError, AttributeError):
            wrap.failures.append(traceback.format_exc())
            sys.stderr.write(wrap.failures[-1])

    def _forward(self, event: QMouseEvent, name: str) -> None:
        if self._closed:
            return
        modifiers = event.modifiers()
        control = bool(modifiers & Qt.KeyboardModifier.ControlModifier)
        shift = bool(modifiers & Qt.KeyboardModifier.ShiftModifier)
        position = event.position().toPoint()
        self.interactor.SetEventInformation(position.x(), self.height() - 1 - position.y(), control, shift)
        self.interactor.InvokeEvent(name)
        self.update()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._forward(event, "MouseMoveEvent")

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._forward(event, "MouseMoveEvent")
        button = "Left" if event.button() == Qt.MouseButton.LeftButton else "Right"
        self._forward(event, f"{button}ButtonPressEvent")

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        button = "Left" if event.button() == Qt.MouseButton.LeftButton else "Right"
        self._forward(event, f"{button}ButtonReleaseEvent")

    def enterEvent(self, event: QEvent) -> None:
        if not self._closed:
            self.interactor.InvokeEvent("EnterEvent")

    def leaveEvent(self, event: QEvent) -> None:
        if not self._closed:
            self.interactor.InvokeEvent("LeaveEvent")

    def close_view(self) -> None:
        """Take the view apart in the order that does not crash at exit."""
        self._closed = True
        self.group.RemoveObserver(self._tag)
        self.style_.SetInteractor(None)
        self.group.SetMRMLDisplayableNode(None)
        self.group.SetRenderer(None)
        del self.group, self.style_
        self.logic.SetMRMLScene(None)
        self.window_.Finalize()
