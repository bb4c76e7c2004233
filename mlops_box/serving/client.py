"""A small HTTP client for the box's own server; standard library only."""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlops_box.errors import (
    BoxError,
    BusyError,
    GateError,
    IntegrityError,
    NotFoundError,
    StorageError,
    UnavailableError,
    UsageError,
)
from mlops_box.serving.address import ServerAddress
from mlops_box.serving.local_token import local_token
from mlops_box.serving.problems import ContractViolation, MalformedBody

_KINDS: dict[str, type[BoxError]] = {
    kind.code: kind
    for kind in (
        UsageError,
        MalformedBody,
        NotFoundError,
        GateError,
        BusyError,
        UnavailableError,
        IntegrityError,
        StorageError,
    )
}


class ServerClient:
    """Calls one server; a call is one connection.

    Args:
        timeout_s: For connecting and for each answer.
        token: Sent where the server asks for one.
    """

    def __init__(self, address: ServerAddress, *, timeout_s: float = 30.0, token: str | None = None):
        self._address = address
        self._token = token
        self._timeout_s = timeout_s

    def is_alive(self) -> bool:
        """Whether it answers at all, within a second."""
        try:
            return self._call("GET", "/livez", None, timeout_s=1.0)[0] == 200
        except UnavailableError:
            return False

    def get(self, path: str) -> dict[str, Any]:
        """The JSON under a path such as ``/models``.

        Raises:
            UnavailableError: The server does not answer.
            BoxError: What the server says is wrong.
        """
        return self._answer("GET", path, None)

    def predict(
        self,
        ref: str,
        rows: Sequence[dict[str, Any]],
        *,
        entities: Sequence[dict[str, Any]] | None = None,
        explain: bool = False,
        request_id: str | None = None,
    ) -> dict[str, Any]:
        """The server's answer: model, predictions, ids, and probabilities for classifiers.

        Args:
            entities: One a row, whose features are looked up; ``None``: the rows hold all features.
            explain: Tell what was looked up.
            request_id: By which the server's access log and traces are to know it; its own when ``None``.

        Raises:
            ContractViolation: A row breaks the contract.
            UnavailableError: The server does not answer.
        """
        body = {"rows": list(rows)} | ({"entities": list(entities)} if entities is not None else {})
        query = "?explain=features" if explain else ""
        path = f"/models/{quote(ref, safe='@')}/predict{query}"
        return self._answer("POST", path, body, request_id=request_id)

    def feedback(self, model: str, truths: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Send ground truth: ``{"id", "value"}`` each."""
        return self._answer("POST", f"/models/{quote(model, safe='@')}/feedback", {"truth": list(truths)})

    def _answer(
        self, method: str, path: str, body: dict[str, Any] | None, *, request_id: str | None = None
    ) -> dict[str, Any]:
        status, data = self._call(method, path, body, timeout_s=self._timeout_s, request_id=request_id)
        try:
            answer = json.loads(data)
        except ValueError:
            raise UnavailableError(f"{self._address.url} gave no JSON (HTTP {status})") from None
        if not isinstance(answer, dict):
            raise UnavailableError(f"{self._address.url} gave no JSON object (HTTP {status})")
        if status >= 400 and "error" in answer:
            raise _error(answer["error"])
        return answer

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        *,
        timeout_s: float,
        request_id: str | None = None,
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self._address.host, self._address.port, timeout=timeout_s)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        if request_id is not None:
            headers["X-Request-Id"] = request_id
        try:
            payload = json.dumps(body, default=str, allow_nan=False).encode() if body is not None else None
            connection.request(method, path, body=payload, headers=headers)
            response = connection.getresponse()
            return response.status, response.read()
        except ValueError:
            raise UsageError("a row holds NaN or an infinity, which JSON has not", hint="send null") from None
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(
                f"the server at {self._address.url} does not answer: {error}", hint="mlops-box status"
            ) from error
        finally:
            connection.close()


def running_server(run_folder: Path) -> ServerClient | None:
    """A client for the server that published its address, if that server answers."""
    address = ServerAddress.read(run_folder)
    if address is None:
        return None
    client = ServerClient(address, token=local_token(run_folder))
    return client if client.is_alive() else None


def _error(error: dict[str, Any]) -> BoxError:
    details = error.get("details")
    if error.get("code") == ContractViolation.code and isinstance(details, list) and details:
        return ContractViolation(details)
    kind = _KINDS.get(str(error.get("code")), BusyError if error.get("code") == "overloaded" else BoxError)
    return kind(
        str(error.get("message")),
        hint=error.get("hint"),
        details=details if isinstance(details, dict) else None,
    )
