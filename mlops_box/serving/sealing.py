"""From records of the prediction log to Arrow tables and Parquet bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlops_box.canonical import canonical_json
from mlops_box.clock import isoformat, parse_time
from mlops_box.db import Database
from mlops_box.models.encode import category_text
from mlops_box.models.values import Signature
from mlops_box.serving.columns import Columns
from mlops_box.serving.records import DeviceOrigin, LoggedFeatures, PredictionRecord, Record, TruthRecord

TIMESTAMP = pa.timestamp("us", tz="UTC")
FEATURE_PREFIX = "feature:"
PREDICTION_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("at", TIMESTAMP),
        ("event_time", TIMESTAMP),
        ("number", pa.int32()),
        ("variant", pa.string()),
        ("latency_ms", pa.float32()),
        ("outcome", pa.string()),
        ("sampled", pa.bool_()),
        ("prediction", pa.float64()),
        ("label", pa.string()),
        ("probability", pa.list_(pa.float32())),
        ("device", pa.string()),
        ("device_boot", pa.string()),
        ("device_time", TIMESTAMP),
    ]
)
# Rows that are not ``sampled`` have answers and times, no features; null, in parts of earlier programs, means sampled.
# ``device`` and what follows are null where this box answered; see :class:`DeviceOrigin`.
# ``order`` keeps the order of arrival inside a segment, for corrections within one microsecond.
TRUTH_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("truth", pa.string()),
        ("truth_number", pa.float64()),
        ("at", TIMESTAMP),
        ("order", pa.int64()),
    ]
)
_CHUNK_ROWS = 8192
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Key = tuple[str, str]


@dataclass(frozen=True)
class SealedPart:
    """The records of one kind and model of one segment, as an object."""

    model: str
    kind: str
    digest: str
    rows: int
    time_min: str
    time_max: str

    @staticmethod
    def of(model: str, kind: str, digest: str, table: pa.Table) -> SealedPart:
        column = table["event_time" if kind == "prediction" else "at"]
        span = pc.min_max(column).as_py()
        return SealedPart(model, kind, digest, table.num_rows, isoformat(span["min"]), isoformat(span["max"]))

    def to_row(self) -> dict[str, Any]:
        return {
            "model": self.model, "kind": self.kind, "digest": self.digest, "rows": self.rows,
            "time_min": self.time_min, "time_max": self.time_max,
        }  # fmt: skip


class Signatures:
    """Signatures of model versions, read once each; an unknown version has none."""

    def __init__(self, db: Database):
        self._db = db
        self._known: dict[tuple[str, int], Signature | None] = {}

    def get(self, model: str, number: int) -> Signature | None:
        key = (model, number)
        if key not in self._known:
            row = self._db.one("SELECT signature FROM versions WHERE model = ? AND number = ?", key)
            self._known[key] = Signature.from_json(row["signature"]) if row else None
        return self._known[key]


@dataclass
class _Builder:
    """Columns of one (model, kind), gathered in chunks so that Python objects never hold a whole segment."""

    base: pa.Schema
    fields: dict[str, pa.DataType] = field(default_factory=dict)
    columns: dict[str, list[Any]] = field(default_factory=dict)
    rows: int = 0
    total: int = 0
    chunks: list[pa.Table] = field(default_factory=list)

    def add(self, values: dict[str, list[Any]], rows: int, types: dict[str, pa.DataType]) -> None:
        """Append ``rows`` rows, column by column."""
        if any(self.fields.get(name, type_) != type_ for name, type_ in types.items()):
            self.flush()
        self.fields.update(types)
        for name, items in values.items():
            column = self.columns.get(name)
            if column is None:
                column = self.columns[name] = []
            if len(column) < self.rows:
                column.extend([None] * (self.rows - len(column)))
            column.extend(items)
        self.rows += rows
        self.total += rows
        if self.rows >= _CHUNK_ROWS:
            self.flush()

    def flush(self) -> None:
        if self.rows == 0:
            return
        schema = pa.schema([*self.base, *self.fields.items()])
        arrays = []
        for item in schema:
            values = self.columns.get(item.name, [])
            values.extend([None] * (self.rows - len(values)))
            arrays.append(pa.array(values, item.type))
        self.chunks.append(pa.table(arrays, schema=schema))
        self.columns, self.rows = {}, 0

    def table(self) -> pa.Table:
        self.flush()
        return concat(self.chunks, self.base)


def concat(tables: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    """Below each other; a column that only some have is null elsewhere, one of two types becomes text."""
    types: dict[str, set[pa.DataType]] = {}
    for table in tables:
        for item in table.schema:
            types.setdefault(item.name, set()).add(item.type)
    mixed = {name for name, found in types.items() if len(found) > 1}
    for name in mixed:
        tables = [_as_text(table, name) if name in table.column_names else table for table in tables]
    return pa.concat_tables([schema.empty_table(), *tables], promote_options="default")


def _as_text(table: pa.Table, name: str) -> pa.Table:
    column = table[name]
    if not pa.types.is_string(column.type):
        texts = [_category(value) for value in column.to_pylist()]
        table = table.set_column(table.column_names.index(name), name, pa.array(texts, pa.string()))
    return table


def tables_of(records: Iterable[Record], signatures: Signatures) -> dict[Key, pa.Table]:
    """Tables by (model, kind), kind being ``prediction`` or ``truth``, in the order of writing."""
    builders: dict[Key, _Builder] = {}
    for record in records:
        if isinstance(record, PredictionRecord):
            builder = builders.setdefault((record.model, "prediction"), _Builder(PREDICTION_SCHEMA))
            _add_predictions(builder, record, signatures.get(record.model, record.number))
        else:
            builder = builders.setdefault((record.model, "truth"), _Builder(TRUTH_SCHEMA))
            _add_truths(builder, record)
    return {key: builder.table() for key, builder in builders.items() if builder.total}


def part_bytes(table: pa.Table) -> bytes:
    """Parquet; the same table gives the same bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def _add_predictions(builder: _Builder, record: PredictionRecord, signature: Signature | None) -> None:
    at = _from_us(record.at_us)
    rows, columns = record.rows, columns_of(record.rows, signature)
    times = columns(record.time_column) if record.time_column else []
    count = len(rows)
    values: dict[str, list[Any]] = {
        "id": list(record.ids),
        "at": [at] * count,
        "event_time": [_event_time(time) or at for time in times] or [at] * count,
        "number": [record.number] * count,
        "variant": [record.variant] * count,
        "latency_ms": [record.latency_ms] * count,
        "outcome": [record.outcome] * count,
        "sampled": [record.sampled] * count,
        "prediction": _or_none(record.predictions, count),
        "label": _or_none(record.labels, count),
        "probability": _or_none(record.probabilities, count),
        **_origin(record.device, count),
    }
    features = feature_columns(signature)
    for name, (_, convert) in features.items():
        values[FEATURE_PREFIX + name] = [convert(value) for value in columns(name)]
    types = {FEATURE_PREFIX + name: type_ for name, (type_, _) in features.items()}
    if record.features is not None:
        looked = looked_up_columns(record.features)
        values |= {name: found for name, (_, found) in looked.items()}
        types |= {name: type_ for name, (type_, _) in looked.items()}
    builder.add(values, count, types)


def looked_up_columns(features: LoggedFeatures) -> dict[str, tuple[pa.DataType, list[Any]]]:
    """What is sealed of rows whose features were looked up: ``entity`` (JSON), ``feature_time`` and ``feature_seen``, and
    for each view ``definition:VIEW``, and ``observed:VIEW`` and ``known:VIEW`` of the observation that was found."""
    count = len(features.entities)
    found: dict[str, tuple[pa.DataType, list[Any]]] = {
        "entity": (pa.string(), [canonical_json(entity) for entity in features.entities]),
        "feature_time": (TIMESTAMP, list(features.at_us)),
        "feature_seen": (TIMESTAMP, [features.seen_us] * count),
    }
    for view, digest in features.definitions.items():
        observed = features.observed[view]
        found[f"definition:{view}"] = (pa.string(), [digest] * count)
        found[f"observed:{view}"] = (TIMESTAMP, [times[0] if times else None for times in observed])
        found[f"known:{view}"] = (TIMESTAMP, [times[1] if times else None for times in observed])
    return found


def _origin(device: DeviceOrigin | None, count: int) -> dict[str, list[Any]]:
    if device is None:
        return {}
    clock = _from_us(device.clock_us) if device.clock_us is not None else None
    columns = {"device": device.name, "device_boot": device.boot, "device_time": clock}
    return {name: [value] * count for name, value in columns.items()}


def _or_none(values: Sequence[Any] | None, count: int) -> list[Any]:
    return [None] * count if values is None else list(values)


def columns_of(
    rows: Sequence[dict[str, Any]] | Columns, signature: Signature | None
) -> Callable[[str], list[Any]]:
    """Gives a column's values by its name; ``None`` where there is none."""
    if not isinstance(rows, Columns):
        return lambda name: [row.get(name) for row in rows]
    if rows.matrix is None:
        return lambda name: rows.values[name].tolist() if name in rows.values else [None] * rows.rows
    matrix = rows.matrix
    places = {feature.name: index for index, feature in enumerate(signature.features if signature else ())}
    return lambda name: matrix[:, places[name]].tolist() if name in places else [None] * rows.rows


def _add_truths(builder: _Builder, record: TruthRecord) -> None:
    at, truths = _from_us(record.at_us), record.truths
    values: dict[str, list[Any]] = {
        "id": [truth.id for truth in truths],
        "truth": [truth.text for truth in truths],
        "truth_number": [truth.number for truth in truths],
        "at": [at] * len(truths),
        "order": list(range(builder.total, builder.total + len(truths))),
    }
    builder.add(values, len(truths), {})


def feature_columns(
    signature: Signature | None,
) -> dict[str, tuple[pa.DataType, Callable[[Any], Any]]]:
    """The type that each feature is sealed in, and how a value becomes one of it."""
    if signature is None:
        return {}
    return {
        feature.name: (pa.float64(), _number) if feature.kind == "numeric" else (pa.string(), _category)
        for feature in signature.features
    }


def _number(value: Any) -> float | None:
    """As the model saw it: booleans are 0 and 1, what is no number is missing."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _category(value: Any) -> str | None:
    return None if value is None else category_text(value)


def _event_time(value: Any) -> datetime | None:
    try:
        if isinstance(value, datetime):
            return value.replace(tzinfo=UTC)
        return parse_time(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _from_us(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
