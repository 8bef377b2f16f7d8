"""The members of the workbench that are about segments."""

from __future__ import annotations

from collections.abc import Sequence

from VISTA3DLib.geometry import Vector3
from VISTA3DScene.bench import Bench
from VISTA3DScene.lattice import BoolArray
from VISTA3DScene.point_desk import PointDesk
from VISTA3DScene.segment_desk import SegmentDesk, SegmentInfo


class SegmentMembers:
    """Making, choosing, styling, removing and measuring segments."""

    _bench: Bench
    _segments: SegmentDesk
    _points: PointDesk

    @property
    def segments(self) -> tuple[SegmentInfo, ...]:
        """The segments, in order."""
        return self._segments.infos

    @property
    def selected(self) -> str | None:
        """Id of the selected segment."""
        return self._bench.selected

    def new_segment(self, class_id: int | None = None, name: str = "") -> str | None:
        """Begin a segment and select it; returns its id, None if that failed."""
        return self._bench.tried(lambda: self._segments.new(class_id, name), None)

    def select_segment(self, segment_id: str | None) -> None:
        """Select a segment; the points shown follow."""
        with self._bench.guarded():
            self._segments.select(segment_id)

    def next_segment(self, step: int = 1) -> None:
        """Select the next one, or the one before (-1)."""
        with self._bench.guarded():
            self._segments.select_next(step)

    def rename_segment(self, segment_id: str, name: str) -> None:
        """Rename a segment."""
        with self._bench.guarded():
            self._segments.rename(segment_id, name)

    def recolor_segment(self, segment_id: str, color: Sequence[float]) -> None:
        """Give a segment another colour (red, green, blue, 0 to 1)."""
        with self._bench.guarded():
            self._segments.recolor(segment_id, color)

    def remove_segment(self, segment_id: str) -> None:
        """Delete a segment."""
        with self._bench.guarded():
            if segment_id == self._bench.selected:
                self._points.stop()
            self._segments.remove(segment_id)

    def show_segment(self, segment_id: str, visible: bool) -> None:
        """Show or hide a segment; no step of undo."""
        with self._bench.guarded():
            self._segments.show(segment_id, visible)

    def set_opacity(self, segment_id: str, opacity: float) -> None:
        """Opacity of a segment, 0 to 1; no step of undo."""
        with self._bench.guarded():
            self._segments.set_opacity(segment_id, opacity)

    def show_surface(self, visible: bool) -> None:
        """Show all segments in 3D, or stop doing so."""
        with self._bench.guarded():
            self._segments.show_surface(visible)

    def volume_ml(self, segment_id: str) -> float:
        """Volume of a segment in ml."""
        return self._bench.tried(lambda: self._segments.volume_ml(segment_id), 0.0)

    def center(self, segment_id: str) -> Vector3 | None:
        """A place inside a segment, near its middle, in world RAS; None when it is empty."""
        return self._bench.tried(lambda: self._segments.center(segment_id), None)

    def mask_on_volume(self, segment_id: str) -> BoolArray | None:
        """A segment on the whole grid of the CT, [i, j, k]."""
        return self._bench.tried(lambda: self._segments.mask_on_volume(segment_id), None)
