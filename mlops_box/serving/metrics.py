"""Counters and latencies of one server process: plain numbers, turned into a page only when somebody asks.

Labels come from loaded models and from the code, so they are bounded in number; the series of a version that is no
longer loaded go after a while.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence

from mlops_box.serving import metric_table as table
from mlops_box.serving.metrics_snapshot import Histogram, Labels, MetricsSnapshot, Value

VersionKey = tuple[str, str]
# Longer than anybody scrapes apart, so that the last numbers of a version are read before they go.
FORGET_AFTER_S = 900.0
# Versions asked for by number may be many: beyond this the longest unloaded go at once.
MAX_VERSIONS = 200


class _Counts:
    """A histogram being filled."""

    __slots__ = ("buckets", "counts", "total")

    def __init__(self, buckets: tuple[float, ...]):
        self.buckets = buckets
        self.counts = [0] * (len(buckets) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.buckets, value)] += 1
        self.total += value

    def value(self) -> Histogram:
        return Histogram(tuple(self.counts), self.total)


class _Variant:
    """What one variant of a version answered."""

    __slots__ = ("outcomes", "rows", "seconds")

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.rows = 0
        self.seconds = _Counts(table.SECONDS)


class _Calls:
    """The calls of one version's model."""

    __slots__ = ("rows", "seconds")

    def __init__(self) -> None:
        self.rows = _Counts(table.ROWS)
        self.seconds = _Counts(table.SECONDS)


class _View:
    """What was looked up of one feature view."""

    __slots__ = ("ages", "expired", "found", "missing")

    def __init__(self) -> None:
        self.found = 0
        self.missing = 0
        self.expired = 0
        self.ages = _Counts(table.AGE_SECONDS)


class Metrics:
    """Updated from the event loop; :meth:`swapped` may be called from another thread.

    Attributes:
        unlogged: Requests answered without a log record.
    """

    def __init__(self) -> None:
        self._variants: dict[Labels, _Variant] = {}
        self._calls: dict[VersionKey, _Calls] = {}
        self._refused: dict[str, int] = {}
        self._truths: dict[str, int] = {}
        self._shadow_dropped: dict[str, int] = {}
        self._swaps: dict[tuple[str, str], int] = {}
        self._swap_seconds: dict[str, _Counts] = {}
        self._loaded_s: dict[VersionKey, float] = {}
        self._views: dict[str, _View] = {}
        self._events: dict[str, int] = {}
        self._push_seconds = _Counts(table.LOAD_SECONDS)
        self.unlogged = 0

    def answered(
        self, model: str, version: str, outcome: str, rows: int, seconds: float, variant: str = "champion"
    ) -> None:
        """One request that got predictions."""
        found = self._variants.get((model, version, variant)) or self._variant(model, version, variant)
        found.outcomes[outcome] = found.outcomes.get(outcome, 0) + 1
        found.rows += rows
        counts = found.seconds
        counts.counts[bisect_left(table.SECONDS, seconds)] += 1
        counts.total += seconds

    def failed(self, model: str, version: str, outcome: str, variant: str = "champion") -> None:
        """One request to a loaded model that got an error; ``outcome`` is the error's code."""
        found = self._variants.get((model, version, variant)) or self._variant(model, version, variant)
        found.outcomes[outcome] = found.outcomes.get(outcome, 0) + 1

    def called(self, model: str, version: str, rows: int, seconds: float) -> None:
        """One call of a model, with the rows of one or more requests."""
        calls = self._calls.get((model, version))
        if calls is None:
            calls = self._calls[(model, version)] = _Calls()
        calls.rows.add(rows)
        calls.seconds.add(seconds)

    def refused(self, code: str) -> None:
        """One request that was answered with an error."""
        self._refused[code] = self._refused.get(code, 0) + 1

    def truths(self, model: str, count: int) -> None:
        self._truths[model] = self._truths.get(model, 0) + count

    def shadow_dropped(self, model: str, requests: int = 1) -> None:
        """Requests that the shadow version did not get to see."""
        self._shadow_dropped[model] = self._shadow_dropped.get(model, 0) + requests

    def looked_up(self, view: str, ages_s: Sequence[float], *, missing: int, expired: int) -> None:
        """Rows whose features were looked up: the ages of the observations, and of how many rows there was none, or one
        that is too old for every feature."""
        found = self._views.get(view)
        if found is None:
            found = self._views[view] = _View()
        found.found += len(ages_s) - expired
        found.missing += missing
        found.expired += expired
        for age_s in ages_s:
            found.ages.add(age_s)

    def pushed(self, source: str, events: int, seconds: float) -> None:
        """One push of events."""
        self._events[source] = self._events.get(source, 0) + events
        self._push_seconds.add(seconds)

    def swapped(self, model: str, outcome: str, seconds: float) -> None:
        """A new champion was loaded (``ok``), or refused by the error of code ``outcome``."""
        self._swaps[model, outcome] = self._swaps.get((model, outcome), 0) + 1
        if outcome == "ok":
            counts = self._swap_seconds.get(model)
            if counts is None:
                counts = self._swap_seconds[model] = _Counts(table.LOAD_SECONDS)
            counts.add(seconds)

    def snapshot(
        self,
        *,
        gauges: Mapping[str, Mapping[Labels, float]] | None = None,
        loaded: Collection[VersionKey] = (),
        now_s: float = 0.0,
    ) -> MetricsSnapshot:
        """What was counted until now.

        Args:
            gauges: By a metric's name: values that are measured, or counted elsewhere.
            loaded: The (model, version) in memory; the series of others are dropped some time after they left.
            now_s: A monotonic clock's reading.
        """
        self._forget(loaded, now_s)
        values: dict[str, Mapping[Labels, Value]] = {
            table.REQUESTS.name: {
                (*labels, outcome): float(count)
                for labels, variant in list(self._variants.items())
                for outcome, count in variant.outcomes.items()
            },
            table.ROWS_PREDICTED.name: {
                labels: float(variant.rows) for labels, variant in self._variants.items() if variant.rows
            },
            table.REQUEST_SECONDS.name: {
                labels: variant.seconds.value() for labels, variant in self._variants.items() if variant.rows
            },
            table.BATCH_ROWS.name: {key: calls.rows.value() for key, calls in self._calls.items()},
            table.MODEL_SECONDS.name: {key: calls.seconds.value() for key, calls in self._calls.items()},
            table.REFUSED.name: _labelled(self._refused),
            table.TRUTHS.name: _labelled(self._truths),
            table.SHADOW_DROPPED.name: _labelled(self._shadow_dropped),
            # Written by another thread: copied before it is walked.
            table.SWAPS.name: {key: float(count) for key, count in list(self._swaps.items())},
            table.SWAP_SECONDS.name: {(key,): item.value() for key, item in list(self._swap_seconds.items())},
            table.UNLOGGED.name: {(): float(self.unlogged)},
            table.FEATURE_LOOKUPS.name: {
                (name, outcome): float(count)
                for name, view in self._views.items()
                for outcome, count in (
                    ("found", view.found), ("missing", view.missing), ("expired", view.expired)
                )
                if count
            },
            table.FEATURE_AGE.name: {(name,): view.ages.value() for name, view in self._views.items()},
            table.EVENTS_PUSHED.name: _labelled(self._events),
        }  # fmt: skip
        if self._events:
            values[table.PUSH_SECONDS.name] = {(): self._push_seconds.value()}
        return MetricsSnapshot({**values, **(gauges or {})})

    def _variant(self, model: str, version: str, variant: str) -> _Variant:
        return self._variants.setdefault((model, version, variant), _Variant())

    def _forget(self, loaded: Iterable[VersionKey], now_s: float) -> None:
        current = set(loaded)
        known = {(model, version) for model, version, _ in self._variants} | set(self._calls)
        for key in known:
            if key in current or key not in self._loaded_s:
                self._loaded_s[key] = now_s
        gone = sorted(known - current, key=lambda key: self._loaded_s[key], reverse=True)
        room = max(0, MAX_VERSIONS - len(known & current))
        for position, key in enumerate(gone):
            if position >= room or now_s - self._loaded_s[key] > FORGET_AFTER_S:
                self._drop(key)

    def _drop(self, key: VersionKey) -> None:
        self._loaded_s.pop(key, None)
        self._calls.pop(key, None)
        for labels in [labels for labels in self._variants if labels[:2] == key]:
            del self._variants[labels]


def _labelled(counts: Mapping[str, int]) -> dict[Labels, float]:
    return {(label,): float(count) for label, count in counts.items()}
