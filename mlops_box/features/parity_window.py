"""A window off by one: is a served value the one with the event at the window's edge left out, or the next one let in?

Which event lies at the edge is found without knowing the SQL: as long as a feature stays the same without the events
before one, these do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mlops_box.clock import from_us, isoformat
from mlops_box.features.compute import observations
from mlops_box.features.definition import Source
from mlops_box.features.online import key_text
from mlops_box.features.parity import Difference, Recomputed

# One explanation takes some ten runs of the SQL over one entity's events.
MOST_EXPLAINED = 25
Same = Callable[[Any, Any], bool]


class WindowEdges:
    """Looks for the edges of a definition's windows.

    Args:
        recomputed: By the definition.
        events: By source: the events of all entities that differences are about.
    """

    def __init__(self, recomputed: Recomputed, events: Mapping[str, pa.Table], scratch: Path):
        self._recomputed = recomputed
        self._events = events
        self._scratch = scratch
        self._left = MOST_EXPLAINED

    def explain(self, difference: Difference, feature: str, same: Same) -> str | None:
        """Which event in or out of the window gives what was logged; ``None``: none does, or too many were asked for."""
        if difference.expected is None or self._left <= 0:
            return None
        self._left -= 1
        for source in self._recomputed.definition.sources:
            found = _Edge(self, difference, feature, source, same).explain()
            if found is not None:
                return found
        return None

    def of_entity(self, source: Source, difference: Difference) -> pa.Table:
        """The events of the difference's entity that its window may see, oldest first."""
        definition, expected = self._recomputed.definition, difference.expected
        assert expected is not None
        table = self._events[source.name]
        keys = zip(*(table[key].to_pylist() for key in definition.keys), strict=True)
        table = table.filter(pa.array([key_text(key) == difference.row.key for key in keys], pa.bool_()))
        times = _times(table, source)
        known = table[source.known].cast(pa.int64()) if source.known else times
        known = pc.coalesce(known, times)
        keep = pc.and_(pc.less_equal(times, expected.time_us), pc.less_equal(known, expected.known_us))
        return table.filter(keep).sort_by(source.time)

    def value(self, difference: Difference, feature: str, source: Source, events: pa.Table) -> Any:
        """The feature at the time of the observation that counts, with these events in place of the source's."""
        definition, expected = self._recomputed.definition, difference.expected
        assert expected is not None
        given = {
            other.name: events if other.name == source.name else self.of_entity(other, difference)
            for other in definition.sources
        }
        table = observations(definition, given, scratch=self._scratch)
        found = Recomputed(definition, table, self._recomputed.as_logged)
        counted = [one for one in found.history(difference.row.key) if one.time_us == expected.time_us]
        return found.vector(counted[-1], difference.row.at_us)[feature] if counted else None


class _Edge:
    """The edge of one feature's window over one source."""

    def __init__(self, edges: WindowEdges, difference: Difference, feature: str, source: Source, same: Same):
        self._edges = edges
        self._difference = difference
        self._feature = feature
        self._source = source
        self._same = same
        self._events = edges.of_entity(source, difference)
        self._times = _times(self._events, source).to_pylist()

    def explain(self) -> str | None:
        moments = sorted(set(self._times))
        if len(moments) < 2:
            return None
        edge = self._first_that_counts(moments)
        oldest = moments[edge]
        logged = self._difference.row.values[self._feature]
        if oldest < moments[-1] and self._same(self._value(self._since(moments[edge + 1])), logged):
            return f"it is the value without the event of {_text(oldest)}, the first one in the window"
        if edge and self._same(self._value(self._let_in(moments[edge - 1], oldest)), logged):
            return f"it is the value with the event of {_text(moments[edge - 1])}, the last one before the window"
        return None

    def _first_that_counts(self, moments: list[int]) -> int:
        """The greatest place from which on the events give the whole value."""
        whole = self._value(self._events)
        low, high = 0, len(moments) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if self._same(self._value(self._since(moments[middle])), whole):
                low = middle
            else:
                high = middle - 1
        return low

    def _value(self, events: pa.Table) -> Any:
        return self._edges.value(self._difference, self._feature, self._source, events)

    def _since(self, moment_us: int) -> pa.Table:
        return self._events.filter(pa.array([time >= moment_us for time in self._times], pa.bool_()))

    def _let_in(self, before_us: int, oldest_us: int) -> pa.Table:
        """The events with those of one moment moved into the window."""
        place = self._events.column_names.index(self._source.time)
        moved = [oldest_us if time == before_us else time for time in self._times]
        kind = self._events.schema.field(place).type
        return self._events.set_column(place, self._source.time, pa.array(moved, pa.int64()).cast(kind))


def _times(table: pa.Table, source: Source) -> pa.ChunkedArray:
    return table[source.time].cast(pa.timestamp("us")).cast(pa.int64())


def _text(moment_us: int) -> str:
    return isoformat(from_us(moment_us))
