"""Why a served vector differs from the recomputed one: the first explanation that gives exactly what was logged."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_box.clock import from_us, isoformat
from mlops_box.features.online import Observation
from mlops_box.features.parity import Cause, Difference, Mismatch, Recomputed, Vector, is_same
from mlops_box.features.parity_window import WindowEdges
from mlops_box.units import format_duration

# Zones differ by whole quarters of an hour, and by 14 hours at most.
_QUARTER_US = 900_000_000
_MOST_QUARTERS = 56


@dataclass(frozen=True)
class _Guess:
    """An explanation, and the values it would have given. ``whole``: of one observation, so all of them must be as logged."""

    cause: Cause
    because: str
    vector: Vector
    whole: bool = True


class Diagnosis:
    """Explains differences.

    Args:
        recomputed: By the pinned definition.
        others: The other definitions of the view, computed when they are first asked for.
        edges: Of the pinned definition's windows.
        precision: See :func:`mlops_box.features.parity.differences`.
    """

    def __init__(
        self,
        recomputed: Recomputed,
        others: Callable[[], Sequence[Recomputed]],
        edges: WindowEdges,
        precision: float,
    ):
        self._recomputed = recomputed
        self._others = others
        self._edges = edges
        self._precision = precision

    def explain(self, difference: Difference) -> Iterator[Mismatch]:
        """One mismatch for each feature that differs."""
        open_ = list(difference.features)
        for guesses in (
            self._types, self._logged_definition, self._time_zone, self._defaults, self._late, self._stale,
            self._other_definitions,
        ):  # fmt: skip
            for guess in guesses(difference):
                explained = [name for name in open_ if self._explains(guess, difference, name)]
                for name in explained:
                    yield self._mismatch(difference, name, guess.cause, guess.because)
                open_ = [name for name in open_ if name not in explained]
                if not open_:
                    return
        for name in open_:
            because = self._edges.explain(difference, name, self._same)
            if because is not None:
                yield self._mismatch(difference, name, "window off by one", because)
            else:
                yield self._mismatch(difference, name, "unknown", "nothing that is looked for explains it")

    def _mismatch(self, difference: Difference, name: str, cause: Cause, because: str) -> Mismatch:
        column = self._recomputed.definition.in_model(name)
        return Mismatch(
            difference.row.id, column, difference.row.values[name], difference.vector[name], cause, because
        )

    def _explains(self, guess: _Guess, difference: Difference, name: str) -> bool:
        names = difference.row.values if guess.whole else (name,)
        values = difference.row.values
        return all(one in guess.vector and self._same(guess.vector[one], values[one]) for one in names)

    def _same(self, one: Any, other: Any) -> bool:
        return is_same(one, other, self._precision)

    def _types(self, difference: Difference) -> Iterator[_Guess]:
        numbers = {name: value for name, value in difference.vector.items() if isinstance(value, float)}
        single = {name: _as_float32(value) for name, value in numbers.items()}
        yield _Guess("type", "it is the recomputed value as float32", single, whole=False)
        texts = {name: str(value) for name, value in difference.vector.items()}
        yield _Guess("type", "it is the recomputed value as text", texts, whole=False)

    def _logged_definition(self, difference: Difference) -> Iterator[_Guess]:
        """The log names another definition than the version pins."""
        if difference.row.digest != self._recomputed.definition.digest:
            yield from self._by_definitions(difference, difference.row.digest)

    def _other_definitions(self, difference: Difference) -> Iterator[_Guess]:
        yield from self._by_definitions(difference, None)

    def _by_definitions(self, difference: Difference, digest: str | None) -> Iterator[_Guess]:
        row, pinned = difference.row, self._recomputed.definition
        for other in self._others():
            if digest in (None, other.definition.digest):
                found = other.counted(row.key, row.at_us, row.seen_us)
                because = f"{other.definition.ref} gives it; the version pins {pinned.ref}"
                yield _Guess("different definition", because, other.vector(found, row.at_us))

    def _time_zone(self, difference: Difference) -> Iterator[_Guess]:
        row, recomputed = difference.row, self._recomputed
        apart_us = row.looked_at_us - row.at_us
        if apart_us and _is_zone(apart_us):
            found = recomputed.counted(row.key, row.looked_at_us, row.seen_us)
            because = f"the row is about {_text(row.at_us)}, and {_text(row.looked_at_us)} was looked up, {_apart(apart_us)}"
            yield _Guess("time zone", because, recomputed.vector(found, row.looked_at_us))
        times = {found.time_us for found in recomputed.history(row.key)}
        if row.observed_us is None or row.observed_us in times:
            return
        for time_us in sorted(times, key=lambda one: abs(one - difference.row.at_us)):
            apart_us = row.observed_us - time_us
            if _is_zone(apart_us):
                found = recomputed.counted(row.key, time_us, row.seen_us)
                because = f"the observation of {_text(time_us)} was stored as of {_text(row.observed_us)}, {_apart(apart_us)}"
                yield _Guess("time zone", because, recomputed.vector(found, row.at_us - apart_us))

    def _defaults(self, difference: Difference) -> Iterator[_Guess]:
        row, expected = difference.row, difference.expected
        if expected is None or row.observed_us not in (None, expected.time_us):
            return
        columns = self._recomputed.definition.columns
        defaults = {column.name for column in columns if column.default is not None}
        missing = self._recomputed.vector(None, row.at_us)
        found = "nothing of the entity was found" if row.observed_us is None else "its value was not taken"
        because = f"its default was served: {found}, although {_told(expected)} counts"
        yield _Guess("default used", because, {name: missing[name] for name in defaults}, whole=False)

    def _late(self, difference: Difference) -> Iterator[_Guess]:
        row = difference.row
        later = [
            found
            for found in self._recomputed.history(row.key)
            if found.time_us == row.observed_us and found.known_us > row.seen_us
        ]
        for found in reversed(later):
            after = format_duration((found.known_us - row.seen_us) / 1e6)
            because = f"{_told(found)} gives it, {after} after the lookup"
            yield _Guess("late data", because, self._recomputed.vector(found, row.at_us))

    def _stale(self, difference: Difference) -> Iterator[_Guess]:
        row, expected = difference.row, difference.expected
        if expected is None:
            return
        for found in reversed(self._older(difference)):
            because = f"{_told(found)} was served, although {_told(expected)} was there by then"
            yield _Guess("stale materialisation", because, self._recomputed.vector(found, row.at_us))
        if row.observed_us is None:
            because = f"nothing of the entity was served, although {_told(expected)} was there by then"
            yield _Guess("stale materialisation", because, self._recomputed.vector(None, row.at_us))

    def _older(self, difference: Difference) -> list[Observation]:
        """The observations before the one that counts, of the time that the log tells."""
        row, expected = difference.row, difference.expected
        assert expected is not None
        return [
            found
            for found in self._recomputed.history(row.key)
            if found.time_us == row.observed_us
            and (found.time_us, found.known_us) < (expected.time_us, expected.known_us)
        ]


def _as_float32(value: float) -> float | None:
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return None


def _is_zone(apart_us: int) -> bool:
    return apart_us % _QUARTER_US == 0 and 0 < abs(apart_us) <= _MOST_QUARTERS * _QUARTER_US


def _told(found: Observation) -> str:
    late = f", known from {_text(found.known_us)} on" if found.known_us > found.time_us else ""
    return f"the observation of {_text(found.time_us)}{late}"


def _text(moment_us: int) -> str:
    return isoformat(from_us(moment_us))


def _apart(apart_us: int) -> str:
    return f"{format_duration(abs(apart_us) / 1e6)} {'later' if apart_us > 0 else 'earlier'}"
