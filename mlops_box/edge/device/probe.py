"""What can be seen of a running server from outside: does it answer, how large is it, how did its predictions go."""

from __future__ import annotations

import http.client
import re
from dataclasses import dataclass
from pathlib import Path

from .errors import Refused
from .place import Place
from .strict_json import parse_object

_TIMEOUT_S = 1.0
_MOST_METRICS = 4 * 1024 * 1024
_REQUESTS = re.compile(r"^mlops_box_requests_total\{([^}]*)\} ([0-9.eE+]+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_CALLERS = frozenset({"contract", "malformed", "overloaded", "usage", "not_found", "too_large", "cancelled"})
"""Outcomes that are the caller's fault or the load's, not the version's."""


@dataclass(frozen=True)
class Announced:
    """``run/server.json``: what the server says of itself once it listens."""

    pid: int
    port: int
    slot: str
    host: str = "127.0.0.1"
    token: str = ""


@dataclass(frozen=True)
class Counts:
    """Predictions of one version that were asked for: those it answered well, and those it spoilt."""

    good: int = 0
    spoilt: int = 0

    @property
    def all(self) -> int:
        return self.good + self.spoilt


def announced(place: Place) -> Announced | None:
    """The server's own word; ``None`` before it listens."""
    try:
        raw = parse_object(place.server.read_bytes(), place.server.name)
        token = place.server_token.read_text() if place.server_token.exists() else ""
        return Announced(
            int(raw["pid"]), int(raw["port"]), str(raw["slot"]), str(raw.get("host", "127.0.0.1")), token
        )
    except (FileNotFoundError, Refused, KeyError, TypeError, ValueError):
        return None


def is_ready(server: Announced) -> bool:
    """Whether ``/readyz`` answers 200 within a second."""
    return _get(server, "/readyz", 64 * 1024)[0] == 200


def is_alive(server: Announced) -> bool:
    """Whether ``/livez`` answers 200 within a second."""
    return _get(server, "/livez", 64 * 1024)[0] == 200


def counts(server: Announced, number: int) -> Counts:
    """How the predictions of version ``number`` went, by the server's ``/metrics``; zeros where it does not answer."""
    status, body = _get(server, "/metrics", _MOST_METRICS)
    return read_counts(body.decode("utf-8", "replace"), number) if status == 200 else Counts()


def read_counts(metrics: str, number: int) -> Counts:
    """The same from the text of ``/metrics`` (Prometheus)."""
    good = spoilt = 0
    for labels, value in _REQUESTS.findall(metrics):
        told = dict(_LABEL.findall(labels))
        outcome = told.get("outcome", "")
        if told.get("version") != str(number) or outcome.startswith("feedback"):
            continue
        if outcome == "ok":
            good += int(float(value))
        elif outcome not in _CALLERS:
            spoilt += int(float(value))
    return Counts(good, spoilt)


def rss_bytes(pid: int) -> int:
    """Resident memory of a process; 0 when it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 0


def _get(server: Announced, path: str, most_bytes: int) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=_TIMEOUT_S)
    try:
        connection.request(
            "GET", path, headers={"Authorization": f"Bearer {server.token}"} if server.token else {}
        )
        answer = connection.getresponse()
        return answer.status, answer.read(most_bytes)
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()
