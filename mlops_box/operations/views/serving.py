"""How the inference server is, asked over loopback; a server that is down is a fact, not an error."""

from __future__ import annotations

import http.client
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from mlops_box.home import Home
from mlops_box.serving.address import ServerAddress

ServerState = Literal["up", "unready", "silent", "down"]

_SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_LARGEST_BODY_BYTES = 4 << 20
# Outcomes of requests that got predictions; the others name an error.
_ANSWERED = ("ok", "not_finite")


@dataclass(frozen=True)
class Sample:
    """One line of a Prometheus page."""

    name: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class ServedModel:
    """One version that answers or answered; numbers count since the server started and are ``None`` where it does not
    tell.

    Attributes:
        current: It is the one that answers now.
        latency: (upper bound in seconds, requests at or below it), ascending.
    """

    model: str
    number: int | None
    current: bool
    requests: float | None
    rows: float | None
    errors: float | None
    queued_rows: float | None
    latency: tuple[tuple[float, float], ...] = ()

    @property
    def key(self) -> str:
        return f"{self.model}@{self.number}"

    @property
    def ref(self) -> str:
        """What names it in a command; the model, for its champion, where the server tells no number."""
        return self.key if self.number is not None else self.model

    def quantile_s(self, share: float) -> float | None:
        """Since the server started."""
        return _quantile_s(self.latency, share)

    def since(self, before: ServedModel, seconds: float) -> RecentTraffic | None:
        """What was counted since an earlier look; ``None`` where that cannot be told: a counter that went back belongs to
        another server."""
        if seconds <= 0 or self.requests is None or before.requests is None:
            return None
        known = dict(before.latency)
        latency = tuple((bound, count - known.get(bound, 0.0)) for bound, count in self.latency)
        requests, errors = self.requests - before.requests, (self.errors or 0.0) - (before.errors or 0.0)
        if requests < 0 or errors < 0 or any(count < 0 for _, count in latency):
            return None
        return RecentTraffic(seconds, requests, errors, latency)


@dataclass(frozen=True)
class RecentTraffic:
    """What a version answered between two looks at its counters.

    Attributes:
        seconds: Between them.
        latency: As of :class:`ServedModel`.
    """

    seconds: float
    requests: float
    errors: float
    latency: tuple[tuple[float, float], ...] = ()

    @property
    def per_minute(self) -> float:
        return self.requests / self.seconds * 60

    @property
    def error_share(self) -> float | None:
        """``None`` without requests."""
        return self.errors / self.requests if self.requests else None

    def quantile_s(self, share: float) -> float | None:
        """``None`` without requests."""
        return _quantile_s(self.latency, share)


@dataclass(frozen=True)
class ServingStatus:
    """``down``: not started. ``silent``: its process should answer and does not. ``unready``: it answers, not ready."""

    state: ServerState
    host: str | None
    port: int | None
    pid: int | None
    detail: str
    models: tuple[ServedModel, ...] = ()


def read_serving(home: Home, *, timeout_s: float = 0.8) -> ServingStatus:
    """Ask the server named in ``run/server.json``; takes up to twice ``timeout_s``."""
    address = ServerAddress.read(home.run)
    if address is None:
        return ServingStatus("down", None, None, None, "not started")
    host, port, pid = address.host, address.port, address.pid
    reach = _reachable(host)
    if reach is None:
        return ServingStatus("silent", host, port, pid, "it does not listen on loopback")
    try:
        ready, _ = _get(reach, port, "/readyz", timeout_s)
        _, metrics = _get(reach, port, "/metrics", timeout_s)
    except (OSError, http.client.HTTPException) as error:
        if not _alive(pid):
            return ServingStatus("down", host, port, pid, "its process is gone")
        return ServingStatus("silent", host, port, pid, f"no answer: {type(error).__name__}")
    state: ServerState = "up" if ready == 200 else "unready"
    return ServingStatus(state, host, port, pid, f"/readyz says {ready}", _models(read_samples(metrics)))


def read_samples(page: str) -> list[Sample]:
    """The samples of a Prometheus text page; lines that are none are left out."""
    found = []
    for line in page.splitlines():
        match = _SAMPLE.match(line)
        if match is None:
            continue
        try:
            value = float(match["value"])
        except ValueError:
            continue
        found.append(Sample(match["name"], dict(_LABEL.findall(match["labels"] or "")), value))
    return found


def _reachable(host: str) -> str | None:
    """Where to knock: a socket on all interfaces is reached over loopback, and nothing else is ever asked."""
    if host in ("0.0.0.0", "::", "localhost", ""):
        return "127.0.0.1"
    return host if host in ("127.0.0.1", "::1") else None


def _alive(pid: int) -> bool:
    import psutil

    return bool(psutil.pid_exists(pid))


def _get(host: str, port: int, path: str, timeout_s: float) -> tuple[int, str]:
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(_LARGEST_BODY_BYTES).decode("utf-8", "replace")
    finally:
        connection.close()


def _models(samples: Iterable[Sample]) -> tuple[ServedModel, ...]:
    """One entry per version that the metrics of :mod:`mlops_box.serving.metrics` speak of."""
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.name.removeprefix("mlops_box_"), []).append(sample)
    current = {s.labels.get("model", ""): int(s.value) for s in by_name.get("serving_version", ())}
    versions: set[tuple[str, int | None]] = set(current.items())
    for name in ("requests_total", "rows_total"):
        versions |= {_version(sample) for sample in by_name.get(name, ()) if "model" in sample.labels}
    return tuple(
        _served(model, number, current.get(model) == number, by_name)
        for model, number in sorted(versions, key=lambda version: (version[0], -(version[1] or 0)))
    )


def _served(model: str, number: int | None, current: bool, by_name: dict[str, list[Sample]]) -> ServedModel:
    def mine(name: str) -> list[Sample]:
        return [sample for sample in by_name.get(name, ()) if _version(sample) == (model, number)]

    requests, rows = mine("requests_total"), mine("rows_total")
    failed = [sample for sample in requests if sample.labels.get("outcome") not in _ANSWERED]
    waiting = [sample for sample in by_name.get("queued_rows", ()) if sample.labels.get("model") == model]
    counts: dict[float, float] = {}
    for sample in mine("request_seconds_bucket"):
        if "le" in sample.labels:
            bound = float(sample.labels["le"])
            counts[bound] = counts.get(bound, 0.0) + sample.value
    # A counter appears with its first event: a version that answers and has none counted none.
    none = 0.0 if current else None
    return ServedModel(
        model, number, current,
        requests=sum(sample.value for sample in requests) if requests else none,
        rows=sum(sample.value for sample in rows) if rows else none,
        errors=sum(sample.value for sample in failed) if requests else none,
        queued_rows=sum(sample.value for sample in waiting) if waiting and current else None,
        latency=tuple(sorted(counts.items())),
    )  # fmt: skip


def _quantile_s(latency: Sequence[tuple[float, float]], share: float) -> float | None:
    """Interpolated within its bucket, as Prometheus does; ``None`` without requests."""
    total = latency[-1][1] if latency else 0.0
    if total <= 0:
        return None
    wanted, lower, below = share * total, 0.0, 0.0
    for bound, count in latency:
        if count >= wanted and count > below:
            if math.isinf(bound):
                return lower
            return lower + (bound - lower) * (wanted - below) / (count - below)
        lower, below = bound, count
    return None


def _version(sample: Sample) -> tuple[str, int | None]:
    digits = sample.labels.get("version", "")
    return sample.labels.get("model", ""), int(digits) if digits.isascii() and digits.isdigit() else None
