"""A small reverse proxy for tests: shows a server under a path, as nginx does with ``proxy_pass http://...:PORT/;``."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import aiohttp
from aiohttp import web

_OWN = {"host", "connection", "transfer-encoding", "content-length", "content-encoding", "keep-alive", "upgrade"}


@contextmanager
def proxy(target: str, prefix: str, *, port: int) -> Iterator[None]:
    """Serve ``target`` under ``http://127.0.0.1:PORT/prefix/`` in a thread of its own."""
    loop = asyncio.new_event_loop()
    started, stop = threading.Event(), asyncio.Event()

    async def run() -> None:
        async with aiohttp.ClientSession(auto_decompress=False) as session:

            async def handle(request: web.Request) -> web.StreamResponse:
                address = target.rstrip("/") + "/" + request.match_info["rest"]
                address += f"?{request.query_string}" if request.query_string else ""
                if request.headers.get("Upgrade", "").lower() == "websocket":
                    return await _socket(session, request, address)
                return await _forward(session, request, address)

            app = web.Application(client_max_size=2**30)
            app.router.add_route("*", f"/{prefix}/{{rest:.*}}", handle)
            runner = web.AppRunner(app)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", port).start()
            started.set()
            await stop.wait()
            await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    started.wait(30)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)


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
