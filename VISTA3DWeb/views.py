"""The slice and 3D views: layouts, what is shown in them, windows, jumping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from trame_slicer.core import LayoutManager, SlicerApp
from trame_slicer.views import Layout, LayoutDirection, SliceView, ViewLayoutDefinition

from VISTA3DLib.geometry import Vector3
from VISTA3DWeb.pointer import SliceViewFactory, ThreeDViewFactory
from VISTA3DWeb.view_frame import slice_frame, threed_frame

FOUR, LARGE = "four", "large"
LAYOUTS = {
    FOUR: "Four views",
    LARGE: "Large axial",
    "axial": "Axial",
    "coronal": "Coronal",
    "sagittal": "Sagittal",
    "threed": "3D",
}
# Width and centre in HU, as radiology sets them.
WINDOWS: dict[str, tuple[str, float, float]] = {
    "soft": ("Soft tissue", 400.0, 40.0),
    "lung": ("Lung", 1500.0, -600.0),
    "bone": ("Bone", 1800.0, 400.0),
    "liver": ("Liver", 150.0, 60.0),
    "mediastinum": ("Mediastinum", 350.0, 50.0),
    "brain": ("Brain", 80.0, 40.0),
    "vessels": ("Vessels", 600.0, 200.0),
}


class Views:
    """The views of one scene. ``moved`` is called with a slice view whose slice changed."""

    def __init__(self, app: SlicerApp, server: Any, moved: Callable[[Any], None]) -> None:
        self._app = app
        look = {"target_fps": 30.0, "blur_fps": 30.0, "interactive_quality": 60, "rca_event_throttle_s": 0.01}
        app.view_manager.register_factory(SliceViewFactory(server, populate_view_ui_f=slice_frame, **look))
        app.view_manager.register_factory(ThreeDViewFactory(server, populate_view_ui_f=threed_frame, **look))
        self.layouts = LayoutManager(app.scene, app.view_manager, server)
        self.layouts.register_layout_dict(_layouts())
        self.layouts.set_layout(FOUR)
        for view in self.slices:
            view.modified.connect(moved)
        self._style()

    @property
    def scene(self) -> Any:
        """The MRML scene."""
        return self._app.scene

    @property
    def slices(self) -> list[SliceView]:
        """The three slice views."""
        return list(self._app.view_manager.get_slice_views())

    def show(self, volume: Any) -> None:
        """Show a volume (None: nothing) in all slice views, centred."""
        self._app.display_manager.show_volume_in_slice_background(volume)
        self._style()
        self.reset()

    def reset(self) -> None:
        """Fit every view to what it shows."""
        self._app.display_manager.reset_views()

    def reset_view(self, name: str) -> None:
        """Fit one view."""
        view = self._app.view_manager.get_view(name)
        if view is not None:
            view.reset_view()

    def scroll(self, name: str, offset: float) -> None:
        """Move a slice view to an offset in mm."""
        view = self._app.view_manager.get_view(name)
        if isinstance(view, SliceView):
            view.set_slice_value(offset)

    def jump(self, point: Vector3) -> None:
        """Bring a world point into all slice views and mark it with the crosshair."""
        slicer.vtkMRMLSliceNode.JumpAllSlices(self._app.scene, *point)
        self.show_crosshair(True).SetCrosshairRAS(point)

    def show_crosshair(self, visible: bool) -> Any:
        """Show the crosshair or take it away; returns its node."""
        node = self.scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        node.SetCrosshairMode(node.ShowBasic if visible else node.NoCrosshair)
        return node

    def set_window(self, volume: Any, width: float, centre: float) -> None:
        """Set the window of a volume (HU)."""
        display = volume.GetDisplayNode()
        if display is not None:
            display.SetAutoWindowLevel(False)
            display.SetWindowLevel(max(width, 1.0), centre)

    def window_of(self, volume: Any) -> tuple[float, float]:
        """Width and centre of the window of a volume (HU)."""
        display = volume.GetDisplayNode()
        return (0.0, 0.0) if display is None else (float(display.GetWindow()), float(display.GetLevel()))

    def close(self) -> None:
        """Take the views down in the order in which VTK and Slicer do not crash at the end of the process."""
        for view in self._app.view_manager.get_views():
            view.set_render_blocked(True)
            view._interactor_observer.SetInteractor(None)
            view._displayable_manager_group.SetMRMLDisplayableNode(None)
            view._displayable_manager_group.SetRenderer(None)
            view.finalize()

    def _style(self) -> None:
        for view in self._app.view_manager.get_threed_views():
            view.set_orientation_marker(slicer.vtkMRMLAbstractViewNode.OrientationMarkerTypeAxes)
        for view in self.slices:
            view.set_ruler(slicer.vtkMRMLAbstractViewNode.RulerTypeThin)


def _layouts() -> dict[str, Layout]:
    axial, coronal = ViewLayoutDefinition.axial_view("Axial"), ViewLayoutDefinition.coronal_view("Coronal")
    sagittal = ViewLayoutDefinition.sagittal_view("Sagittal")
    threed = ViewLayoutDefinition.threed_view(background_color=("#14161a", "#262a31"))
    row, column = LayoutDirection.Horizontal, LayoutDirection.Vertical
    single = {"axial": axial, "coronal": coronal, "sagittal": sagittal, "threed": threed}
    return {
        FOUR: Layout(row, [Layout(column, [axial, coronal]), Layout(column, [threed, sagittal])]),
        LARGE: Layout(row, [axial, Layout(column, [coronal, sagittal, threed])], flex_sizes=["2", "1"]),
        **{name: Layout(column, [view]) for name, view in single.items()},
    }
