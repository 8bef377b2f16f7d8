"""Who may talk to the viewer: the token in the URL, the page's origin, the name by which the server is called."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from urllib.parse import urlencode, urlsplit

from aiohttp import web

from VISTA3DWeb.options import ViewerOptions, is_loopback

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HEADERS = {
    # The browser itself sees to it that nothing is asked of another machine. Vue compiles its templates in the page.
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' blob:; connect-src 'self' blob: data:; "
        "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_REFUSED = """<!doctype html><html lang="en"><meta charset="utf-8"><title>VISTA3D viewer</title>
<body style="font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:12vh auto;padding:0 1em">
<h1 style="font-size:1.3em">VISTA3D viewer</h1><p>{text}</p></body></html>"""


class Gate:
    """Decides on every request. On loopback without a proxy no token is asked for, but the names are checked all the
    same: a page of another site must not reach the viewer by a name that it made point to this machine.
    """

    def __init__(self, options: ViewerOptions) -> None:
        self._token = options.token if options.needs_token else ""
        # Cookies do not know ports: each viewer of one host has a cookie with a name of its own.
        self._cookie = f"vista3d_{hashlib.sha256(self._token.encode()).hexdigest()[:12]}"
        self._origins = frozenset(options.origins)
        self._hosts = frozenset(urlsplit(origin).netloc for origin in options.origins)
        self._loopback = is_loopback(options.host)

    @property
    def middleware(self) -> Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]:
        """For ``aiohttp``: refuses what must not come in, and puts the headers on what goes out."""

        @web.middleware
        async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
            refusal = self.refusal(request)
            if refusal:
                return _headed(web.Response(status=403, text=_REFUSED.format(text=refusal), content_type="text/html"))
            if self._token and "token" in request.query:
                return _headed(self._remembered(request))
            try:
                response = await handler(request)
            except web.HTTPException as answer:  # redirections and errors are answers too
                answer.headers.update(HEADERS)
                raise
            return response if response.prepared else _headed(response)

        return admit

    def refusal(self, request: web.Request) -> str:
        """Why a request is refused; empty if it is not."""
        if not self._called_rightly(request.host):
            return "This viewer is not reached by that name. Use the address that was printed when it was started."
        origin = request.headers.get("Origin")
        if origin is not None and not self._own_origin(origin, request.host):
            return "A page of another site asked for this. It was refused."
        if self._token and not self._has_token(request):
            return "The address lacks its token. Use the whole address that was printed when the viewer was started."
        return ""

    def _called_rightly(self, host: str) -> bool:
        if not self._loopback:
            return True  # by whatever name: the token opens, and its cookie goes back to that name only
        return host.lower() in self._hosts or is_loopback(_without_port(host).lower())

    def _own_origin(self, origin: str, host: str) -> bool:
        return origin.lower() in self._origins or urlsplit(origin).netloc.lower() == host.lower()

    def _has_token(self, request: web.Request) -> bool:
        given = (request.query.get("token", ""), request.cookies.get(self._cookie, ""))
        return any(hmac.compare_digest(text.encode(), self._token.encode()) for text in given)

    def _remembered(self, request: web.Request) -> web.Response:
        """Keep the token in a cookie and out of the address bar, where it would end in pictures and bookmarks."""
        query = {name: text for name, text in request.query.items() if name != "token"}
        name = request.path.rpartition("/")[2]
        target = f"./{name}" + (f"?{urlencode(query)}" if query else "")
        response = web.Response(status=303, headers={"Location": target})
        response.set_cookie(self._cookie, self._token, httponly=True, samesite="Lax", path="/")
        return response


def _headed(response: web.StreamResponse) -> web.StreamResponse:
    response.headers.update(HEADERS)
    return response


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
