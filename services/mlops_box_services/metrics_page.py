"""``/metrics``: Prometheus' text format, or OpenMetrics where the scraper asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlops_box.serving.metrics_snapshot import MetricsSnapshot


class _Collector:
    """Hands a snapshot to Prometheus' registry."""

    def __init__(self, snapshot: MetricsSnapshot):
        self._snapshot = snapshot

    def collect(self) -> Iterator[Any]:
        return self._snapshot.families()


def metrics_page(snapshot: MetricsSnapshot, accept: str, *, alone: bool = True) -> tuple[bytes, bytes]:
    """The page, and its content type as ``accept`` (a request's header, may be empty) negotiates it.

    Args:
        alone: With Prometheus' ``process_*`` of this process; where several answer they would jump from one to another.
    """
    from prometheus_client import CollectorRegistry, ProcessCollector
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry()
    registry.register(_Collector(snapshot))
    if alone:
        ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type.encode()
