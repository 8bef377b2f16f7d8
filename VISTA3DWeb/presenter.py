"""The workbench as the page shows it: every ``changed`` becomes the state of the page, and nothing else does."""

from __future__ import annotations

from typing import Any

from VISTA3DScene.frames import volume_grid
from VISTA3DScene.jobs import State
from VISTA3DScene.segment_masks import labelmap_of
from VISTA3DScene.workbench import Workbench

from VISTA3DLib.errors import VISTA3DError
from VISTA3DLib.geometry import format_shape
from VISTA3DLib.progress import Progress
from VISTA3DLib.prompts import Point
from VISTA3DWeb.page.classes import search_rows, set_rows, tree_rows
from VISTA3DWeb.page.messages import Messages

_ACTIVITIES = {
    State.LOADING: "Loading the model",
    State.PREPARING: "Preparing the CT",
    State.POINTS: "Segmenting from the points",
    State.AUTOMATIC: "Segmenting",
    State.SEQUENCE: "Segmenting the frames",
    State.DOWNLOADING: "Downloading weights",
    State.OTHER: "Working",
}
_UPLOADING = "Uploading"
_DIRECTIONS = (("R", "L"), ("A", "P"), ("S", "I"))


class Presenter:
    """Writes the state of the page. ``opening`` is a text while files are on their way, empty otherwise."""

    def __init__(self, server: Any, workbench: Workbench, messages: Messages) -> None:
        self._server, self._workbench, self._messages = server, workbench, messages
        self._catalogue: Any = None
        self._said: set[str] = set()
        self._volumes: dict[str, tuple[Any, str]] = {}
        self.opening = ""
        workbench.changed.connect(self.show)
        workbench.said.connect(messages.say)
        workbench.failed.connect(self._failed)
        workbench.progressed.connect(self._progressed)
        server.state.change("class_search")(self._search)

    def show(self) -> None:
        """Read everything again."""
        with self._server.state as state:
            self._show_activity(state)
            self._show_model(state)
            self._show_volume(state)
            self._show_segments(state)
            self._show_points(state)
            state.undo_name, state.redo_name = self._workbench.undo_name, self._workbench.redo_name
            state.policy = self._workbench.policy.name

    def _show_activity(self, state: Any) -> None:
        now = self._workbench.state
        state.activity = self.opening or _ACTIVITIES.get(now, "")
        state.opening = bool(self.opening)
        state.running = now in {State.AUTOMATIC, State.SEQUENCE}
        state.downloading = now is State.DOWNLOADING
        state.cancellable = not self.opening and now not in {State.IDLE, State.LOADING, State.PREPARING}
        if not state.activity:
            state.progress = None

    def _show_model(self, state: Any) -> None:
        model = self._workbench.model
        volume = self._workbench.volume
        state.can_click = volume is not None and (model is None or model.interactive)
        state.can_run = volume is not None and model is not None and model.automatic
        if model is None:
            state.model = None
            return
        state.model_problem = ""
        detail = f"{model.device_description}, {model.precision}, {'/'.join(f'{v:g}' for v in model.spacing)} mm"
        state.model = {
            "id": model.id,
            "title": model.title,
            "note": model.note,
            "demonstration": model.demonstration,
            "device": model.device_description,
            "detail": detail,
            "interactive": model.interactive,
        }
        if model.catalogue is not self._catalogue:
            self._catalogue = model.catalogue
            state.tree, state.sets = tree_rows(model.catalogue), set_rows(model.catalogue)
            state.chosen = [i for i in state.chosen if i in model.catalogue]
            state.class_hits = search_rows(model.catalogue, state.class_search)

    def _show_volume(self, state: Any) -> None:
        volume = self._workbench.volume
        if volume is None:
            state.volume, state.findings = None, []
            return
        grid = volume_grid(volume)
        size, spacing = format_shape(grid.shape), " x ".join(f"{v:.3g}" for v in grid.spacing)
        state.volume = {"name": volume.GetName(), "detail": f"{volume.GetName()}: {size} voxels of {spacing} mm"}
        state.findings = [{"code": f.code, "message": f.message} for f in self._workbench.findings]

    def _show_segments(self, state: Any) -> None:
        selected = self._workbench.selected
        rows = []
        for info in self._workbench.segments:
            red, green, blue = (round(255 * part) for part in info.color)
            rows.append(
                {
                    "id": info.id,
                    "name": info.name,
                    "color": f"#{red:02x}{green:02x}{blue:02x}",
                    "visible": info.visible,
                    "opacity": info.opacity,
                    "points": info.points,
                    "ml": self._volume_of(info.id),
                }
            )
        state.segments, state.selected = rows, selected
        self._volumes = {info.id: self._volumes[info.id] for info in self._workbench.segments}
        state.selected_name = next((row["name"] for row in rows if row["id"] == selected), "")

    def _volume_of(self, key: str) -> str:
        """The volume as text; counted again only when the voxels may have changed."""
        segment = self._workbench.segmentation.GetSegmentation().GetSegment(key)
        image = labelmap_of(segment)
        seen = None if image is None else (id(image), image.GetMTime(), segment.GetLabelValue())
        known = self._volumes.get(key)
        if known is None or known[0] != seen:
            known = (seen, _ml(self._workbench.volume_ml(key)))
            self._volumes[key] = known
        return known[1]

    def _show_points(self, state: Any) -> None:
        bench = self._workbench
        state.points = [_point_row(n, point) for n, point in enumerate(bench.points)]
        state.points_pending = bench.points_pending
        state.live, state.smooth, state.preview_enabled = bench.live, bench.smooth, bench.preview_enabled
        waiting = bench.preview
        if waiting is None:
            state.preview = None
            return
        count = len(waiting.parts)
        state.preview = {
            "added": _ml(waiting.added_ml) or "0 ml",
            "removed": _ml(waiting.removed_ml) or "0 ml",
            "parts": f"{count} {'part' if count == 1 else 'parts'}" if count else "",
        }

    def _failed(self, kind: str, message: str, fix: str) -> None:
        if kind in {"CancelledError"}:
            self._messages.say("Cancelled; nothing was changed.")
            return
        if self._workbench.model is None:
            with self._server.state as state:
                state.model_problem = "No model"
        self._messages.error(message, fix)

    def _progressed(self, progress: Progress) -> None:
        with self._server.state as state:
            state.progress = {"fraction": progress.fraction, "text": progress_text(progress)}
        if progress.note and progress.note not in self._said:
            self._said.add(progress.note)
            self._messages.warn(progress.note)

    def _search(self, class_search: str, **_: Any) -> None:
        if self._catalogue is not None:
            self._server.state.class_hits = search_rows(self._catalogue, class_search)

    def upload_at(self, loaded: int, total: int) -> None:
        """Show how far an upload is (bytes)."""
        self.opening = _UPLOADING
        self.show()
        text = f"{loaded / 1e6:.0f} of {total / 1e6:.0f} MB"
        self._server.state.progress = {"fraction": loaded / total if total else 0.0, "text": text}

    def upload_ended(self) -> None:
        """An upload is over, or given up."""
        if self.opening == _UPLOADING:
            self.opening = ""
            self.show()

    def fail(self, error: VISTA3DError) -> None:
        """Show an error of our own."""
        self._messages.error(error.message, error.fix)


def _point_row(number: int, point: Point) -> dict[str, Any]:
    return {"n": number, "positive": point.positive, "ras": list(point.ras), "text": point_text(point.ras)}


def point_text(ras: Any) -> str:
    """``R 12.0 P 40.1 S 88.0`` in mm."""
    parts = zip(ras, _DIRECTIONS, strict=True)
    return " ".join(f"{names[0] if value >= 0 else names[1]} {abs(value):.1f}" for value, names in parts)


def progress_text(progress: Progress) -> str:
    """How far, and how long still."""
    if progress.stage in {"download", "verify"}:
        text = f"{progress.done / 1e6:.0f} of {progress.total / 1e6:.0f} MB"
    else:
        text = f"{round(100 * progress.fraction)} %"
    left = progress.seconds_left
    if left is None:
        return text
    shown = f"{left:.0f} s" if left < 90 else f"{left / 60:.0f} min"
    return f"{text}, about {shown} left"


def _ml(value: float | None) -> str:
    if not value:
        return ""
    return f"{value:.0f} ml" if value >= 100 else f"{value:.1f} ml" if value >= 1 else f"{value:.2f} ml"
