"""A server of ours in a process of its own, asked over real HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
from typing import Any

Told = tuple[int, dict[str, str], Any]


class ServerProcess:
    """A running server process."""

    def __init__(self, process: subprocess.Popen[bytes], host: str, port: int):
        self.process = process
        self.host = host
        self.port = port

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=20)

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Told:
        """(status, headers, JSON or bytes) of one request on a connection of its own."""
        return call(self.connect(), method, path, body, headers)

    def predict(self, name: str, *rows: dict[str, Any]) -> Told:
        return self.call("POST", f"/models/{name}/predict", {"rows": list(rows)})

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=20)


def call(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> Told:
    """One request on a connection, which is closed after it."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json"} if data is not None else {}
    with contextlib.closing(connection):
        connection.request(method, path, body=data, headers={**sent, **(headers or {})})
        response = connection.getresponse()
        content = response.read()
    found = {key.lower(): value for key, value in response.getheaders()}
    is_json = found.get("content-type", "").startswith("application/json")
    return response.status, found, json.loads(content) if is_json and content else content
