"""Who may open the page: whoever has the key that was printed, from this page alone, by a name of this machine.

A server on loopback can be reached by every page the user opens, and by every user of the machine. So, as for the inference
server: a Host that names this machine (DNS rebinding), no foreign Origin (a websocket knows no same-origin policy); and
since a session may act, a key that only who started the server has seen. It becomes a cookie, and leaves the address.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from mlops_box.serving.guard import Guard
from mlops_box.serving.problems import HttpProblem

# What the page loads comes from where it came from; the terminal's own script writes styles into the page.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self' data:; img-src 'self' data:; "
    "connect-src 'self' ws:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Door:
    """Checks every request before anything is done for it.

    Attributes:
        key: What a browser has to know.
        cookie: The name that the key is kept under: cookies know no ports, so each server has its own.
    """

    key: str
    cookie: str

    def middleware(self) -> Middleware:
        """For aiohttp's application."""

        @web.middleware
        async def checked(request: web.Request, handler: Handler) -> web.StreamResponse:
            refused = self._refusal(request)
            if refused is not None:
                return web.Response(status=refused[0], text=refused[1] + "\n", headers=_HEADERS)
            if "key" in request.query:
                # The key shall stand in no history and on no shared screen.
                moved = web.HTTPSeeOther(request.path, headers=_HEADERS)
                moved.set_cookie(self.cookie, self.key, httponly=True, samesite="Strict", path="/")
                return moved
            answer = await handler(request)
            if not answer.prepared:
                answer.headers.update(_HEADERS)
            return answer

        return checked

    def _refusal(self, request: web.Request) -> tuple[int, str] | None:
        """Status and words for who may not come in."""
        headers = [(name.lower(), value) for name, value in request.raw_headers]
        try:
            Guard(max_body_bytes=0).check(request.method, headers)
        except HttpProblem as problem:
            return problem.status, str(problem)
        origin = request.headers.get("Origin")
        if origin is not None and origin.lower() != f"http://{request.host.lower()}":
            return 403, "requests from another web page are not accepted"
        given = request.query.get("key") or request.cookies.get(self.cookie, "")
        if not hmac.compare_digest(given.encode(), self.key.encode()):
            return 401, "open the address that mlops-box tui --web printed: it carries the key"
        return None
