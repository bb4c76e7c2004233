"""The raw ASGI front: guard, routes and the fast path; everything else goes to BentoML's app behind it.

BentoML spends 1.0-1.6 ms of CPU on a request, a model about 0.02 ms. The routes that matter are answered here.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from mlops_box.errors import BoxError, NotFoundError, UsageError
from mlops_box.ids import ModelRef, parse_ref
from mlops_box.serving.door import Door, Row, parse_object
from mlops_box.serving.guard import Guard
from mlops_box.serving.problems import ContractViolation, Headers, HttpProblem, problem_of
from mlops_box.serving.slot import Slot
from mlops_box.serving.truth import TruthReader
from mlops_box_services import describe
from mlops_box_services.runtime import Runtime

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

BODY_TIMEOUT_S = 30.0
# BentoML's own pages; whatever else it might offer stays closed.
_INNER_PATHS = frozenset({"/", "/schema.json", "/healthz"})
_INNER_FOLDERS = ("/static_content/", "/assets/")
_JSON = (b"content-type", b"application/json")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


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
        self._document = document
        self._guard = guard or Guard()
        self._runtime: Runtime | None = None
        self._id_prefix = secrets.token_hex(6)
        self._id_counter = itertools.count()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _lifespan(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
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

    async def _http(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        runtime = self._runtime
        request_id = b"-"
        try:
            given = self._guard.check(scope["method"], scope["headers"])
            request_id = self._request_id(given)
            if runtime is None:
                raise HttpProblem(
                    503, "starting", "the server is starting", headers=((b"retry-after", b"1"),)
                )
            path: str = scope["path"]
            if path.startswith("/models/") and path.endswith("/predict") and scope["method"] == "POST":
                started_s = runtime.box.clock.monotonic_s()
                body = await self._body(receive)
                answer, version = await self._predict(
                    runtime, path[8:-8], lambda door: door.parse(body), started_s
                )
                await _send(send, 200, answer, request_id, ((b"x-model-version", version),))
                return
            await self._other(runtime, scope, receive, send, request_id)
        except ClientGone:
            return
        except HttpProblem as problem:
            await self._refuse(send, problem, request_id)
        except BoxError as error:
            await self._refuse(send, problem_of(error), request_id)
        except Exception:  # the process's boundary: the client gets a shape it knows, the log the rest
            log.exception("request %s failed", request_id.decode())
            message = "an unexpected failure; the server's log has it under this request id"
            await self._refuse(send, HttpProblem(500, "internal", message), request_id)

    async def _predict(
        self, runtime: Runtime, name: str, rows_for: Callable[[Door], list[Row]], started_s: float
    ) -> tuple[bytes, bytes]:
        slot = runtime.router.champion(name)
        variant = "champion"
        if slot is None:
            slot = await self._slot(runtime, name)
            variant = "direct"
        try:
            rows = rows_for(slot.door)
            reply = await runtime.predictor.predict(slot, rows, variant, started_s)
        except BoxError as error:
            runtime.metrics.failed(slot.version.model, str(slot.version.number), error.code)
            raise
        answers = reply.answers
        content: dict[str, Any] = {"model": slot.ref, "predictions": answers.predictions, "ids": reply.ids}
        if answers.probabilities is not None:
            content["probabilities"] = answers.probabilities
            content["classes"] = slot.version.signature.classes
        return orjson.dumps(content), slot.number_header

    async def _slot(self, runtime: Runtime, name: str) -> Slot:
        """The slot of ``name@7``, loaded in a thread when it is not in memory."""
        ref = _reference(name)
        slot = runtime.router.loaded(ref)
        if slot is None:
            slot = await asyncio.get_running_loop().run_in_executor(None, runtime.router.load, ref)
        return slot

    async def _other(
        self,
        runtime: Runtime,
        scope: MutableMapping[str, Any],
        receive: Receive,
        send: Send,
        request_id: bytes,
    ) -> None:
        path, method = scope["path"], scope["method"]
        status = 200
        content: dict[str, Any]
        if path == "/livez":
            _allow(method, "GET")
            content = {"alive": True}
        elif path == "/readyz":
            _allow(method, "GET")
            content = runtime.readiness()
            status = 200 if content["ready"] else 503
        elif path == "/metrics":
            _allow(method, "GET")
            await _send(
                send,
                200,
                runtime.metrics_text(),
                request_id,
                kind=(b"content-type", b"text/plain; version=0.0.4"),
            )
            return
        elif path == "/docs.json":
            _allow(method, "GET")
            content = describe.openapi(self._document())
        elif path == "/models":
            _allow(method, "GET")
            content = describe.model_list(runtime.router)
        elif path == "/predict":
            _allow(method, "POST")
            started_s = runtime.box.clock.monotonic_s()
            request = parse_object(await self._body(receive), allowed=("model", "rows"))
            if not isinstance(request["model"], str):
                raise UsageError("`model` is no text", hint='send "name" or "name@7"')
            answer, version = await self._predict(
                runtime, request["model"], lambda door: door.checked(request["rows"]), started_s
            )
            await _send(send, 200, answer, request_id, ((b"x-model-version", version),))
            return
        elif path.startswith("/models/"):
            content = await self._model(runtime, method, path.removeprefix("/models/"), receive)
        elif path in _INNER_PATHS or path.startswith(_INNER_FOLDERS):
            _allow(method, "GET")
            await self._inner(scope, receive, send)
            return
        else:
            raise NotFoundError(f"there is nothing under {path[:80]}", hint="GET /docs.json lists all paths")
        data = orjson.dumps(content, default=str, option=orjson.OPT_NON_STR_KEYS)
        await _send(send, status, data, request_id)

    async def _model(self, runtime: Runtime, method: str, rest: str, receive: Receive) -> dict[str, Any]:
        name, _, act = rest.partition("/")
        if act == "":
            _allow(method, "GET")
            return describe.model(await self._slot(runtime, name), runtime.router)
        if act == "predict":
            _allow(method, "POST")
        if act != "feedback":
            raise NotFoundError(
                f"there is nothing under /models/{rest[:80]}", hint="GET /docs.json lists all paths"
            )
        _allow(method, "POST")
        body = await self._body(receive)
        slot = await self._slot(runtime, name)
        try:
            truths = TruthReader(slot.version.signature).read_all(_truth_items(body))
            runtime.predictor.store_truth(slot.version.model, truths)
        except BoxError as error:
            runtime.metrics.failed(slot.version.model, str(slot.version.number), f"feedback_{error.code}")
            raise
        return {"model": slot.version.model, "stored": len(truths)}

    async def _body(self, receive: Receive) -> bytes:
        """The whole body, counted while it comes in."""
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                body: bytes = message.get("body", b"")
                if not message.get("more_body"):
                    if len(body) > self._guard.max_body_bytes:
                        raise self._guard.too_large()
                    return body
                parts, size = [body], len(body)
                while message.get("more_body"):
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > self._guard.max_body_bytes:
                        raise self._guard.too_large()
                return b"".join(parts)
        except TimeoutError:
            raise HttpProblem(
                408,
                "timeout",
                f"the body did not arrive within {BODY_TIMEOUT_S:.0f} s",
                headers=((b"connection", b"close"),),
            ) from None

    def _request_id(self, given: bytes | None) -> bytes:
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given
        return b"%b-%x" % (self._id_prefix.encode(), next(self._id_counter))

    async def _refuse(self, send: Send, problem: HttpProblem, request_id: bytes) -> None:
        if self._runtime is not None:
            self._runtime.metrics.refused(problem.code)
        await _send(send, problem.status, problem.body(), request_id, problem.headers)


async def _send(
    send: Send,
    status: int,
    body: bytes,
    request_id: bytes,
    extra: Headers = (),
    *,
    kind: tuple[bytes, bytes] = _JSON,
) -> None:
    headers = [kind, (b"content-length", b"%d" % len(body)), (b"x-request-id", request_id), *extra]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _reference(name: str) -> ModelRef:
    try:
        return parse_ref(name)
    except UsageError as error:
        raise NotFoundError(error.message, hint=error.hint) from None


def _allow(method: str, allowed: str) -> None:
    if method != allowed and not (method == "HEAD" and allowed == "GET"):
        raise HttpProblem(
            405,
            "method",
            f"{method} is not possible here",
            hint=f"use {allowed}",
            headers=((b"allow", allowed.encode()),),
        )


def _truth_items(body: bytes) -> list[tuple[object, object]]:
    items = parse_object(body, allowed=("truth",))["truth"]
    if not isinstance(items, list) or not items:
        raise UsageError("`truth` is no list of truths", hint='send {"truth": [{"id": "...", "value": ...}]}')
    for index, item in enumerate(items):
        if not isinstance(item, dict) or set(item) != {"id", "value"}:
            message = "a truth has exactly the keys id and value"
            raise ContractViolation(
                [{"row": index, "column": None, "rule": "truth.form", "message": message}]
            )
    return [(item["id"], item["value"]) for item in items]
