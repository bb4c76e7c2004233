"""Every request's one way: guard, token, route, one shape of errors.

The shapes are those of the box's own server: they are made by the same modules.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Callable

from mlops_box.errors import BoxError
from mlops_box.serving.guard import Guard, is_json
from mlops_box.serving.problems import HttpProblem, problem_of
from mlops_box.serving.request_ids import RequestIds
from mlops_box.serving.truth import truth_items

from . import rows
from .device import Device
from .exchange import Answer, Request, json_answer
from .journal import tell_failure
from .metrics_page import CONTENT_TYPE, metrics_page
from .routes import Routes, handler_of, need

if TYPE_CHECKING:
    from mlops_box.serving.authorization import Authorizer

Outbox = Callable[[bytes], bytes]
PROTOCOL_ROOT = "/v2"


class App:
    """Answers requests; for any thread.

    Args:
        guard: By which names the server is called.
        authorizer: Asks for tokens; ``None``: nobody is asked.
        outbox: Gives the next batch for the box that an acknowledgement comes from.
    """

    def __init__(
        self,
        device: Device,
        guard: Guard,
        authorizer: Authorizer | None = None,
        outbox: Outbox | None = None,
    ) -> None:
        self.device = device
        self._guard = guard
        self._authorizer = authorizer
        self._outbox = outbox
        self._request_ids = RequestIds()
        self._routes = Routes()
        self._adding = threading.Lock()
        self._knows_protocol = False
        self._add_own()

    def respond(self, request: Request) -> Answer:
        """The answer, whatever happens."""
        is_protocol = request.path.startswith(PROTOCOL_ROOT)
        try:
            given = self._guard.check(request.method, request.headers, may_be_untyped=is_protocol)
            request.request_id = self._request_ids.take(given)
            if is_protocol and not self._knows_protocol:
                self._add_protocol()
            methods, parts = self._routes.methods(request.path)
            if self._authorizer is not None:
                needs = need(methods, request.method)
                self._authorizer.allowed(request.header(b"authorization"), needs)
            return handler_of(methods, request.method, request.path)(request, **parts)
        except HttpProblem as problem:
            return self.refusal(problem, is_protocol)
        except BoxError as error:
            return self.refusal(problem_of(error), is_protocol)
        except Exception:  # noqa: BLE001 - the process's boundary: the client gets a shape it knows, the journal the rest
            tell_failure(f"request {request.request_id.decode()} failed")
            message = "an unexpected failure; the server's log has it under this request id"
            return self.refusal(HttpProblem(500, "internal", message), is_protocol)

    def refusal(self, problem: HttpProblem, is_protocol: bool = False) -> Answer:
        """The answer to what is refused; it was counted."""
        self.device.refused(problem.code)
        body = problem.protocol_body() if is_protocol else problem.body()
        return Answer(problem.status, body, headers=problem.headers)

    def _add_own(self) -> None:
        add = self._routes.add
        add("POST", "/models/{name}/predict", self._predict, "predict")
        add("POST", "/models/{name}/feedback", self._feedback, "feedback")
        add("GET", "/livez", lambda request: json_answer({"alive": True}), "open")
        add("GET", "/readyz", lambda request: json_answer(self.device.readiness()), "open")
        add("GET", "/metrics", self._metrics, "admin")
        add("GET", "/drift", self._drift, "admin")
        # Who asks for the outbox proves itself by the box's signature.
        add("POST", "/edge/outbox", self._next_batch, "open")

    def _add_protocol(self) -> None:
        """When it is first spoken: few devices are asked in it, and to import it takes a tenth of a start."""
        from . import protocol

        with self._adding:
            if not self._knows_protocol:
                for path, method, handler in protocol.routes(self.device):
                    self._routes.add(method, path, handler, "predict")
                self._knows_protocol = True

    def _predict(self, request: Request, name: str) -> Answer:
        return rows.predict(self.device, request, name)

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
        from .drift import drift_page

        return json_answer(drift_page(self.device.served, self.device.histograms))

    def _next_batch(self, request: Request) -> Answer:
        if self._outbox is None:
            raise HttpProblem(404, "not_found", "this server has no outbox")
        return Answer(200, self._outbox(request.read_body()), b"application/vnd.mlops-box.sync+json")
