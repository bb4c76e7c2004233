"""What of a request's rows may reach the disk: all of it, without some columns, or of some requests only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mlops_box.models.signature import Signature
from mlops_box.serving.columns import Columns
from mlops_box.serving.records import LoggedFeatures

Logged = Sequence[dict[str, Any]] | Columns
# Knuth's multiplicative hash: consecutive numbers fall evenly over the range, so a share is kept closely and at once.
_GOLDEN = 2654435761
_RANGE = 1 << 32


class LogView:
    """Applies ``[serve] redact`` and ``[serve] log_sample``.

    Answers, ids, times and latencies are always logged, so ground truth finds its prediction and rates are counted over
    all requests; rows that are not logged keep only their event time.

    Args:
        redact: Columns that are never logged.
        share: Of the requests whose rows are logged.
        time_column: The column that holds the event time, where there is one.
    """

    def __init__(
        self,
        signature: Signature,
        *,
        redact: Iterable[str] = (),
        share: float = 1.0,
        time_column: str | None = None,
    ):
        self._redacted = frozenset(redact)
        self._places = [
            index for index, feature in enumerate(signature.features) if feature.name in self._redacted
        ]
        self._below = round(share * _RANGE)
        self._time_column = time_column

    @property
    def is_plain(self) -> bool:
        """Everything is logged as it came."""
        return not self._redacted and self._below >= _RANGE

    def of(self, rows: Logged, ids: Sequence[str]) -> tuple[Logged, bool]:
        """What is logged of a request's rows, and whether that is its rows."""
        if self._takes(int(ids[0].rpartition("-")[2], 16)):
            return self._without_redacted(rows), True
        return self._times(rows), False

    def entities_of(self, features: LoggedFeatures | None) -> LoggedFeatures | None:
        """What is logged of the lookup for a request's rows: keys that are redacted are null."""
        if features is None or not self._redacted:
            return features
        entities = [
            {key: None if key in self._redacted else value for key, value in entity.items()}
            for entity in features.entities
        ]
        return features._replace(entities=entities)

    def _takes(self, first_number: int) -> bool:
        """Whether the rows of the request whose first prediction has this number are logged."""
        return first_number * _GOLDEN % _RANGE < self._below

    def _without_redacted(self, rows: Logged) -> Logged:
        """The rows without the redacted columns; what is redacted reads as null."""
        if not self._redacted:
            return rows
        if not isinstance(rows, Columns):
            return [{key: value for key, value in row.items() if key not in self._redacted} for row in rows]
        if rows.matrix is None:
            kept = {name: values for name, values in rows.values.items() if name not in self._redacted}
            return Columns(rows.rows, kept)
        if not self._places:
            return rows
        matrix = rows.matrix.copy()
        matrix[:, self._places] = np.nan
        return Columns(rows.rows, {}, matrix)

    def _times(self, rows: Logged) -> Logged:
        """Only the event times of the rows."""
        name = self._time_column
        if isinstance(rows, Columns):
            times = rows.values.get(name) if name is not None else None
            return Columns(rows.rows, {name: times} if name is not None and times is not None else {})
        if name is None:
            return [{}] * len(rows)
        return [{name: row[name]} if name in row else {} for row in rows]
