"""Starting the viewer, saying where it is, and ending it in order."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import webbrowser
from collections.abc import Callable
from typing import Any

from VISTA3DLib.errors import SettingsError
from VISTA3DWeb.options import DEFAULT_PORT, ViewerOptions

_ANY = {"0.0.0.0", "::", ""}


def run(options: ViewerOptions, say: Callable[[str], None]) -> None:
    """Serve until Ctrl+C or SIGTERM. ``say`` gets the address. Raises ``SettingsError`` when the port is taken."""
    port = free_port(options)
    asyncio.run(_serve(options, port, say))


def address(options: ViewerOptions, port: int) -> str:
    """What to type into a browser, token included."""
    if options.public:
        base = options.public
    else:
        host = socket.gethostname() if options.host in _ANY else options.host
        base = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    return f"{base}/" + (f"?token={options.token}" if options.needs_token else "")


def free_port(options: ViewerOptions) -> int:
    """The port to bind to, 0 to let the system choose; raises ``SettingsError`` when the one asked for is taken."""
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    for port in [DEFAULT_PORT, 0] if options.port is None else [options.port]:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if sys.platform != "win32":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((options.host, port))
            except OSError as error:
                problem = error
            else:
                return port
    raise _unusable(options, problem)


async def _serve(options: ViewerOptions, port: int, say: Callable[[str], None]) -> None:
    os.environ["TRAME_ARGS"] = ""  # trame must not read our command line
    from trame_server import Server

    from VISTA3DWeb.viewer import Viewer

    stopped = asyncio.Event()
    _on_signals(stopped)
    server = Server("vista3d", client_type="vue3")
    server.client_type = "vue3"
    viewer = Viewer(server, options)
    serving = server.start(
        port=port,
        host=options.host,
        thread=True,  # the signals are ours
        exec_mode="task",
        open_browser=False,
        show_connection_info=False,
        disable_logging=True,
        timeout=0,
    )
    try:
        try:
            await server.ready
        except OSError as error:  # taken since it was looked at
            raise _unusable(options, error) from error
        say(address(options, server.port))
        if options.open_page:
            webbrowser.open(address(options, server.port))
        await viewer.begin()
        waiting = asyncio.ensure_future(stopped.wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
    finally:
        await viewer.close()
        await server.stop()
        logging.getLogger(__name__).info("The viewer has ended.")


def _unusable(options: ViewerOptions, error: OSError) -> SettingsError:
    if not options.port:
        return SettingsError(f"The address {options.host} cannot be used: {error.strerror}.", "Give another --host.")
    return SettingsError(
        f"Port {options.port} of {options.host} cannot be used: {error.strerror}.", "Give another --port, or 0 for any."
    )


def _on_signals(stopped: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def stop(*_: Any) -> None:
        loop.call_soon_threadsafe(stopped.set)

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:  # Windows
            signal.signal(number, stop)
