"""The raw ASGI front: guard, routes, one error shape; everything else goes to BentoML's app behind it.

BentoML spends 1.0-1.6 ms of CPU on a request, a model about 0.02 ms. The routes that matter are answered here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from mlops_box.clock import SystemClock
from mlops_box.errors import BoxError
from mlops_box.serving.access import Access, refuse_from_elsewhere
from mlops_box.serving.guard import Guard
from mlops_box.serving.problems import HttpProblem, problem_of
from mlops_box.serving.request_ids import RequestIds
from mlops_box_services import edge_api, features_api, oip_api, pages, rows_api
from mlops_box_services.exchange import (
    CLIENT_GONE,
    Answer,
    App,
    ClientGone,
    Exchange,
    Message,
    Receive,
    Scope,
    Send,
    Sent,
    observe,
    send_answer,
)
from mlops_box_services.routes import Routes
from mlops_box_services.runtime import Runtime

log = logging.getLogger(__name__)

# BentoML's own pages; whatever else it might offer stays closed.
_INNER_PATHS = frozenset({"/", "/schema.json", "/healthz"})
_INNER_FOLDERS = ("/static_content/", "/assets/")


class Front:
    """An ASGI app around another.

    Args:
        inner: BentoML's app: its own pages, the API that is declared, its lifespan.
        open_runtime: Called when the server starts, in the event loop's thread.
        access: By which names it is called, and who bound its address.
    """

    def __init__(
        self,
        inner: App,
        open_runtime: Callable[[], Runtime],
        *,
        access: Access = Access(),
        guard: Guard | None = None,
    ):
        self._inner = inner
        self._open_runtime = open_runtime
        self._guard = guard or Guard(hosts=access.hosts)
        self._binds_itself = access.binds_itself
        self._routes = Routes(
            [
                *rows_api.routes(),
                *edge_api.routes(),
                *features_api.routes(),
                *oip_api.routes(),
                *pages.routes(lambda: self._routes),
            ]
        )
        self._runtime: Runtime | None = None
        self._clock = SystemClock()
        self._request_ids = RequestIds()

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
        exchange = self.exchange(scope, receive, send)
        answer = await self.respond(exchange)
        if answer is not None:
            await send_answer(send, answer, exchange.request_id)
        self.done(exchange, answer)

    def exchange(self, scope: Scope, receive: Receive, send: Send, whole: bytes | None = None) -> Exchange:
        """A request that has just arrived."""
        return Exchange(
            scope, receive, send, self._guard, self._clock.monotonic_s(), scope["method"], scope["path"], scope["headers"], whole,
        )  # fmt: skip

    def is_own(self, path: str) -> bool:
        """Whether a path is answered here, and not by BentoML's app."""
        return not (path in _INNER_PATHS or path.startswith(_INNER_FOLDERS))

    async def respond(self, exchange: Exchange) -> Answer | None:
        """The answer to a request, whatever happens; ``None`` when BentoML's app gave it or the client has gone."""
        try:
            is_protocol = exchange.path.startswith(oip_api.ROOT)
            given = self._guard.check(exchange.method, exchange.headers, may_be_untyped=is_protocol)
            exchange.request_id = self._request_ids.take(given)
            if self._runtime is None:
                raise HttpProblem(
                    503, "starting", "the server is starting", headers=((b"retry-after", b"1"),)
                )
            exchange.runtime = self._runtime
            if self._runtime.authorizer is not None:
                header = exchange.header(b"authorization")
                self._runtime.authorizer.allowed(header, self._routes.need(exchange.method, exchange.path))
            elif not self._binds_itself:
                refuse_from_elsewhere(exchange.scope.get("server"))
            return await self._answer(exchange)
        except ClientGone:
            exchange.outcome = CLIENT_GONE
            return None
        except HttpProblem as problem:
            return self._refusal(exchange, problem)
        except BoxError as error:
            return self._refusal(exchange, problem_of(error))
        except Exception:  # the process's boundary: the client gets a shape it knows, the log the rest
            log.exception("request %s failed", exchange.request_id.decode())
            message = "an unexpected failure; the server's log has it under this request id"
            return self._refusal(exchange, HttpProblem(500, "internal", message))

    def done(self, exchange: Exchange, answer: Answer | None) -> None:
        """To be called once a request is over: tells whoever wants to know."""
        observers = self._runtime.observers if self._runtime is not None else None
        if observers is not None:
            observers.tell(observe(exchange, answer, self._clock.monotonic_s()))

    async def _answer(self, exchange: Exchange) -> Answer | None:
        """The answer of our routes; ``None`` when BentoML's app has answered."""
        path = exchange.path
        if not self.is_own(path):
            if exchange.method not in ("GET", "HEAD"):
                raise HttpProblem(405, "method", f"{exchange.method} is not possible here", hint="use GET")
            exchange.route = path if path in _INNER_PATHS else f"{_INNER_FOLDERS[0]}*"
            exchange.sent = Sent(exchange.send)
            await self._inner(exchange.scope, exchange.receive, exchange.sent)
            return None
        route, parts = self._routes.find(exchange.method, path)
        exchange.route = route.path
        return await route.handle(exchange, **parts)

    def refused(self, code: str) -> None:
        """Count what was refused."""
        if self._runtime is not None:
            self._runtime.metrics.refused(code)

    def _refusal(self, exchange: Exchange, problem: HttpProblem) -> Answer:
        exchange.outcome = problem.code
        self.refused(problem.code)
        is_protocol = exchange.path.startswith(oip_api.ROOT)
        body = problem.protocol_body() if is_protocol else problem.body()
        return Answer(problem.status, body, headers=problem.headers)
