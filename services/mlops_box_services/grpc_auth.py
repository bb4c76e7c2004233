"""Who may call which procedure, where tokens are asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from mlops_box.serving.authorization import Authorizer, Need
from mlops_box.serving.problems import HttpProblem
from mlops_box_services.grpc_errors import status_of

# What /livez and /readyz are for HTTP.
_OPEN = frozenset({"/grpc.health.v1.Health/Check"})
Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]


class TokenInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Asks for the metadata ``authorization: Bearer TOKEN``, as HTTP does for the header."""

    def __init__(self, authorizer: Authorizer):
        self._authorizer = authorizer

    async def intercept_service(self, continuation: Continuation, details: grpc.HandlerCallDetails) -> Any:
        need: Need = "open" if details.method in _OPEN else "predict"
        given = next(
            (value for key, value in details.invocation_metadata or () if key == "authorization"), None
        )
        try:
            self._authorizer.allowed(given.encode() if isinstance(given, str) else given, need)
        except HttpProblem as problem:
            return _refusing(problem, await continuation(details))
        return await continuation(details)


def _refusing(problem: HttpProblem, handler: Any) -> Any:
    """A handler of the same form that only refuses; what there is not stays unimplemented."""
    if handler is None:
        return None
    code, text, metadata = status_of(problem)

    async def refuse(request: Any, context: Any) -> Any:
        await context.abort(code, text, metadata)

    async def refuse_stream(request: Any, context: Any) -> Any:
        await context.abort(code, text, metadata)
        yield None

    if handler.response_streaming:
        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_stream_rpc_method_handler
        )
        return make(refuse_stream, handler.request_deserializer, handler.response_serializer)
    make = (
        grpc.stream_unary_rpc_method_handler
        if handler.request_streaming
        else grpc.unary_unary_rpc_method_handler
    )
    return make(refuse, handler.request_deserializer, handler.response_serializer)
