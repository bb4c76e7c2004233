"""What may go wrong with a request, and the HTTP status of every error."""

from __future__ import annotations

from typing import Any

from mlops_box.errors import (
    BoxError,
    BusyError,
    GateError,
    NotFoundError,
    RefusedError,
    StorageError,
    UnavailableError,
    UsageError,
)
from mlops_box.json_bytes import dumps

Headers = tuple[tuple[bytes, bytes], ...]
MAX_PROBLEMS = 20


class ContractViolation(UsageError):
    """Rows broke the contract or are no rows; nothing was predicted.

    Args:
        problems: ``{"row", "column", "rule", "message"}`` each; ``row`` counts from 0. At most 20 are kept.
    """

    code = "contract"

    def __init__(self, problems: list[dict[str, Any]], *, total: int | None = None, hint: str | None = None):
        first = problems[0]
        count = total if total is not None else len(problems)
        more = f" (and {count - 1} more)" if count > 1 else ""
        super().__init__(
            f"row {first['row']}: {first['message']}{more}",
            hint=hint or first.get("hint") or "mend the row and send it again; nothing was predicted",
            details={"problems": problems[:MAX_PROBLEMS]},
        )


class MalformedBody(UsageError):
    """A request's body is not what its content type says: no JSON, no Arrow stream."""

    code = "malformed"


class Overloaded(BusyError):
    """The queue of a model is full."""

    code = "overloaded"


class HttpProblem(Exception):
    """A request that is answered with an error, in the one JSON shape of all errors.

    Args:
        details: An object, or the list of problems of a contract violation.
        headers: Further response headers.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        hint: str | None = None,
        details: dict[str, Any] | list[Any] | None = None,
        headers: Headers = (),
    ):
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
        self.details = details if details is not None else {}
        self.headers = headers

    def body(self) -> bytes:
        error = {"code": self.code, "message": self.message, "hint": self.hint, "details": self.details}
        return dumps({"error": error}, default=str)

    def protocol_body(self) -> bytes:
        """The same for clients of the Open Inference Protocol, who read ``error`` as a text: laid flat."""
        text = f"{self.message}; {self.hint}" if self.hint else self.message
        flat = {
            "error": text,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "details": self.details,
        }
        return dumps(flat, default=str)


_STATUS: tuple[tuple[type[BoxError], int], ...] = (
    (ContractViolation, 422),
    (MalformedBody, 400),
    (NotFoundError, 404),
    (UsageError, 422),
    (RefusedError, 422),
    (GateError, 409),
    (Overloaded, 429),
    (BusyError, 503),
    (UnavailableError, 503),
    (StorageError, 503),
)


def problem_of(error: BoxError) -> HttpProblem:
    """The HTTP answer to one of our errors; what has no better status is 500."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    details: Any = error.details["problems"] if isinstance(error, ContractViolation) else error.details
    retry: Headers = ((b"retry-after", b"1"),) if status in (429, 503) else ()
    return HttpProblem(status, error.code, error.message, hint=error.hint, details=details, headers=retry)
