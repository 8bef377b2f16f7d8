"""The members of the workbench that are about points, and the preview of what they change."""

from __future__ import annotations

from typing import Any

from VISTA3DLib.geometry import Vector3
from VISTA3DLib.prompts import Point
from VISTA3DScene.bench import Bench
from VISTA3DScene.point_desk import PointDesk
from VISTA3DScene.preview import Preview
from VISTA3DScene.segment_desk import SegmentDesk


class PointMembers:
    """Placing, moving and removing points of the selected segment; keeping or dropping what they change."""

    _bench: Bench
    _segments: SegmentDesk
    _points: PointDesk

    @property
    def positive_node(self) -> Any:
        """The point list of the positive points."""
        return self._points.nodes.positive

    @property
    def negative_node(self) -> Any:
        """The point list of the negative points."""
        return self._points.nodes.negative

    @property
    def points(self) -> tuple[Point, ...]:
        """The points of the selected segment, in world RAS."""
        return self._points.points

    @property
    def points_pending(self) -> bool:
        """Whether the selected segment has points that its mask does not answer yet."""
        return self._points.prompts.pending

    @property
    def live(self) -> bool:
        """Whether every edit of the points runs by itself."""
        return self._points.live

    @live.setter
    def live(self, live: bool) -> None:
        self._points.live = live
        self._bench.mark()

    @property
    def smooth(self) -> bool:
        """Whether borders are drawn at the CT's resolution."""
        return self._points.smooth

    @smooth.setter
    def smooth(self, smooth: bool) -> None:
        self._points.smooth = smooth
        self._bench.mark()

    def add_point(self, ras: Vector3, positive: bool = True) -> None:
        """Place a point (world RAS)."""
        with self._bench.guarded():
            self._segments.ensure_chosen()
            self._points.add(ras, positive)

    def move_point(self, number: int, ras: Vector3) -> None:
        """Put a point elsewhere (world RAS)."""
        with self._bench.guarded():
            self._points.move(number, ras)

    def remove_point(self, number: int) -> None:
        """Take a point away."""
        with self._bench.guarded():
            self._points.remove(number)

    def flip_point(self, number: int) -> None:
        """Switch a point between + and -."""
        with self._bench.guarded():
            self._points.flip(number)

    def clear_points(self) -> None:
        """Take all points of the selected segment away."""
        with self._bench.guarded():
            self._points.clear()

    def run_points(self) -> None:
        """Run the points that wait."""
        with self._bench.guarded():
            self._points.run()

    def warm(self, ras: Vector3) -> None:
        """Compute ahead what a click at a place would need."""
        with self._bench.guarded():
            self._points.warm(ras)

    # Preview

    @property
    def preview_enabled(self) -> bool:
        """Whether a change is shown before it is kept."""
        return self._points.preview_enabled

    @preview_enabled.setter
    def preview_enabled(self, enabled: bool) -> None:
        self._points.preview_enabled = enabled
        self._bench.mark()

    @property
    def preview(self) -> Preview | None:
        """What waits to be kept."""
        return self._points.preview

    @property
    def preview_node(self) -> Any:
        """The node that shows it, or None."""
        return self._points.preview_node.node

    def accept(self) -> None:
        """Keep the preview."""
        with self._bench.guarded():
            self._points.accept()

    def drop(self) -> None:
        """Drop the preview, with the points that asked for it."""
        with self._bench.guarded():
            self._points.drop()
