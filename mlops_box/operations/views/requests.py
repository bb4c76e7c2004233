"""The requests that a model answered, as its prediction log tells them: the newest whole, all of a window counted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_box.box import Box
from mlops_box.clock import from_us, isoformat, to_us
from mlops_box.errors import NotFoundError
from mlops_box.ids import parse_ref
from mlops_box.operations.views.filters import compile_filter
from mlops_box.serving.answered import AnsweredRequest, Counted
from mlops_box.serving.log_tail import LogTail, TailQuestion, TailReader

# A window is drawn in so many parts.
PARTS = 30

_FIELDS = {
    name: f"json_extract(value, '$.{name}')"
    for name in ("id", "version", "variant", "answer", "outcome", "truth", "inputs")
}


@dataclass(frozen=True)
class TrafficPart:
    """A part of a window; ``None`` is unknown.

    Attributes:
        per_minute: Requests.
        p50_ms: ``None`` also where there was no request to time.
    """

    at: datetime
    per_minute: float | None
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True)
class LoggedTraffic:
    """What a version answered within a window, by the log.

    Attributes:
        since: The numbers count from here: the window's begin, or later where the log was not read further back.
        not_finite: Requests with an answer that is no number.
        parts: Whole ones only, oldest first; the part that is under way is not among them.
    """

    since: datetime
    until: datetime
    requests: int
    rows: int
    not_finite: int
    p50_ms: float | None
    p99_ms: float | None
    parts: tuple[TrafficPart, ...]


def newest_requests(
    box: Box, ref: str, *, since: datetime, limit: int = 200, before: LogTail | None = None
) -> LogTail:
    """The newest requests of ``name`` (any version), ``name@7`` or ``name@alias``, and all since a moment counted, within bounds.

    Columns that the model's project redacts now are left out, also where an earlier declaration let them be logged.

    Args:
        since: How far back all are counted.
        limit: So many are returned whole, of whatever age.
        before: An earlier answer to the same question; only what is new is read then.

    Raises:
        NotFoundError: No such model, version or alias.
        IntegrityError: A sealed part of the log is damaged.
    """
    model, number = _version(box, ref)
    hidden = box.projects.redacted(model)
    reader = TailReader(box.home.predictions, box.db, box.objects, box.clock)
    return reader.read(TailQuestion(model, number, since, limit, hidden), before)


def matching(box: Box, requests: Sequence[AnsweredRequest], typed: str) -> tuple[AnsweredRequest, ...]:
    """Those that a typed filter lets through, see :mod:`mlops_box.operations.views.filters`.

    Raises:
        UsageError: It names a field that does not exist.
    """
    if not typed.strip():
        return tuple(requests)
    condition = compile_filter(typed, fields=_FIELDS, text=tuple(_FIELDS.values()))
    told = json.dumps([_searched(request) for request in requests], default=str)
    rows = box.db.read(
        f"SELECT key FROM json_each(?) WHERE {condition.sql} ORDER BY key", (told, *condition.parameters)
    )
    return tuple(requests[int(row["key"])] for row in rows)


def logged_traffic(tail: LogTail, *, now: datetime, window: timedelta) -> LoggedTraffic:
    """The part of a reading that lies in the last ``window``."""
    until_us, width_us = to_us(now), window // timedelta(microseconds=1) // PARTS
    end = until_us // width_us
    since_us = max((end - PARTS) * width_us, to_us(tail.known_since))
    found = tail.counted.since(since_us)
    parts = [
        _part(found, begin * width_us, width_us, known=begin * width_us >= since_us)
        for begin in range(end - PARTS, end)
    ]
    p50, p99 = _quantiles(found.latency_ms)
    return LoggedTraffic(
        from_us(since_us), now, len(found), int(found.rows.sum()), int((~found.finite).sum()), p50, p99,
        tuple(parts),
    )  # fmt: skip


def request_facts(request: AnsweredRequest) -> dict[str, Any]:
    """For programs."""
    return {
        "id": request.id, "at": isoformat(request.at), "model": request.model, "version": request.number,
        "variant": request.variant, "latency_ms": request.latency_ms, "outcome": request.outcome,
        "rows_logged": request.sampled, "copy_of": request.copy_of, "rows": request.rows,
        "first": [
            {
                "id": row.id, "inputs": dict(row.inputs), "prediction": row.prediction, "label": row.label,
                "probability": list(row.probability) if row.probability is not None else None, "truth": row.truth,
            }
            for row in request.first
        ],
    }  # fmt: skip


def _version(box: Box, ref: str) -> tuple[str, int | None]:
    """The model and, where one is named, the version's number."""
    asked = parse_ref(ref)
    if "@" in ref:
        version = box.models.get(asked)
        return version.model, version.number
    if asked.name not in box.models.models():
        raise NotFoundError(f"this box knows no model {asked.name!r}", hint="mlops-box models list")
    return asked.name, None


def _searched(request: AnsweredRequest) -> dict[str, Any]:
    return {
        "id": request.id, "version": f"v{request.number}", "variant": request.variant, "outcome": request.outcome,
        "answer": request.first[0].answer, "truth": request.first[0].truth,
        "inputs": json.dumps([dict(row.inputs) for row in request.first], default=str, ensure_ascii=False),
    }  # fmt: skip


def _part(found: Counted, begin_us: int, width_us: int, *, known: bool) -> TrafficPart:
    if not known:
        return TrafficPart(from_us(begin_us), None, None, None)
    inside = (found.at_us >= begin_us) & (found.at_us < begin_us + width_us)
    p50, p99 = _quantiles(found.latency_ms[inside])
    return TrafficPart(from_us(begin_us), float(inside.sum()) * 60e6 / width_us, p50, p99)


def _quantiles(latency_ms: npt.NDArray[np.float64]) -> tuple[float | None, float | None]:
    known = latency_ms[~np.isnan(latency_ms)]
    if not known.size:
        return None, None
    p50, p99 = np.quantile(known, (0.5, 0.99))
    return float(p50), float(p99)
