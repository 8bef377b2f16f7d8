"""Where the pointer is, to the pixel: a click lands on the voxel whose colour the person sees under the arrow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from trame_slicer.rca_view import RemoteSliceViewFactory, RemoteThreeDViewFactory


def exact(event: Mapping[str, Any], width: int, height: int) -> dict[str, Any]:
    """An event of the page with ``x``, ``y`` as pixels of a picture of ``width`` x ``height``.

    The page counts from the lower edge, in units of its own element (``w`` x ``h``), which may be a fraction of a pixel
    larger than the picture; and the lower edge is no pixel: the lowest row is row 0.
    """
    if not all(isinstance(event.get(key), int | float) for key in ("x", "y", "w", "h")):
        return dict(event)
    column = math.floor(event["x"] * width / max(event["w"], 1))
    row = math.floor((event["h"] - event["y"]) * height / max(event["h"], 1))
    inside = {"x": min(max(column, 0), width - 1), "y": height - 1 - min(max(row, 0), height - 1)}
    return {**event, **inside, "w": width, "h": height}


class SliceViewFactory(RemoteSliceViewFactory):  # type: ignore[misc]
    """trame-slicer's slice views with exact clicks."""

    def _create_view(self, *arguments: Any) -> Any:
        return _with_exact_clicks(super()._create_view(*arguments))


class ThreeDViewFactory(RemoteThreeDViewFactory):  # type: ignore[misc]
    """trame-slicer's 3D views with exact clicks."""

    def _create_view(self, *arguments: Any) -> Any:
        return _with_exact_clicks(super()._create_view(*arguments))


def _with_exact_clicks(made: Any) -> Any:
    window, picture = made.view_adapter._rca, made.slicer_view.render_window()
    process = window.process_interaction_event
    window.process_interaction_event = lambda event: process(exact(event, *picture.GetSize()))
    return made
