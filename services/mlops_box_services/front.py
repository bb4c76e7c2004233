"""The raw ASGI front: guard, routes, one error shape; everything else goes to BentoML's app behind it.

BentoML spends 1.0-1.6 ms of CPU on a request, a model about 0.02 ms. The routes that matter are answered here.
"""

from __future__ import annotations

import itertools
import logging
import re
import secrets
from collections.abc import Callable
from typing import Any

from mlops_box.clock import SystemClock
from mlops_box.errors import BoxError
from mlops_box.serving.guard import Guard
from mlops_box.serving.problems import HttpProblem, problem_of
from mlops_box_services import pages, rows_api
from mlops_box_services.exchange import (
    Answer,
    App,
    ClientGone,
    Exchange,
    Message,
    Receive,
    Scope,
    Send,
    send_answer,
)
from mlops_box_services.routes import Routes
from mlops_box_services.runtime import Runtime

log = logging.getLogger(__name__)

# BentoML's own pages; whatever else it might offer stays closed.
_INNER_PATHS = frozenset({"/", "/schema.json", "/healthz"})
_INNER_FOLDERS = ("/static_content/", "/assets/")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")


class Front:
    """An ASGI app around another.

    Args:
        inner: BentoML's app: its own pages, the API that is declared, its lifespan.
        open_runtime: Called when the server starts, in the event loop's thread.
        document: BentoML's OpenAPI document, to be completed by our routes.
    """

    def __init__(
        self,
        inner: App,
        open_runtime: Callable[[], Runtime],
        *,
        document: Callable[[], dict[str, Any]],
        guard: Guard | None = None,
    ):
        self._inner = inner
        self._open_runtime = open_runtime
        self._guard = guard or Guard()
        self._routes = Routes([*rows_api.routes(), *pages.routes(document)])
        self._runtime: Runtime | None = None
        self._clock = SystemClock()
        self._id_prefix = secrets.token_hex(6).encode()
        self._id_counter = itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def receiving() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._runtime = self._open_runtime()
            return message

        async def sending(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown") and self._runtime is not None:
                self._runtime.close()
            await send(message)

        await self._inner(scope, receiving, sending)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_s = self._clock.monotonic_s()
        request_id = b"-"
        try:
            given = self._guard.check(scope["method"], scope["headers"])
            request_id = self._request_id(given)
            if self._runtime is None:
                raise HttpProblem(
                    503, "starting", "the server is starting", headers=((b"retry-after", b"1"),)
                )
            exchange = Exchange(scope, receive, send, self._runtime, self._guard, request_id, started_s)
            answer = await self._answer(exchange)
        except ClientGone:
            return
        except HttpProblem as problem:
            answer = self._refusal(problem)
        except BoxError as error:
            answer = self._refusal(problem_of(error))
        except Exception:  # the process's boundary: the client gets a shape it knows, the log the rest
            log.exception("request %s failed", request_id.decode())
            message = "an unexpected failure; the server's log has it under this request id"
            answer = self._refusal(HttpProblem(500, "internal", message))
        if answer is not None:
            await send_answer(send, answer, request_id)

    async def _answer(self, exchange: Exchange) -> Answer | None:
        """The answer of our routes; ``None`` when BentoML's app has answered."""
        path = exchange.path
        if path in _INNER_PATHS or path.startswith(_INNER_FOLDERS):
            if exchange.method not in ("GET", "HEAD"):
                raise HttpProblem(405, "method", f"{exchange.method} is not possible here", hint="use GET")
            await self._inner(exchange.scope, exchange.receive, exchange.send)
            return None
        route, parts = self._routes.find(exchange.method, path)
        return await route.handle(exchange, **parts)

    def _request_id(self, given: bytes | None) -> bytes:
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given
        return b"%b-%x" % (self._id_prefix, next(self._id_counter))

    def _refusal(self, problem: HttpProblem) -> Answer:
        if self._runtime is not None:
            self._runtime.metrics.refused(problem.code)
        return Answer(problem.status, problem.body(), headers=problem.headers)
