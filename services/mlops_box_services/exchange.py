"""One HTTP request and its answer, as the routes see them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from mlops_box.serving.guard import Guard, is_json
from mlops_box.serving.predictor import Reply
from mlops_box.serving.problems import Headers, HttpProblem
from mlops_box.serving.slot import Slot
from mlops_box_services.observing import Observed
from mlops_box_services.runtime import Runtime

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Scope = MutableMapping[str, Any]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_TIMEOUT_S = 30.0
JSON_TYPE = b"application/json"
OCTETS = b"application/octet-stream"
CLIENT_GONE = "client_gone"
# nginx's number for it; no answer was sent.
_CLIENT_GONE_STATUS = 499


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


class Sent:
    """Passes messages on, and keeps what was sent."""

    __slots__ = ("_send", "bytes", "status")

    def __init__(self, send: Send):
        self._send = send
        self.status = 0
        self.bytes = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.bytes += len(message.get("body", b""))
        await self._send(message)


@dataclass(slots=True)
class Exchange:
    """One request. Routes see it once it has passed the guard.

    Attributes:
        headers: Names in lower case.
        started_s: When it arrived, by the clock's monotonic counter.
        whole: The body, where it came in one piece with the headers.
        request_id: The client's, or one made here.
        runtime: What serves.
        route: The template of the path, once it is known.
        slot, variant, reply: Which version was asked, as what, and its answer, as far as it came to that.
        sent: What another app answered in our place.
        outcome: ``ok`` or the code of the error.
    """

    scope: Scope
    receive: Receive
    send: Send
    guard: Guard
    started_s: float
    method: str
    path: str
    headers: list[tuple[bytes, bytes]]
    whole: bytes | None = None
    request_id: bytes = b"-"
    runtime: Runtime = field(init=False)
    bytes_in: int = 0
    route: str | None = None
    slot: Slot | None = None
    variant: str | None = None
    reply: Reply | None = None
    sent: Sent | None = None
    outcome: str = "ok"

    def header(self, name: bytes) -> bytes | None:
        """The first header of that (lower case) name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    async def body(self) -> bytes:
        """The whole body, see :func:`read_body`."""
        body = self.whole if self.whole is not None else await read_body(self.receive, self.guard)
        self.bytes_in = len(body)
        return body


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    status: int
    body: bytes
    content_type: bytes = JSON_TYPE
    headers: Headers = ()


def json_answer(content: Any, status: int = 200, headers: Headers = ()) -> Answer:
    data = orjson.dumps(content, default=str, option=orjson.OPT_NON_STR_KEYS)
    return Answer(status, data, JSON_TYPE, headers)


async def read_body(receive: Receive, guard: Guard) -> bytes:
    """The whole body, counted while it comes in.

    Raises:
        ClientGone: The connection was closed first.
        HttpProblem: 413 larger than the guard allows, 408 not there in time.
    """
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            body: bytes = message.get("body", b"")
            if not message.get("more_body"):
                if len(body) > guard.max_body_bytes:
                    raise guard.too_large()
                return body
            parts, size = [body], len(body)
            while message.get("more_body"):
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > guard.max_body_bytes:
                    raise guard.too_large()
            return b"".join(parts)
    except TimeoutError:
        raise HttpProblem(
            408,
            "timeout",
            f"the body did not arrive within {BODY_TIMEOUT_S:.0f} s",
            headers=((b"connection", b"close"),),
        ) from None


async def send_answer(send: Send, answer: Answer, request_id: bytes) -> None:
    body = answer.body
    headers = [
        (b"content-type", answer.content_type),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request_id),
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def observe(exchange: Exchange, answer: Answer | None, ended_s: float) -> Observed:
    """What there is to tell of a request that is over.

    Args:
        answer: ``None``: somebody else answered, or nobody.
    """
    status, size = (answer.status, len(answer.body)) if answer is not None else (_CLIENT_GONE_STATUS, 0)
    if answer is None and exchange.sent is not None:
        status, size = exchange.sent.status, exchange.sent.bytes
    client = exchange.scope.get("client")
    slot, reply, outcome = exchange.slot, exchange.reply, exchange.outcome
    return Observed(
        exchange.started_s, ended_s, "http", exchange.method, exchange.route, status,
        reply.answers.outcome if reply is not None and outcome == "ok" else outcome,
        exchange.request_id, exchange.headers, client[0] if client else None, exchange.bytes_in, size,
        model=slot.version.model if slot is not None else None,
        version=slot.version.number if slot is not None else None,
        variant=exchange.variant,
        rows=len(reply.ids) if reply is not None else None,
        joined_s=reply.joined_s if reply is not None else None,
        call=reply.call if reply is not None else None,
    )  # fmt: skip


async def json_body(exchange: Exchange) -> bytes:
    """The body of a request that has to be JSON.

    Raises:
        HttpProblem: 415 it says that it is something else.
    """
    if not is_json(exchange.header(b"content-type")):
        raise HttpProblem(
            415,
            "content_type",
            "this path reads JSON only",
            hint="send it with Content-Type: application/json",
        )
    return await exchange.body()
