"""The viewer put together: Slicer's scene and views, the workbench, the worker, the page, the server."""

from __future__ import annotations

import gc
import logging
import tempfile
from pathlib import Path
from typing import Any

import vtk
from trame_server import Server
from trame_slicer.core import SlicerApp
from VISTA3DScene.workbench import Workbench

from VISTA3DLib.errors import VISTA3DError
from VISTA3DLib.files.read import SeriesInfo
from VISTA3DWeb.actions import Actions
from VISTA3DWeb.opening import Opener
from VISTA3DWeb.options import ViewerOptions
from VISTA3DWeb.page.initial import initial_state
from VISTA3DWeb.page.layout import build_page
from VISTA3DWeb.page.messages import Messages
from VISTA3DWeb.presenter import Presenter
from VISTA3DWeb.reading import SeveralSeries
from VISTA3DWeb.region import Region
from VISTA3DWeb.security import Gate
from VISTA3DWeb.tabs import Tabs, TabsProtocol
from VISTA3DWeb.transport import AsyncioTransport
from VISTA3DWeb.uploads import Exchange
from VISTA3DWeb.view_frame import slice_key, slice_values
from VISTA3DWeb.views import Views
from VISTA3DWeb.warming import Warmer

logger = logging.getLogger(__name__)


class Viewer:
    """One person's viewer. To be made, used and closed on one running asyncio loop."""

    def __init__(self, server: Server, options: ViewerOptions) -> None:
        self._server, self._options, self._weights = server, options, options.weights
        self._place = tempfile.TemporaryDirectory(prefix="vista3d_")
        folder = Path(self._place.name)
        server.state.update({**initial_state(), "wanted_device": options.device})
        self.app = SlicerApp()
        if not logger.isEnabledFor(logging.INFO):  # VTK writes to the terminal what only a developer understands
            vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
            vtk.vtkObject.GlobalWarningDisplayOff()
        self._transport = AsyncioTransport(_made(folder / "worker"), log=logger.info)
        self.workbench = Workbench(self.app.scene, self._transport, folder / "worker", log=logger.info)
        self.views = Views(self.app, server, self._slice_moved)
        self._messages = Messages(server.state)
        self._presenter = Presenter(server, self.workbench, self._messages)
        self._exchange = Exchange(_made(folder / "exchange"), options.upload_limit)
        self._tabs = Tabs(self._tab_changed, self._tab_gone)
        self.opener = Opener(
            self.app.scene,
            self.workbench,
            _made(folder / "scenes"),
            shown=self._volume_shown,
            busy=self._set_opening,
            ask=self._ask_to_replace,
            choose=self._choose_series,
            failed=self._presenter.fail,
        )
        self._warmer = Warmer(self.workbench, self._rehearsing)
        self._region = Region(self.app.scene, self._region_changed)
        self._actions = Actions(
            server,
            self.workbench,
            self.views,
            self.opener,
            self._exchange,
            self._presenter,
            self._messages,
            self._tabs,
            self._warmer,
            self._region,
            load_model=self._load_model,
        )
        self._actions.bind()
        build_page(server, self.views.layouts)
        server.add_protocol_to_configure(lambda protocol: protocol.registerLinkProtocol(TabsProtocol(self._tabs)))
        server.controller.on_server_bind.add(self._bind)
        server.controller.on_exception.add(self._unexpected)

    async def begin(self) -> None:
        """Load the model and open what was asked for; the page is there meanwhile."""
        self._load_model()
        if self._options.sample is not None:
            await self.opener.open_sample()
        elif self._options.path is not None:
            await self.opener.open_paths([self._options.path], series=self._options.series)

    async def close(self) -> None:
        """End the worker, take the views down, remove the files of the session. In this order nothing crashes."""
        self._actions.stop()
        self._warmer.close()
        self.workbench.close()
        await self._transport.finish()
        self.views.close()
        self.app.scene.Clear(1)
        del self.views, self._actions, self.opener, self._presenter
        gc.collect()
        self._place.cleanup()

    def _bind(self, web_server: Any) -> None:
        web_server.app.middlewares.append(Gate(self._options).middleware)
        web_server.app.add_routes(self._exchange.routes)

    def _load_model(self, weights: str = "", *, device: str = "") -> None:
        """Load weights, those of before if none are named, on a device, that of before if none is named."""
        self._weights = weights or self._weights
        with self._server.state as state:
            state.wanted_device = device or state.wanted_device
            self.workbench.load_model(self._weights, device=state.wanted_device, precision=self._options.precision)

    def _volume_shown(self, volume: Any) -> None:
        self.views.show(volume)
        with self._server.state as state:
            state.placing, state.crosshair, state.window_name = "", False, "soft"
            if volume is not None:
                state.window_width, state.window_centre = self.views.window_of(volume)
        self.views.show_crosshair(False)
        self._region.remove()
        self._presenter.show()

    def _region_changed(self) -> None:
        with self._server.state as state:
            state.region = self._region.bounds

    def _slice_moved(self, view: Any) -> None:
        with self._server.state as state:
            shown = self.workbench.volume is not None
            state[slice_key(view.get_singleton_tag())] = slice_values(view, shown=shown)

    def _rehearsing(self, now: bool) -> None:
        with self._server.state as state:
            state.warming = now

    def _set_opening(self, text: str) -> None:
        self._presenter.opening = text
        self._presenter.show()

    def _ask_to_replace(self, name: str) -> None:
        with self._server.state as state:
            state.pending, state.dialog = name, "replace"

    def _choose_series(self, found: SeveralSeries) -> None:
        with self._server.state as state:
            state.series = [{"uid": info.uid, "text": _series_text(info)} for info in found.series]
            state.pending, state.dialog = found.path.name, "series"

    def _tab_changed(self, name: str) -> None:
        with self._server.state as state:
            state.active_tab = name

    def _tab_gone(self, name: str) -> None:
        self._exchange.forget(name)
        self._presenter.upload_ended()

    def _unexpected(self, error: BaseException) -> None:
        if isinstance(error, VISTA3DError):
            self._presenter.fail(error)
            return
        if isinstance(error, ConnectionError):  # a tab was closed while something was on its way to it
            logger.info("A tab has gone: %s", error)
            return
        logger.error("Unexpected error", exc_info=error)
        self._messages.error(
            f"An unexpected error happened: {type(error).__name__}: {error}", "Please report it with the log."
        )


def _series_text(info: SeriesInfo) -> str:
    """What a person tells series by: number, description, size."""
    return info.describe().replace(f" {info.uid}", "")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
