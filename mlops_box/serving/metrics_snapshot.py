"""What the metrics were at one moment: a plain value that adds up over workers and travels as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlops_box.errors import IntegrityError
from mlops_box.json_bytes import dumps, loads
from mlops_box.serving.metric_table import BY_NAME, TABLE, Fold, Metric

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Histogram:
    """``counts``: one a bucket and one beyond the last, not cumulative."""

    counts: tuple[int, ...]
    total: float

    def plus(self, other: Histogram) -> Histogram:
        counts = tuple(mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True))
        return Histogram(counts, self.total + other.total)

    def cumulative(self, buckets: tuple[float, ...]) -> list[tuple[str, float]]:
        """As Prometheus counts: (upper bound, observations at or below it)."""
        found, sum_ = [], 0
        for bound, count in zip([*map(str, buckets), "+Inf"], self.counts, strict=True):
            sum_ += count
            found.append((bound, float(sum_)))
        return found


Value = float | Histogram


@dataclass(frozen=True)
class MetricsSnapshot:
    """By metric and labels, in the order that the metric declares them."""

    values: Mapping[str, Mapping[Labels, Value]] = field(default_factory=dict)

    def merge(self, other: MetricsSnapshot) -> MetricsSnapshot:
        """Both together, as one server: each metric as its table entry says. Associative and commutative."""
        merged: dict[str, dict[Labels, Value]] = {name: dict(series) for name, series in self.values.items()}
        for name, series in other.values.items():
            mine = merged.setdefault(name, {})
            for labels, value in series.items():
                mine[labels] = _fold(BY_NAME[name].fold, mine[labels], value) if labels in mine else value
        return MetricsSnapshot(merged)

    def counted(self) -> MetricsSnapshot:
        """Without the gauges: what is left of a process that ended. Who adds up workers keeps adding this, since a sum
        that falls looks to Prometheus like a restart that counted everything anew."""
        return MetricsSnapshot(
            {name: series for name, series in self.values.items() if BY_NAME[name].kind != "gauge"}
        )

    def to_json(self) -> bytes:
        content = {
            name: [[*labels, _plain(value)] for labels, value in series.items()]
            for name, series in self.values.items()
        }
        return dumps(content)

    @staticmethod
    def from_json(data: bytes) -> MetricsSnapshot:
        """Raises :class:`IntegrityError` when ``data`` is no snapshot of this version's metrics."""
        try:
            return MetricsSnapshot(
                {
                    metric.name: {tuple(item[:-1]): _value(metric, item) for item in series}
                    for metric, series in _known(loads(data))
                }
            )
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise IntegrityError(f"the metrics of a worker cannot be read: {error!r}") from error

    def families(self) -> Iterator[Any]:
        """Prometheus metric families, all of the table, whether they have values or not."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        for metric in TABLE:
            series = self.values.get(metric.name, {})
            if metric.kind == "histogram":
                histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
                for labels, value in series.items():
                    if isinstance(value, Histogram):
                        histogram.add_metric(labels, value.cumulative(metric.buckets), value.total)
                yield histogram
                continue
            make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            numbers = make(metric.name, metric.help, labels=metric.labels)
            for labels, value in series.items():
                if not isinstance(value, Histogram):
                    numbers.add_metric(labels, value)
            yield numbers


def _known(content: dict[str, Any]) -> list[tuple[Metric, list[Any]]]:
    return [(BY_NAME[name], series) for name, series in content.items()]


def _fold(how: Fold, mine: Value, theirs: Value) -> Value:
    if isinstance(mine, Histogram) and isinstance(theirs, Histogram):
        return mine.plus(theirs)
    if isinstance(mine, Histogram) or isinstance(theirs, Histogram):
        raise IntegrityError("a histogram and a number cannot be added up")
    if how == "sum":
        return mine + theirs
    return min(mine, theirs) if how == "min" else max(mine, theirs)


def _plain(value: Value) -> Any:
    return [list(value.counts), value.total] if isinstance(value, Histogram) else value


def _value(metric: Metric, item: list[Any]) -> Value:
    if len(item) != len(metric.labels) + 1 or not all(isinstance(label, str) for label in item[:-1]):
        raise ValueError(f"{metric.name} has the labels {metric.labels}")
    value = item[-1]
    if metric.kind != "histogram":
        return float(value)
    counts, total = value
    if len(counts) != len(metric.buckets) + 1:
        raise ValueError(f"{metric.name} has {len(metric.buckets)} buckets")
    return Histogram(tuple(map(int, counts)), float(total))
