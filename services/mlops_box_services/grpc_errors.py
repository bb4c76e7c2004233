"""Our errors over gRPC: a status, a text for people, and the one JSON shape for programs.

The shape travels in the trailing metadata ``mlops-box-error-bin``, without ``details`` where these would not fit: peers
accept 8 KiB of metadata in all.
"""

from __future__ import annotations

import grpc
import orjson

from mlops_box.serving.problems import HttpProblem

ERROR_KEY = "mlops-box-error-bin"
# gRPC's own way to say when to try again (gRFC A6).
RETRY_KEY = "grpc-retry-pushback-ms"
_MAX_SHAPE_BYTES = 3_000
_MAX_TEXT = 800
_CODES: dict[int, grpc.StatusCode] = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}
Metadata = tuple[tuple[str, str | bytes], ...]


def status_of(problem: HttpProblem) -> tuple[grpc.StatusCode, str, Metadata]:
    """Code, text and trailing metadata of an error that HTTP would answer with ``problem``."""
    text = f"{problem.message}; {problem.hint}" if problem.hint else problem.message
    metadata: list[tuple[str, str | bytes]] = [(ERROR_KEY, _shape(problem))]
    if any(name == b"retry-after" for name, _ in problem.headers):
        metadata.append((RETRY_KEY, "1000"))
    code = _CODES.get(problem.status, grpc.StatusCode.INTERNAL)
    return code, text[:_MAX_TEXT], tuple(metadata)


def _shape(problem: HttpProblem) -> bytes:
    whole = problem.body()
    if len(whole) <= _MAX_SHAPE_BYTES:
        return whole
    message, hint = problem.message[:_MAX_TEXT], problem.hint[:_MAX_TEXT] if problem.hint else None
    return orjson.dumps({"error": {"code": problem.code, "message": message, "hint": hint, "details": {}}})
