"""uvicorn's HTTP protocol with a short way for requests that come in one piece.

uvicorn gives every request a task, and hands body, head and answer over in messages; around a model of 20 µs that is half
of the work. Here a request whose body came with its head is answered without either: the front's coroutine runs at once,
in the callback that brought the data, and goes on when its batch is done. Whatever is not plain (a body in several
pieces, pipelining, upgrades, pages) takes uvicorn's own way, which this class only extends.

What runs so is no task: the handler of a POST may await the batcher and futures, not what asks for the current task, such
as ``asyncio.timeout``.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Coroutine
from functools import lru_cache
from typing import Any, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from mlops_box.serving.batcher import Ticket
from mlops_box_services.bounded_http import BoundedHttpProtocol
from mlops_box_services.exchange import Answer, Exchange, Message, Scope
from mlops_box_services.front import Front

log = logging.getLogger(__name__)

_UNSAFE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class EagerHttpProtocol(BoundedHttpProtocol):
    """One connection."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self._front = self.app if isinstance(self.app, Front) else None
        self._waiting: bytes | None = None
        self._idle_since_s: float | None = None
        self._default_headers: list[tuple[bytes, bytes]] | None = None
        self._default_head = b""

    def on_headers_complete(self) -> None:
        """Keep a plain request until its body is there; start any other."""
        busy = self.cycle is not None and not self.cycle.response_complete
        if (
            self._front is None
            or busy
            or self.parser.get_method() != b"POST"
            or self.expect_100_continue
            or self.flow.write_paused
            or self.limit_concurrency is not None
            or not self.parser.should_keep_alive()
            or self.parser.should_upgrade()
        ):
            super().on_headers_complete()
        else:
            self._waiting = b""

    def on_body(self, body: bytes) -> None:
        if self._waiting is None:
            super().on_body(body)
        else:
            self._waiting = self._waiting + body if self._waiting else body

    def on_message_complete(self) -> None:
        if self._waiting is None:
            super().on_message_complete()
            return
        body, self._waiting = self._waiting, None
        scope = cast(Scope, self.scope)
        scope["method"] = "POST"
        path, scope["raw_path"], scope["query_string"] = _split(self.url)
        scope["path"] = path
        assert self._front is not None
        if not self._front.is_own(path):
            self._start_slowly(body, complete=True)
            return
        exchange = self._front.exchange(scope, _nothing_to_receive, _nothing_to_send, body)
        call = _Call(self, exchange)
        self.cycle = cast(RequestResponseCycle, call)
        call.start(self._front.respond(exchange))

    def start_incomplete(self) -> None:
        """The data is used up, the body not there: uvicorn's way."""
        if self._waiting is not None and not self.transport.is_closing():
            body, self._waiting = self._waiting, None
            self._start_slowly(body, complete=False)

    def _start_slowly(self, body: bytes, *, complete: bool) -> None:
        super().on_headers_complete()
        self.cycle.body += body
        self.cycle.more_body = not complete
        self.cycle.message_event.set()

    def answered(self, exchange: Exchange, answer: Answer | None, *, keep_alive: bool) -> None:
        """Send the answer of a request that went the short way."""
        if answer is None or self.transport.is_closing():
            self.transport.close()
            return
        self.transport.write(self._message(exchange, answer, keep_alive=keep_alive))
        if not keep_alive or any(name == b"connection" for name, _ in answer.headers):
            self.transport.close()
        assert self._front is not None
        self._front.done(exchange, answer)
        self.on_response_complete()

    def _message(self, exchange: Exchange, answer: Answer, *, keep_alive: bool) -> bytes:
        body = answer.body
        parts = [
            STATUS_LINE[answer.status],
            self._default(),
            b"content-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n"
            % (answer.content_type, len(body), exchange.request_id),
        ]
        for name, value in answer.headers:
            if _UNSAFE.search(value):
                raise RuntimeError("a header's value has control characters")
            parts += (name, b": ", value, b"\r\n")
        if not keep_alive:
            parts.append(b"connection: close\r\n")
        parts += (b"\r\n", body)
        return b"".join(parts)

    def _default(self) -> bytes:
        """uvicorn's own headers, such as the date; it replaces their list once a second."""
        headers = self.server_state.default_headers
        if headers is not self._default_headers:
            self._default_headers = headers
            self._default_head = b"".join([b"%b: %b\r\n" % header for header in headers])
        return self._default_head

    # One timer a connection looks whether it has been idle for long, in place of one timer a request.

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since_s = None

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            return
        self._idle_since_s = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_again(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self._idle_since_s is None:
            return
        left_s = self._idle_since_s + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self._look_again(left_s)
        else:
            super().timeout_keep_alive_handler()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        super().connection_lost(exc)

    def _look_again(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)


class _Call:
    """A request on the short way; to uvicorn it looks like the cycle of one of its own.

    It steps the coroutine as a task would, without being one: what the coroutine awaits wakes it up.
    """

    __slots__ = (
        "_coroutine", "_exchange", "_protocol", "body", "disconnected", "keep_alive", "message_event", "more_body",
        "response_complete",
    )  # fmt: skip

    def __init__(self, protocol: EagerHttpProtocol, exchange: Exchange):
        self._protocol = protocol
        self._exchange = exchange
        self.response_complete = False
        self.disconnected = False
        self.keep_alive = True
        self.message_event = _NEVER
        self.body = b""
        self.more_body = False

    def start(self, coroutine: Coroutine[Any, Any, Answer | None]) -> None:
        self._coroutine = coroutine
        self.step()

    def step(self, done: object = None) -> None:
        """Run until the next wait or to the end."""
        try:
            awaited = self._coroutine.send(None)
        except StopIteration as stopped:
            self._finish(stopped.value)
        except Exception:  # the boundary: the connection ends, the server goes on
            log.exception("request %s failed", self._exchange.request_id.decode())
            self._finish(None)
        except asyncio.CancelledError:
            self._finish(None)
        else:
            if type(awaited) is Ticket:
                awaited.wake = self.step
            elif awaited is None:
                self._protocol.loop.call_soon(self.step)
            else:
                awaited._asyncio_future_blocking = False
                awaited.add_done_callback(self.step)

    def _finish(self, answer: Answer | None) -> None:
        self.response_complete = True
        # An idle connection keeps its last call, which must not keep the version that answered it.
        exchange = self._exchange
        del self._exchange
        if not self.disconnected:
            self._protocol.answered(exchange, answer, keep_alive=self.keep_alive)


class _Never(asyncio.Event):
    """uvicorn sets the event of a lost connection's cycle; nobody waits for this one."""

    def set(self) -> None:
        pass


_NEVER = _Never()


@lru_cache(maxsize=1024)
def _split(url: bytes) -> tuple[str, bytes, bytes]:
    """(path, raw path, query) of a request's target."""
    parsed = httptools.parse_url(url)
    path = parsed.path.decode("ascii")
    return unquote(path) if "%" in path else path, parsed.path, parsed.query or b""


async def _nothing_to_receive() -> Message:
    raise RuntimeError("the whole body is there already")


async def _nothing_to_send(message: Message) -> None:
    raise RuntimeError("an answer on the short way is returned, not sent")
