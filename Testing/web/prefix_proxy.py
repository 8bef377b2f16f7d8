"""A small reverse proxy for tests: shows a server under a path, as nginx does with ``proxy_pass http://...:PORT/;``."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import aiohttp
from aiohttp import web

_OWN = {"host", "connection", "transfer-encoding", "content-length", "content-encoding", "keep-alive", "upgrade"}


class PrefixProxy:
    """Shows ``target`` (``http://127.0.0.1:PORT``, set when it is known) under ``http://127.0.0.1:{port}/PREFIX/``."""

    def __init__(self, prefix: str) -> None:
        self.port, self.target = 0, ""
        self._prefix = prefix
        self._started, self._stop = threading.Event(), asyncio.Event()

    async def serve(self) -> None:
        """Serve on a port that the system chooses, until ``stop``."""
        async with aiohttp.ClientSession(auto_decompress=False) as session:

            async def handle(request: web.Request) -> web.StreamResponse:
                address = f"{self.target}/{request.match_info['rest']}"
                address += f"?{request.query_string}" if request.query_string else ""
                if request.headers.get("Upgrade", "").lower() == "websocket":
                    return await _socket(session, request, address)
                return await _forward(session, request, address)

            app = web.Application(client_max_size=2**30)
            app.router.add_route("*", f"/{self._prefix}/{{rest:.*}}", handle)
            runner = web.AppRunner(app)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.port = runner.addresses[0][1]
            self._started.set()
            await self._stop.wait()
            await runner.cleanup()

    def wait(self) -> None:
        """Wait until it serves."""
        assert self._started.wait(60)

    def stop(self) -> None:
        """To be called in its loop."""
        self._stop.set()


@contextmanager
def proxy(prefix: str) -> Iterator[PrefixProxy]:
    """A proxy that serves in a thread of its own."""
    loop, running = asyncio.new_event_loop(), PrefixProxy(prefix)
    thread = threading.Thread(target=lambda: loop.run_until_complete(running.serve()), daemon=True)
    thread.start()
    running.wait()
    try:
        yield running
    finally:
        loop.call_soon_threadsafe(running.stop)
        thread.join(30)
        loop.close()


async def _forward(session: aiohttp.ClientSession, request: web.Request, address: str) -> web.Response:
    headers = {name: text for name, text in request.headers.items() if name.lower() not in _OWN}
    async with session.request(
        request.method, address, headers=headers, data=await request.read(), allow_redirects=False
    ) as answer:
        kept = [
            (name, text) for name, text in answer.headers.items() if name.lower() not in _OWN - {"content-encoding"}
        ]
        return web.Response(status=answer.status, body=await answer.read(), headers=dict(kept))


async def _socket(session: aiohttp.ClientSession, request: web.Request, address: str) -> web.WebSocketResponse:
    near = web.WebSocketResponse(max_msg_size=0)
    await near.prepare(request)
    headers = {name: request.headers[name] for name in ("Origin", "Cookie") if name in request.headers}
    async with session.ws_connect(address, headers=headers, max_msg_size=0) as far:

        async def pump(source: web.WebSocketResponse | aiohttp.ClientWebSocketResponse) -> None:
            sink = far if source is near else near
            async for message in source:
                if message.type is aiohttp.WSMsgType.BINARY:
                    await sink.send_bytes(message.data)
                elif message.type is aiohttp.WSMsgType.TEXT:
                    await sink.send_str(message.data)
            await sink.close()

        with suppress(ConnectionError):
            await asyncio.gather(pump(near), pump(far))
    return near
