"""One HTTP request and its answer, as the routes see them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import orjson

from mlops_box.serving.guard import Guard
from mlops_box.serving.problems import Headers, HttpProblem
from mlops_box_services.runtime import Runtime

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Scope = MutableMapping[str, Any]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_TIMEOUT_S = 30.0
JSON_TYPE = b"application/json"
OCTETS = b"application/octet-stream"


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


@dataclass(slots=True)
class Exchange:
    """A request that passed the guard.

    Attributes:
        request_id: The client's, or one made here.
        started_s: When it arrived, by the clock's monotonic counter.
    """

    scope: Scope
    receive: Receive
    send: Send
    runtime: Runtime
    guard: Guard
    request_id: bytes
    started_s: float

    @property
    def path(self) -> str:
        return str(self.scope["path"])

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    def header(self, name: bytes) -> bytes | None:
        """The first header of that (lower case) name."""
        return next((value for key, value in self.scope["headers"] if key == name), None)

    async def body(self) -> bytes:
        """The whole body, see :func:`read_body`."""
        return await read_body(self.receive, self.guard)


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
