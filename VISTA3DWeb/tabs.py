"""One tab at a time: a second one is told why it does not show the views, and may take over.

Two tabs would fight over the size of the views, and a click would not land where the person sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wslink.websocket import LinkProtocol  # type: ignore[import-untyped]


class Tabs:
    """Which tabs are connected, and which one shows the views.

    ``changed`` is called with that one ('' for none), ``gone`` with a tab that was closed or reloaded.
    """

    def __init__(self, changed: Callable[[str], None], gone: Callable[[str], None]) -> None:
        self._changed, self._gone = changed, gone
        self._names: dict[str, str] = {}  # connection -> the name that the tab made up for itself
        self.active = ""

    def opened(self, connection: str, name: str) -> None:
        """A tab said its name."""
        self._names[connection] = name
        if self.active not in self._names.values():
            self._activate(name)

    def take_over(self, name: str) -> None:
        """The person wants to go on in this tab."""
        if name in self._names.values():
            self._activate(name)

    def closed(self, connection: str) -> None:
        """A connection is gone; the tab that waited longest goes on."""
        name = self._names.pop(connection, None)
        if name is None or name in self._names.values():
            return
        self._gone(name)
        if name == self.active:
            self._activate(next(iter(self._names.values()), ""))

    def _activate(self, name: str) -> None:
        self.active = name
        self._changed(name)


class TabsProtocol(LinkProtocol):  # type: ignore[misc]
    """Hears of connections that close."""

    def __init__(self, tabs: Tabs) -> None:
        super().__init__()
        self._tabs = tabs

    def onClose(self, client_id: str) -> None:  # noqa: N802 - the name that wslink calls
        """A websocket was closed."""
        self._tabs.closed(client_id)


def connection_of(server: Any) -> str:
    """The connection whose message is being answered."""
    return str(server.protocol.server._server.last_active_client_id)
