"""Which handler answers a path, and every request's one way: guard, token, route, one shape of errors.

The shapes are those of the box's own server: they are made by the same modules.
"""

from __future__ import annotations

import logging
import re
from typing import Callable, Dict, Tuple

from mlops_box.errors import BoxError, NotFoundError
from mlops_box.serving.authorization import Authorizer, Need
from mlops_box.serving.guard import Guard, is_json
from mlops_box.serving.problems import HttpProblem, problem_of
from mlops_box.serving.request_ids import RequestIds
from mlops_box.serving.truth import truth_items

from . import protocol, rows
from .device import Device
from .drift import drift_page
from .exchange import Answer, Request, json_answer
from .metrics_page import CONTENT_TYPE, metrics_page

log = logging.getLogger(__name__)

Handler = Callable[..., Answer]
Outbox = Callable[[bytes], bytes]
_Methods = Dict[str, Tuple[Handler, Need]]


class App:
    """Answers requests; for any thread.

    Args:
        guard: By which names the server is called.
        authorizer: Asks for tokens; ``None``: nobody is asked.
        outbox: Gives the next batch for the box that an acknowledgement comes from.
    """

    def __init__(
        self, device: Device, guard: Guard, authorizer: Authorizer | None = None, outbox: Outbox | None = None
    ) -> None:
        self.device = device
        self._guard = guard
        self._authorizer = authorizer
        self._outbox = outbox
        self._request_ids = RequestIds()
        self._exact: dict[str, _Methods] = {}
        self._patterns: list[tuple[re.Pattern[str], _Methods]] = []
        self._add_routes()

    def respond(self, request: Request) -> Answer:
        """The answer, whatever happens."""
        is_protocol = request.path.startswith(protocol.ROOT)
        try:
            given = self._guard.check(request.method, request.headers, may_be_untyped=is_protocol)
            request.request_id = self._request_ids.take(given)
            methods, parts = self._methods(request.path)
            if self._authorizer is not None:
                self._authorizer.allowed(request.header(b"authorization"), _need(methods, request.method))
            handler, _ = _of_method(methods, request)
            return handler(request, **parts)
        except HttpProblem as problem:
            return self.refusal(problem, is_protocol)
        except BoxError as error:
            return self.refusal(problem_of(error), is_protocol)
        except Exception:  # the process's boundary: the client gets a shape it knows, the log the rest
            log.exception("request %s failed", request.request_id.decode())
            message = "an unexpected failure; the server's log has it under this request id"
            return self.refusal(HttpProblem(500, "internal", message), is_protocol)

    def refusal(self, problem: HttpProblem, is_protocol: bool = False) -> Answer:
        """The answer to what is refused; it was counted."""
        self.device.refused(problem.code)
        body = problem.protocol_body() if is_protocol else problem.body()
        return Answer(problem.status, body, headers=problem.headers)

    def _add_routes(self) -> None:
        add = self._add
        add(
            "POST",
            "/models/{name}/predict",
            lambda request, name: rows.predict(self.device, request, name),
            "predict",
        )
        add("POST", "/models/{name}/feedback", self._feedback, "feedback")
        add("GET", "/livez", lambda request: json_answer({"alive": True}), "open")
        add("GET", "/readyz", lambda request: json_answer(self.device.readiness()), "open")
        add("GET", "/metrics", self._metrics, "admin")
        add("GET", "/drift", self._drift, "admin")
        if self._outbox is not None:
            # Its caller proves itself by the box's signature.
            add("POST", "/edge/outbox", self._next_batch, "open")
        for path, method, handler in protocol.routes(self.device):
            add(method, path, handler, "predict")

    def _add(self, method: str, path: str, handler: Handler, needs: Need) -> None:
        if "{" not in path:
            self._exact.setdefault(path, {})[method] = handler, needs
            return
        pattern = re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path)))
        for known, methods in self._patterns:
            if known.pattern == pattern.pattern:
                methods[method] = handler, needs
                return
        self._patterns.append((pattern, {method: (handler, needs)}))

    def _methods(self, path: str) -> tuple[_Methods | None, dict[str, str]]:
        found = self._exact.get(path)
        if found is not None:
            return found, {}
        for pattern, methods in self._patterns:
            match = pattern.fullmatch(path)
            if match:
                return methods, match.groupdict()
        return None, {}

    def _feedback(self, request: Request, name: str) -> Answer:
        if not is_json(request.header(b"content-type")):
            raise HttpProblem(
                415,
                "content_type",
                "this path reads JSON only",
                hint="send it with Content-Type: application/json",
            )
        body = request.read_body()
        served = self.device.named(name)
        stored = self.device.store_truths(served, lambda: truth_items(body))
        return json_answer({"model": served.model, "stored": stored})

    def _metrics(self, request: Request) -> Answer:
        return Answer(200, metrics_page(self.device.snapshot()), CONTENT_TYPE)

    def _drift(self, request: Request) -> Answer:
        return json_answer(drift_page(self.device.served, self.device.histograms))

    def _next_batch(self, request: Request) -> Answer:
        assert self._outbox is not None
        return Answer(200, self._outbox(request.read_body()), b"application/vnd.mlops-box.sync+json")


def _need(methods: _Methods | None, method: str) -> Need | None:
    """What a caller must be allowed to do; ``None`` for what is no route, which only a valid token gets to know."""
    found = (methods or {}).get("GET" if method == "HEAD" else method)
    return found[1] if found is not None else None


def _of_method(methods: _Methods | None, request: Request) -> tuple[Handler, Need]:
    if methods is None:
        raise NotFoundError(f"there is nothing under {request.path[:80]}")
    found = methods.get("GET" if request.method == "HEAD" else request.method)
    if found is None:
        allowed = ", ".join(sorted(methods))
        headers = ((b"allow", allowed.encode()),)
        raise HttpProblem(
            405, "method", f"{request.method} is not possible here", hint=f"use {allowed}", headers=headers
        )
    return found
