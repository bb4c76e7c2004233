"""The looked-up vectors of the prediction log: a sample of them, by the definitions that their versions pin."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mlops_box.box import Box
from mlops_box.clock import to_us
from mlops_box.data.rows import ColumnCheck
from mlops_box.data.sift import arrow_schema
from mlops_box.features.definition import Definition
from mlops_box.features.online import key_text
from mlops_box.features.parity import LoggedVector
from mlops_box.models.values import ModelVersion
from mlops_box.project import ColumnRule
from mlops_box.serving.sealing import FEATURE_PREFIX, feature_columns

# However many there are: so that a busy day is compared in seconds.
MOST_ROWS = 5_000
_WHOLE = 1 << 64


@dataclass(frozen=True)
class LoggedView:
    """The logged vectors of one pinned definition.

    Attributes:
        entities: That they are of, each once.
        features: Of the view, that the model has.
        as_logged: By feature: a value as the log holds it.
    """

    definition: Definition
    vectors: Sequence[LoggedVector]
    entities: pa.Table
    features: tuple[str, ...]
    as_logged: Mapping[str, Callable[[Any], Any]]


@dataclass(frozen=True)
class Logged:
    """``predictions`` with looked-up features there are; ``rows`` of them were chosen.

    Attributes:
        redacted: Predictions whose entity is not in the log, so that nothing can be recomputed.
        hidden: Looked-up columns whose values are not logged.
    """

    predictions: int
    rows: int
    views: tuple[LoggedView, ...]
    redacted: int = 0
    hidden: tuple[str, ...] = ()


def read_logged(
    box: Box,
    model: str,
    number: int | None,
    span: tuple[datetime | None, datetime | None],
    sample: float,
) -> Logged:
    """The sealed predictions about the times from ``span[0]`` to before ``span[1]``, of one version or of all.

    Raises:
        NotFoundError: A definition that a version pins is not in this box.
    """
    table = box.predictions.predictions(model, number, *span)
    if "entity" not in table.column_names:
        return Logged(0, 0, ())
    looked_up = table.filter(pc.and_(pc.is_valid(table["entity"]), pc.fill_null(table["sampled"], True)))
    predictions, looked_up = looked_up.num_rows, looked_up.filter(_named(looked_up["entity"]))
    redacted = predictions - looked_up.num_rows
    hidden = box.projects.redacted(model)
    chosen = looked_up.take(pa.array(_chosen(looked_up["id"].to_pylist(), sample), pa.int64()))
    views = []
    for one in sorted(set(chosen["number"].to_pylist())):
        version = box.models.get(f"{model}@{one}")
        rows = chosen.filter(pc.equal(chosen["number"], one))
        for definition in box.features.pinned(version.lineage).values():
            views.append(_view(version, definition, rows, hidden))
    found = {view.definition.in_model(name) for view in views for name in view.definition.features}
    return Logged(predictions, chosen.num_rows, tuple(views), redacted, tuple(sorted(hidden & found)))


def _named(entities: pa.ChunkedArray) -> pa.Array:
    """Of which rows the whole entity is logged: none is looked up by null."""
    # Few texts are worth parsing: a key that is null, or a value that reads like one.
    doubtful = pc.match_substring(entities, ":null").to_pylist()
    return pa.array(
        [
            not doubt or None not in json.loads(text).values()
            for doubt, text in zip(doubtful, entities.to_pylist(), strict=True)
        ],
        pa.bool_(),
    )


def _chosen(ids: Sequence[str], share: float) -> list[int]:
    """The places of the ids whose hash is small enough: the same ids whenever it is asked."""
    limit = round(share * _WHOLE)
    hashed = ((_hash(id_), place) for place, id_ in enumerate(ids))
    return sorted(place for _, place in heapq.nsmallest(MOST_ROWS, (one for one in hashed if one[0] < limit)))


def _hash(id_: str) -> int:
    return int.from_bytes(hashlib.blake2b(id_.encode(), digest_size=8).digest())


def _view(
    version: ModelVersion, definition: Definition, rows: pa.Table, hidden: frozenset[str]
) -> LoggedView:
    convert = {name: as_logged for name, (_, as_logged) in feature_columns(version.signature).items()}
    columns = convert.keys() - hidden
    features = tuple(name for name in definition.features if definition.in_model(name) in columns)
    checks = {
        column.name: ColumnCheck(column.name, ColumnRule.model_validate({"type": column.type}))
        for column in definition.entity
    }
    vectors, entities = [], {}
    for row in rows.to_pylist():
        entity = json.loads(row["entity"])
        values = [check.typed(entity[name]) for name, check in checks.items()]
        entities[key_text(values)] = values
        vectors.append(_vector(definition, features, key_text(values), row))
    schema = arrow_schema(definition.entity)
    table = pa.table(
        [
            pa.array(column, item.type)
            for column, item in zip(zip(*entities.values(), strict=True), schema, strict=True)
        ],
        schema=schema,
    )
    as_logged = {name: convert[definition.in_model(name)] for name in features}
    return LoggedView(definition, vectors, table, features, as_logged)


def _vector(
    definition: Definition, features: Sequence[str], key: str, row: Mapping[str, Any]
) -> LoggedVector:
    looked_at = row["feature_time"]
    # A row without an event time of its own is about the moment it was looked up.
    about = row["event_time"] if row["event_time"] != row["at"] else looked_at
    observed = row.get(f"observed:{definition.name}")
    return LoggedVector(
        row["id"], key, to_us(about), to_us(looked_at), to_us(row["feature_seen"]),
        row.get(f"definition:{definition.name}") or "", to_us(observed) if observed is not None else None,
        {name: row[f"{FEATURE_PREFIX}{definition.in_model(name)}"] for name in features},
    )  # fmt: skip
