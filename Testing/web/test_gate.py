"""Who gets in: over a real aiohttp server on loopback, with the requests that browsers and attackers send."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web
from browsing import run_alone

from VISTA3DWeb.options import ViewerOptions
from VISTA3DWeb.security import Gate

Visit = Callable[[aiohttp.ClientSession, str], Awaitable[None]]
TOKEN = "t0ken-of-the-tests"


def serve(options: ViewerOptions, visit: Visit) -> None:
    """Serve a page and a websocket behind the gate, and visit them."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="inside")

    async def socket(request: web.Request) -> web.WebSocketResponse:
        answer = web.WebSocketResponse()
        await answer.prepare(request)
        await answer.close()
        return answer

    async def run() -> None:
        app = web.Application(middlewares=[Gate(options).middleware])
        app.add_routes(
            [web.get("/", page), web.get("/index.html", page), web.put("/upload", page), web.get("/ws", socket)]
        )
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            jar = aiohttp.CookieJar(unsafe=True)  # cookies of addresses that are numbers
            async with aiohttp.ClientSession(cookie_jar=jar) as session:
                await visit(session, f"http://127.0.0.1:{port}")
        finally:
            await runner.cleanup()

    run_alone(run())


async def status(session: aiohttp.ClientSession, address: str, **headers: str) -> int:
    async with session.get(address, headers=headers, allow_redirects=False) as answer:
        await answer.read()
        return answer.status


def test_on_loopback_the_page_opens_and_tells_the_browser_to_ask_nobody_else() -> None:
    async def visit(session: aiohttp.ClientSession, base: str) -> None:
        async with session.get(base) as answer:
            assert await answer.text() == "inside"
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'self'" in policy
            assert "http" not in policy
            assert answer.headers["Referrer-Policy"] == "no-referrer"

    serve(ViewerOptions(), visit)


def test_a_name_that_was_made_to_point_here_is_refused() -> None:
    async def visit(session: aiohttp.ClientSession, base: str) -> None:
        assert await status(session, base, Host="evil.example:8765") == 403
        assert await status(session, base, Host="127.0.0.1.evil.example") == 403
        assert await status(session, base, Host="localhost:1") == 200

    serve(ViewerOptions(), visit)


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1.evil.example", "https://localhost:9"]
)
def test_a_page_of_another_site_gets_nothing_not_even_a_websocket(origin: str) -> None:
    async def visit(session: aiohttp.ClientSession, base: str) -> None:
        assert await status(session, base, Origin=origin) == 403
        async with session.put(f"{base}/upload", data=b"x", headers={"Origin": origin}) as answer:
            assert answer.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await session.ws_connect(f"{base}/ws", headers={"Origin": origin})
        assert caught.value.status == 403

    serve(ViewerOptions(), visit)


def test_our_own_page_gets_its_websocket() -> None:
    async def visit(session: aiohttp.ClientSession, base: str) -> None:
        socket = await session.ws_connect(f"{base}/ws", headers={"Origin": base})
        await socket.close()

    serve(ViewerOptions(), visit)


def test_without_the_token_nothing_opens_and_the_page_says_what_is_missing() -> None:
    async def visit(session: aiohttp.ClientSession, base: str) -> None:
        async with session.get(base) as answer:
            assert answer.status == 403
            assert "token" in await answer.text()
        assert await status(session, f"{base}/?token=wrong") == 403
        assert await status(session, f"{base}/?token=") == 403
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(f"{base}/ws")

    serve(ViewerOptions(host="0.0.0.0", token=TOKEN), visit)


def test_the_token_in_the_url_opens_once_and_a_cookie_keeps_it_out_of_the_address_bar() -> None:
    async def visit(session: aiohttp.ClientSession, base: str) -> None:
        async with session.get(f"{base}/index.html?token={TOKEN}&ui=main", allow_redirects=False) as answer:
            assert answer.status == 303
            assert answer.headers["Location"] == "./index.html?ui=main"
            cookie = next(iter(answer.cookies.values()))
            assert cookie["httponly"]
            assert cookie["samesite"] == "Lax"
        assert await status(session, base) == 200
        socket = await session.ws_connect(f"{base}/ws", headers={"Origin": base})
        await socket.close()
        with pytest.raises(aiohttp.WSServerHandshakeError):  # the cookie alone does not help another site's page
            await session.ws_connect(f"{base}/ws", headers={"Origin": "http://evil.example"})

    serve(ViewerOptions(host="0.0.0.0", token=TOKEN), visit)


def test_the_cookie_of_another_viewer_on_the_same_machine_does_not_open_this_one() -> None:
    cookies: list[str] = []

    async def first(session: aiohttp.ClientSession, base: str) -> None:
        async with session.get(f"{base}/?token={TOKEN}", allow_redirects=False) as answer:
            cookies.append(next(iter(answer.cookies.values())).OutputString())

    async def second(session: aiohttp.ClientSession, base: str) -> None:
        assert await status(session, base, Cookie=cookies[0]) == 403

    serve(ViewerOptions(host="0.0.0.0", token=TOKEN), first)
    serve(ViewerOptions(host="0.0.0.0", token=TOKEN + "2"), second)


def test_behind_a_proxy_its_origin_and_its_name_are_known() -> None:
    options = ViewerOptions(origins=("https://gpu.example.org",), token=TOKEN)

    async def visit(session: aiohttp.ClientSession, base: str) -> None:
        headers = {"Host": "gpu.example.org", "Origin": "https://gpu.example.org"}
        assert await status(session, f"{base}/?token={TOKEN}", **headers) == 303
        assert await status(session, base, **{**headers, "Origin": "https://other.example.org"}) == 403
        assert await status(session, f"{base}/?token={TOKEN}", Host="other.example.org") == 403

    serve(options, visit)
