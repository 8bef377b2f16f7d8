"""What the page can ask for. Each method is a trigger of the page under its own name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from VISTA3DScene.jobs import State
from VISTA3DScene.overwrite import Overwrite
from VISTA3DScene.workbench import Workbench

from VISTA3DLib.errors import VISTA3DError
from VISTA3DWeb.exporting import export
from VISTA3DWeb.opening import Opener
from VISTA3DWeb.page.messages import Messages
from VISTA3DWeb.presenter import Presenter
from VISTA3DWeb.region import Region
from VISTA3DWeb.tabs import Tabs, connection_of
from VISTA3DWeb.uploads import Exchange
from VISTA3DWeb.views import WINDOWS, Views
from VISTA3DWeb.warming import Warmer
from VISTA3DWeb.weights_shelf import models_folder, weights_rows

_OPTIONS = {"live", "preview_enabled", "smooth"}
# fmt: off
_TRIGGERS = (
    "hello", "take_over", "act", "close_message",
    "select", "rename", "recolor", "show", "opacity", "remove", "new_class_segment", "toggle_surface",
    "place_point", "rest", "rest_ended", "go_to_point", "flip_point", "remove_point", "option", "set_policy",
    "run_automatic", "cancel",
    "set_window", "own_window", "set_layout", "fit", "fit_all", "scroll", "toggle_crosshair",
    "open_sample", "uploading", "upload_failed", "open_upload", "open_series", "replace_open", "keep_open", "export",
    "show_region", "set_region", "show_weights", "use_weights", "use_device", "download_weights",
)
# fmt: on


class Actions:
    """Bound to the server by ``bind``; everything a person can do goes through here."""

    def __init__(
        self,
        server: Any,
        workbench: Workbench,
        views: Views,
        opener: Opener,
        exchange: Exchange,
        presenter: Presenter,
        messages: Messages,
        tabs: Tabs,
        warmer: Warmer,
        region: Region,
        *,
        load_model: Callable[..., None],
    ) -> None:
        self._server, self._state = server, server.state
        self._workbench, self._views, self._opener, self._exchange = workbench, views, opener, exchange
        self._presenter, self._messages, self._tabs = presenter, messages, tabs
        self._warmer, self._region, self._load_model = warmer, region, load_model
        self._tasks: set[asyncio.Task[None]] = set()
        self._shortcuts: dict[str, Callable[[], None]] = {
            "place_positive": lambda: self._toggle_placing("positive"),
            "place_negative": lambda: self._toggle_placing("negative"),
            "escape": self._escape,
            "new_segment": lambda: self._new_segment(None),
            "next_segment": workbench.next_segment,
            "delete_last_point": self._delete_last_point,
            "clear_points": workbench.clear_points,
            "run_points": workbench.run_points,
            "live": lambda: self._set_option("live", not workbench.live),
            "preview": lambda: self._set_option("preview_enabled", not workbench.preview_enabled),
            "accept": workbench.accept,
            "visibility": self._toggle_visibility,
            "undo": workbench.undo,
            "redo": workbench.redo,
        }

    def bind(self) -> None:
        """Register every public trigger."""
        for name in _TRIGGERS:
            self._server.controller.trigger(name)(getattr(self, f"_{name}"))
        self._state.change("chosen", "overlapping", "region")(self._estimate)

    def stop(self) -> None:
        """Cancel what was begun here."""
        for task in self._tasks:
            task.cancel()

    # --- the page ---

    def _hello(self, name: str) -> None:
        self._tabs.opened(connection_of(self._server), str(name))

    def _take_over(self, name: str) -> None:
        self._tabs.take_over(str(name))

    def _act(self, action: str) -> None:
        function = self._shortcuts.get(action)
        if function is not None:
            function()

    def _close_message(self, number: int) -> None:
        self._messages.close(number)

    # --- segments ---

    def _select(self, key: str) -> None:
        self._workbench.select_segment(key)
        centre = self._workbench.center(key)
        if centre is not None:
            self._jump(centre)

    def _rename(self, key: str, name: str) -> None:
        if name.strip():
            self._workbench.rename_segment(key, name.strip()[:80])

    def _recolor(self, key: str, color: str) -> None:
        red, green, blue = (int(color[n : n + 2], 16) / 255 for n in (1, 3, 5))
        self._workbench.recolor_segment(key, (red, green, blue))

    def _show(self, key: str, visible: bool) -> None:
        self._workbench.show_segment(key, visible)

    def _opacity(self, key: str, opacity: float) -> None:
        self._workbench.set_opacity(key, min(max(float(opacity), 0.0), 1.0))

    def _remove(self, key: str) -> None:
        self._workbench.remove_segment(key)

    def _new_segment(self, class_id: int | None) -> None:
        if self._workbench.volume is not None:
            self._workbench.new_segment(class_id)
            self._start_placing("positive")

    def _new_class_segment(self, class_id: int) -> None:
        self._new_segment(int(class_id))

    def _toggle_visibility(self) -> None:
        shown = any(info.visible for info in self._workbench.segments)
        for info in self._workbench.segments:
            self._workbench.show_segment(info.id, not shown)

    def _toggle_surface(self) -> None:
        self._state.surface = not self._state.surface
        self._workbench.show_surface(self._state.surface)

    # --- points ---

    def _toggle_placing(self, sign: str) -> None:
        if self._state.placing == sign:
            self._stop_placing()
        else:
            self._start_placing(sign)

    def _start_placing(self, sign: str) -> None:
        if self._state.can_click:
            self._state.placing = sign

    def _stop_placing(self) -> None:
        self._state.placing = ""

    def _escape(self) -> None:
        if self._workbench.preview is not None:
            self._workbench.drop()
        elif self._state.cancellable:
            self._workbench.cancel()
        else:
            self._stop_placing()

    def _place_point(self, ras: list[float], positive: bool) -> bool:
        """Whether there is a point more; if not, a message says why."""
        before = len(self._workbench.points)
        r, a, s = (float(v) for v in ras)
        self._workbench.add_point((r, a, s), bool(positive))
        return len(self._workbench.points) > before

    def _rest(self, ras: list[float]) -> None:
        self._warmer.rest((float(ras[0]), float(ras[1]), float(ras[2])))

    def _rest_ended(self) -> None:
        self._warmer.rest_ended()

    def _go_to_point(self, number: int) -> None:
        points = self._workbench.points
        if 0 <= number < len(points):
            self._jump(points[number].ras)

    def _flip_point(self, number: int) -> None:
        self._workbench.flip_point(number)

    def _remove_point(self, number: int) -> None:
        self._workbench.remove_point(number)

    def _delete_last_point(self) -> None:
        if self._workbench.points:
            self._workbench.remove_point(len(self._workbench.points) - 1)

    def _option(self, name: str, value: bool) -> None:
        if name in _OPTIONS:
            self._set_option(name, bool(value))

    def _set_option(self, name: str, value: bool) -> None:
        setattr(self._workbench, name, value)
        self._presenter.show()

    def _set_policy(self, name: str) -> None:
        self._workbench.policy = Overwrite[name]
        self._presenter.show()

    # --- automatic ---

    def _run_automatic(self, chosen: list[int], overlapping: bool) -> None:
        """``chosen`` as the page shows it: what was ticked just now may not have arrived in the state yet."""
        if chosen and self._state.can_run and self._workbench.state is not State.AUTOMATIC:
            self._workbench.segment_classes(list(chosen), roi=self._region.node, overlapping=bool(overlapping))

    def _cancel(self) -> None:
        self._workbench.cancel()

    def _estimate(self, chosen: list[int], overlapping: bool, **_: Any) -> None:
        if not chosen or self._workbench.volume is None or self._workbench.model is None or self._workbench.busy:
            self._state.estimate = ""
            return
        self._workbench.estimate(
            list(chosen), self._show_estimate, roi=self._region.node, overlapping=bool(overlapping)
        )

    def _show_estimate(self, values: Any) -> None:
        with self._state:
            self._state.estimate = str(values["text"])

    def _show_region(self, wanted: bool) -> None:
        if wanted and self._workbench.volume is not None:
            self._region.show(self._workbench.volume)
        else:
            self._region.remove()

    def _set_region(self, axis: int, end: int, value: float) -> None:
        if axis in range(3):
            self._region.set_bound(axis, end, float(value))

    # --- views ---

    def _set_window(self, name: str) -> None:
        self._state.window_name = name
        if name in WINDOWS:
            _, width, centre = WINDOWS[name]
            self._own_window(width, centre)

    def _own_window(self, width: float, centre: float) -> None:
        self._state.window_width, self._state.window_centre = width, centre
        if self._workbench.volume is not None:
            self._views.set_window(self._workbench.volume, float(width), float(centre))

    def _set_layout(self, name: str) -> None:
        if self._views.layouts.has_layout(name):
            self._state.layout = name
            self._views.layouts.set_layout(name)

    def _fit(self, name: str) -> None:
        self._views.reset_view(name)

    def _fit_all(self) -> None:
        self._views.reset()

    def _scroll(self, name: str, offset: float) -> None:
        self._views.scroll(name, float(offset))

    def _jump(self, point: Any) -> None:
        self._state.crosshair = True
        self._views.jump(point)

    def _toggle_crosshair(self) -> None:
        self._state.crosshair = not self._state.crosshair
        self._views.show_crosshair(self._state.crosshair)

    # --- files ---

    def _open_sample(self) -> None:
        self._begin(self._opener.open_sample())

    def _uploading(self, loaded: int, total: int) -> None:
        self._presenter.upload_at(loaded, total)

    def _upload_failed(self, message: str, fix: str) -> None:
        self._presenter.upload_ended()
        self._messages.error(str(message)[:500], str(fix)[:500])

    def _open_upload(self, batch: str) -> None:
        self._presenter.upload_ended()
        try:
            paths, folder = self._exchange.take(batch)
        except VISTA3DError as error:
            self._presenter.fail(error)
            return
        self._begin(self._opener.open_paths(paths, upload=folder))

    def _open_series(self, uid: str) -> None:
        self._state.dialog = ""
        self._begin(self._opener.open_series(str(uid)))

    def _replace_open(self) -> None:
        self._state.dialog = ""
        self._begin(self._opener.replace())

    def _keep_open(self) -> None:
        self._state.dialog = ""
        self._opener.keep()

    async def _export(self, kind: str) -> str:
        """The address of the file, empty if there is none."""
        self._presenter.opening = "Writing the file"
        self._presenter.show()
        await asyncio.sleep(0)  # the page shows it before a writer of Slicer's takes the thread
        try:
            with self._exchange.outgoing() as folder:
                path = await export(self._workbench, self._views.scene, str(kind), folder, self._opener.source_files)
            return self._exchange.offer(path)
        except VISTA3DError as error:
            self._presenter.fail(error)
            return ""
        finally:
            self._presenter.opening = ""
            self._presenter.show()

    # --- weights ---

    def _show_weights(self) -> None:
        self._state.weights, self._state.models_folder = weights_rows(), models_folder()
        self._state.licence_of, self._state.accepted = "", False
        self._state.dialog = "weights"
        if self._state.model and not self._state.devices and not self._workbench.busy:
            self._workbench.find_devices(self._show_devices)

    def _show_devices(self, found: Mapping[str, str]) -> None:
        with self._state:
            self._state.devices = [{"name": name, "text": text} for name, text in found.items()]

    def _use_device(self, name: str) -> None:
        self._state.dialog = ""
        self._load_model(device=str(name))

    def _use_weights(self, name: str) -> None:
        self._state.dialog = ""
        self._load_model(str(name))

    def _download_weights(self, name: str, accepted: bool) -> None:
        def done(_: str) -> None:
            with self._state:
                self._state.weights, self._state.licence_of = weights_rows(), ""
            self._messages.say(f"{name} is on this machine now.")

        self._workbench.download(str(name), accept_licence=bool(accepted), done=done)

    def _begin(self, work: Awaitable[None]) -> None:
        async def run() -> None:
            await work

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
