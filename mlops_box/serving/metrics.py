"""Counters and latencies of the server, in Prometheus' terms; labels come from loaded models only, so they are bounded."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

BUCKETS_S = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip


@dataclass
class _Latency:
    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    total_s: float = 0.0


class Metrics:
    """Plain numbers, updated in the event loop; turned into metric families only when they are asked for."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str, str], int] = {}
        self._rows: dict[tuple[str, str], int] = {}
        self._latency: dict[tuple[str, str], _Latency] = {}
        self._refused: dict[str, int] = {}
        self._truths: dict[str, int] = {}
        self.unlogged = 0

    def answered(self, model: str, version: str, outcome: str, rows: int, seconds: float) -> None:
        """One request that got predictions."""
        key = (model, version)
        self._requests[(model, version, outcome)] = self._requests.get((model, version, outcome), 0) + 1
        self._rows[key] = self._rows.get(key, 0) + rows
        latency = self._latency.get(key)
        if latency is None:
            latency = self._latency[key] = _Latency()
        latency.counts[bisect_left(BUCKETS_S, seconds)] += 1
        latency.total_s += seconds

    def failed(self, model: str, version: str, outcome: str) -> None:
        """One request to a known model that got an error; ``outcome`` is the error's code."""
        self._requests[(model, version, outcome)] = self._requests.get((model, version, outcome), 0) + 1

    def refused(self, code: str) -> None:
        """One request that was answered with an error."""
        self._refused[code] = self._refused.get(code, 0) + 1

    def truths(self, model: str, count: int) -> None:
        self._truths[model] = self._truths.get(model, 0) + count

    def collect(self, *, loaded: dict[str, str], queued: dict[str, int]) -> Iterator[Any]:
        """Prometheus metric families.

        Args:
            loaded: Serving version by model.
            queued: Rows that wait, by model.
        """
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        requests = CounterMetricFamily(
            "mlops_box_requests", "Prediction requests.", labels=["model", "version", "outcome"]
        )
        for labels, count in self._requests.items():
            requests.add_metric(labels, count)
        rows = CounterMetricFamily("mlops_box_rows", "Rows predicted.", labels=["model", "version"])
        for pair, count in self._rows.items():
            rows.add_metric(pair, count)
        seconds = HistogramMetricFamily(
            "mlops_box_request_seconds",
            "From a request's arrival to its answer.",
            labels=["model", "version"],
        )
        for pair, latency in self._latency.items():
            seconds.add_metric(pair, _cumulative(latency.counts), latency.total_s)
        yield from (requests, rows, seconds)
        yield from self._simple_counters()
        serving = GaugeMetricFamily(
            "mlops_box_serving_version", "The version that answers.", labels=["model"]
        )
        for model, version in loaded.items():
            serving.add_metric([model], float(version))
        waiting = GaugeMetricFamily(
            "mlops_box_queued_rows", "Rows that wait for their batch.", labels=["model"]
        )
        for model, amount in queued.items():
            waiting.add_metric([model], amount)
        yield from (serving, waiting)

    def _simple_counters(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily

        refused = CounterMetricFamily(
            "mlops_box_refused_requests", "Requests answered with an error, by its code.", labels=["code"]
        )
        for code, count in self._refused.items():
            refused.add_metric([code], count)
        truths = CounterMetricFamily("mlops_box_truths", "Ground truths received.", labels=["model"])
        for model, count in self._truths.items():
            truths.add_metric([model], count)
        yield from (refused, truths)
        yield CounterMetricFamily(
            "mlops_box_unlogged_requests", "Answered without a log record (best-effort).", value=self.unlogged
        )


def _cumulative(counts: list[int]) -> list[tuple[str, float]]:
    found, total = [], 0
    for bound, count in zip([*map(str, BUCKETS_S), "+Inf"], counts, strict=True):
        total += count
        found.append((bound, float(total)))
    return found
