"""Windows of what was asked and answered, counted between the edges of the training reference.

The counts are those of :mod:`mlops_box.monitoring.counts`, so the box merges them with its own, exactly. A few kilobytes an
hour stand for all rows, logged or not. A window is written when it has been open for its length; rows that come for it
later make another record of the same window, which adds up with the first.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, Iterator, Sequence, Union

import numpy as np
import numpy.typing as npt

from mlops_box.models.encode import Tensors
from mlops_box.monitoring.counts import EXAMPLES, CategoricalCounts, NumericCounts, WindowCounts
from mlops_box.monitoring.reference import (
    PREDICTION,
    CategoricalReference,
    ColumnReference,
    NumericReference,
    count_between,
    rounded,
)
from mlops_box.serving.answers import Answers

from .model import Served
from .moments import utc_text

KEPT = 24
"""Closed windows that ``/drift`` still shows."""

MAX_OPEN = 48
"""Callers may send any event time: beyond so many open windows the longest open is closed."""


class _Numbers:
    def __init__(self, reference: NumericReference) -> None:
        self._edges = np.asarray(reference.edges, dtype=np.float64)
        self._counts = np.zeros(len(reference.edges) + 1, dtype=np.int64)
        self._nulls = 0

    def add(self, values: npt.NDArray[Any]) -> None:
        there = values[~np.isnan(values)].astype(np.float64)
        self._nulls += len(values) - len(there)
        self._counts += np.asarray(count_between(there, self._edges))

    def add_nulls(self, rows: int) -> None:
        self._nulls += rows

    def value(self) -> NumericCounts:
        return NumericCounts(tuple(self._counts.tolist()), self._nulls)


class _Texts:
    def __init__(self, reference: CategoricalReference) -> None:
        self._place = {value: index for index, value in enumerate(reference.values)}
        self._counts = [0] * len(reference.values)
        self._unlisted = 0
        self._examples: set[str] = set()
        self._nulls = 0

    def add(self, values: Sequence[str]) -> None:
        for value in values:
            place = self._place.get(value)
            if place is not None:
                self._counts[place] += 1
            elif value:
                self._unlisted += 1
                self._examples.add(value)
            else:
                self._nulls += 1
        if len(self._examples) > EXAMPLES:
            self._examples = set(sorted(self._examples)[:EXAMPLES])

    def add_nulls(self, rows: int) -> None:
        self._nulls += rows

    def value(self) -> CategoricalCounts:
        return CategoricalCounts(
            tuple(self._counts), self._unlisted, tuple(sorted(self._examples)), self._nulls
        )


_Tally = Union[_Numbers, _Texts]


class WindowTally:
    """One window of one version, being counted."""

    def __init__(self, served: Served) -> None:
        self.rows = 0
        self._columns: list[tuple[str, _Tally]] = [(c.name, _tally(c)) for c in served.reference.columns]
        redacted = set(served.contract.redact)
        signature = served.signature
        self._numeric = {n: i for i, n in enumerate(signature.numeric) if n not in redacted}
        self._text = {n: i for i, n in enumerate(signature.categorical) if n not in redacted}

    def add(self, tensors: Tensors, answers: Answers) -> None:
        """Count rows as the model read them, and what it answered."""
        rows = tensors.rows
        self.rows += rows
        for name, tally in self._columns:
            if name == PREDICTION:
                _add_answers(tally, answers, rows)
            elif isinstance(tally, _Numbers) and name in self._numeric and tensors.numeric is not None:
                tally.add(tensors.numeric[:, self._numeric[name]])
            elif isinstance(tally, _Texts) and name in self._text and tensors.text is not None:
                tally.add(tensors.text[:, self._text[name]].tolist())
            else:  # redacted, or no feature of this version
                tally.add_nulls(rows)

    def value(self) -> WindowCounts:
        return WindowCounts(self.rows, tuple(tally.value() for _, tally in self._columns))


def _tally(reference: ColumnReference) -> _Tally:
    return _Numbers(reference) if isinstance(reference, NumericReference) else _Texts(reference)


def _add_answers(tally: _Tally, answers: Answers, rows: int) -> None:
    if isinstance(tally, _Texts):
        tally.add(answers.labels or [""] * rows)
    elif answers.numbers is None:
        tally.add_nulls(rows)
    else:
        tally.add(rounded(np.array(answers.numbers, dtype=np.float64)))


@dataclass
class _Open:
    # Not the version itself: a window may be open for an hour after its version was replaced, and models are large.
    model: str
    number: int
    digest: str
    start_us: int
    width_us: int
    by: str
    opened_s: float
    tally: WindowTally

    def body(self) -> str:
        """The record's body."""
        return json.dumps(
            {
                "model": self.model,
                "number": self.number,
                "starts_at": utc_text(self.start_us),
                "ends_at": utc_text(self.start_us + self.width_us),
                "by": self.by,
                "counts": self.tally.value().to_dict(),
            },
            ensure_ascii=False,
        )


@dataclass(frozen=True)
class Seen:
    """A window for ``/drift``."""

    start_us: int
    width_us: int
    is_open: bool
    counts: WindowCounts


class Histograms:
    """The windows of all versions that served; for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[tuple[str, int, str], _Open] = {}
        self._closed: deque[tuple[str, Seen]] = deque(maxlen=KEPT)

    def add(
        self, served: Served, start_us: int, by: str, tensors: Tensors, answers: Answers, now_s: float
    ) -> None:
        """Count rows of one window.

        Args:
            start_us: When it begins, in microseconds since 1970.
            by: ``event``: their event time says so; ``clock``: the device's clock, which may be wrong.
            now_s: A monotonic clock's reading.
        """
        with self._lock:
            key = (served.digest, start_us, by)
            found = self._open.get(key)
            if found is None:
                tally = WindowTally(served)
                width_us = window_us(served)
                found = self._open[key] = _Open(
                    served.model, served.number, served.digest, start_us, width_us, by, now_s, tally
                )
            found.tally.add(tensors, answers)

    def due(self, now_s: float, every: bool = False) -> list[str]:
        """Close the windows that were open for their length (or all), and give their bodies."""
        with self._lock:
            by_age = sorted(self._open.items(), key=lambda item: item[1].opened_s)
            surplus = max(0, len(by_age) - MAX_OPEN)
            bodies = []
            for position, (key, window) in enumerate(by_age):
                is_old = (now_s - window.opened_s) * 1e6 >= window.width_us
                if every or is_old or position < surplus:
                    del self._open[key]
                    seen = Seen(window.start_us, window.width_us, False, window.tally.value())
                    self._closed.append((window.digest, seen))
                    bodies.append(window.body())
            return bodies

    def checkpoint(self) -> list[str]:
        """The bodies of the open windows: what a process that dies would leave behind."""
        with self._lock:
            return [window.body() for window in self._open.values()]

    def seen(self, served: Served) -> Iterator[Seen]:
        """The windows of one version, those being counted last."""
        with self._lock:
            closed = [seen for digest, seen in self._closed if digest == served.digest]
            now = [
                Seen(window.start_us, window.width_us, True, window.tally.value())
                for window in self._open.values()
                if window.digest == served.digest
            ]
        yield from sorted(closed, key=lambda seen: seen.start_us)
        yield from sorted(now, key=lambda seen: seen.start_us)


def window_us(served: Served) -> int:
    """The length of a version's windows."""
    return max(1, round(served.contract.window_seconds * 1e6))
