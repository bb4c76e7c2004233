"""``/metrics`` in Prometheus' text format, by the names that the box's own server uses.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/ (text-based format, version 0.0.4).
"""

from __future__ import annotations

from collections.abc import Mapping

from mlops_box.serving.metric_table import TABLE, Metric
from mlops_box.serving.metrics_snapshot import Histogram, Labels, MetricsSnapshot

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

LOG_BACKLOG = Metric(
    "mlops_box_edge_log_records", "gauge", (), "Records that the box has not acknowledged yet."
)
LOG_DROPPED = Metric(
    "mlops_box_edge_log_dropped", "counter", ("kind",), "Records dropped from the log for want of room."
)
LOG_BYTES = Metric("mlops_box_edge_log_bytes", "gauge", (), "What the log's records take on the disk.")
DEVICE_TABLE = (*TABLE, LOG_BACKLOG, LOG_DROPPED, LOG_BYTES)


def metrics_page(snapshot: MetricsSnapshot) -> bytes:
    """The page; metrics without a value are left out."""
    lines: list[str] = []
    for metric in DEVICE_TABLE:
        series = snapshot.values.get(metric.name)
        if not series:
            continue
        # Text format 0.0.4 names a counter's family as its sample.
        lines.append(f"# HELP {metric.sample} {_escaped(metric.help)}")
        lines.append(f"# TYPE {metric.sample} {metric.kind}")
        for labels, value in sorted(series.items()):
            named = dict(zip(metric.labels, labels))
            if not isinstance(value, Histogram):
                lines.append(f"{metric.sample}{_labels(named)} {value!r}")
                continue
            cumulative = value.cumulative(metric.buckets)
            lines += [
                f"{metric.name}_bucket{_labels({**named, 'le': bound})} {count!r}"
                for bound, count in cumulative
            ]
            lines.append(f"{metric.name}_count{_labels(named)} {cumulative[-1][1]!r}")
            lines.append(f"{metric.name}_sum{_labels(named)} {value.total!r}")
    return ("\n".join(lines) + "\n").encode()


def single(value: float) -> dict[Labels, float]:
    """The series of a metric without labels."""
    return {(): float(value)}


def _labels(named: Mapping[str, str]) -> str:
    if not named:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value, quoted=True)}"' for name, value in named.items()) + "}"


def _escaped(text: str, quoted: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quoted else text
