"""whylogs profiles straight from Arrow.

``why.log`` walks over pandas value by value. Here a column becomes the arrays that whylogs' metrics take, nulls and
non-finite values filtered out, and repeated values are counted by Arrow first, so that the sketches see each once.
A profile is stored zlib-compressed.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_box.errors import IntegrityError
from mlops_box.monitoring.columns import is_text, mostly_distinct
from mlops_box.monitoring.whylogs_shim import Whylogs, load_whylogs

_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_TOP_VALUES = 10
_MAX_TEXT = 128  # whylogs cuts frequent items here too
# Above this share of distinct values counting first costs more than it saves.
_COUNT_FIRST_BELOW = 0.25
# A sketch of 4096 buckets is wrong by 1.6 % (one standard deviation): of what it calls so much above that, counting is not needed.
_SURELY_ABOVE = 1.2 * _COUNT_FIRST_BELOW


@dataclass(frozen=True)
class ColumnValues:
    """One column as whylogs' metrics take it; at most one of ``ints``, ``floats``, ``texts`` is set.

    ``rows`` counts all, ``nulls`` the missing ones, ``nans`` and ``infs`` the numbers that are none.
    """

    rows: int
    nulls: int
    nans: int = 0
    infs: int = 0
    true: int = 0
    ints: np.ndarray[Any, Any] | None = None
    floats: np.ndarray[Any, Any] | None = None
    texts: pa.Array | None = None
    is_bool: bool = False


def profile_table(table: pa.Table, *, at: datetime | None = None) -> bytes:
    """A whylogs profile of every column, compressed; ``merge_profiles`` merges such profiles.

    Args:
        table: Any Arrow table. Nested columns are counted only.
        at: The profile's timestamp; the epoch when ``None``.
    """
    why = load_whylogs()
    moment = at or datetime(1970, 1, 1, tzinfo=UTC)
    columns = {name: _column_view(why, name, table.column(name)) for name in table.column_names}
    view = why.DatasetProfileView(columns=columns, dataset_timestamp=moment, creation_timestamp=moment)
    return zlib.compress(view.serialize(), 6)


def read_profile(data: bytes) -> Any:
    """The ``whylogs.DatasetProfileView`` inside stored bytes.

    Raises:
        IntegrityError: The bytes are no profile.
    """
    why = load_whylogs()
    try:
        return why.DatasetProfileView.deserialize(zlib.decompress(data))
    except (zlib.error, ValueError) as error:
        raise IntegrityError(
            f"these {len(data)} bytes are no profile: {error}", hint="run mlops-box verify"
        ) from error


def merge_profiles(profiles: Sequence[bytes]) -> bytes:
    """One profile as if the tables had been profiled together (within the error of the sketches).

    Raises:
        ValueError: No profile given.
    """
    if not profiles:
        raise ValueError("nothing to merge")
    merged = read_profile(profiles[0])
    for data in profiles[1:]:
        merged = merged.merge(read_profile(data))
    return zlib.compress(merged.serialize(), 6)


def summarize_profile(data: bytes) -> dict[str, dict[str, Any]]:
    """Per column: rows, missing, range, mean, quantiles, number of distinct values, most frequent values."""
    return {name: _column_summary(view) for name, view in sorted(read_profile(data).get_columns().items())}


def column_values(column: pa.ChunkedArray) -> ColumnValues:
    """Split an Arrow column into values and counts of what is none.

    Integers that do not fit into 64 signed bits and decimals become floats, times microseconds since 1970.
    """
    rows, nulls = len(column), column.null_count
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.cast(column.type.storage_type)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_boolean(kind):
        values = column.drop_null().cast(pa.int8()).to_numpy().astype(np.int64)
        return ColumnValues(rows, nulls, true=int(values.sum()), ints=values, is_bool=True)
    if pa.types.is_uint64(kind) or pa.types.is_decimal(kind):
        column, kind = column.cast(pa.float64(), safe=False), pa.float64()
    if pa.types.is_integer(kind):
        return ColumnValues(rows, nulls, ints=column.drop_null().to_numpy().astype(np.int64, copy=False))
    if pa.types.is_floating(kind):
        values = column.drop_null().to_numpy().astype(np.float64, copy=False)
        finite = np.isfinite(values)
        nans = int(np.isnan(values).sum()) if not finite.all() else 0
        infs = len(values) - int(finite.sum()) - nans
        return ColumnValues(rows, nulls, nans, infs, floats=values[finite] if nans or infs else values)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        moments = column.drop_null().cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False)
        return ColumnValues(rows, nulls, ints=moments.cast(pa.int64()).to_numpy())
    if is_text(kind):
        return ColumnValues(rows, nulls, texts=column.drop_null().cast(pa.string()).combine_chunks())
    return ColumnValues(rows, nulls)


def _column_view(why: Whylogs, name: str, column: pa.ChunkedArray) -> Any:
    values = column_values(column)
    kind = int if values.ints is not None else float if values.floats is not None else str
    schema = why.DatasetSchema(types={name: kind})
    metrics = schema.get(name).get_metrics(name)
    whole = _preprocessed(why, values)
    for namespace in ("counts", "types", "ints", "distribution"):
        if namespace in metrics and (values.rows or namespace == "counts"):
            part = whole if namespace in ("counts", "types") else _numbers_only(why, values)
            metrics[namespace].columnar_update(part)
    items = metrics["frequent_items"].frequent_strings.value if "frequent_items" in metrics else None
    _count_distinct(values, metrics["cardinality"].hll.value, items)
    return why.ColumnProfileView(metrics=metrics, success_count=values.rows, failure_count=0)


def _preprocessed(why: Whylogs, values: ColumnValues) -> Any:
    column = why.PreprocessedColumn()
    column.len, column.null_count = values.rows, values.nulls
    column.nan_count, column.inf_count = values.nans, values.infs
    if values.is_bool and values.ints is not None:
        column.bool_count, column.bool_count_where_true = len(values.ints), values.true
        return column
    column.numpy.ints, column.numpy.floats = values.ints, values.floats
    if values.texts is not None:
        # Only its length is read: by the type counter.
        column.list.strings = range(len(values.texts))
    return column


def _numbers_only(why: Whylogs, values: ColumnValues) -> Any:
    column = why.PreprocessedColumn()
    column.len = values.rows
    column.numpy.ints, column.numpy.floats = values.ints, values.floats
    return column


def _count_distinct(values: ColumnValues, hll: Any, items: Any | None) -> None:
    """Feed the cardinality sketch and, where the column has one, the frequent-items sketch."""
    if values.is_bool and values.ints is not None:
        true, false = values.true, len(values.ints) - values.true
        for text, number, count in (("True", 1, true), ("False", 0, false)):
            if count:
                hll.update(number)
                if items is not None:
                    items.update(text, count)
    elif values.floats is not None:
        hll.update_np(values.floats)
    elif values.ints is not None:
        _count_ints(values.ints, hll, items)
    elif values.texts is not None:
        _count_texts(values.texts, hll, items)


def _count_ints(ints: np.ndarray[Any, Any], hll: Any, items: Any | None) -> None:
    values = pa.array(ints)
    if mostly_distinct(values):
        # Values that come again change nothing in this sketch.
        hll.update_np(ints)
        if items is None:
            return
        if hll.get_estimate() > _SURELY_ABOVE * len(ints):
            items.update_np(ints)
            return
    counted = pc.value_counts(values)
    distinct = counted.field("values").to_numpy()
    hll.update_np(distinct)
    if items is None:
        return
    if len(distinct) > _COUNT_FIRST_BELOW * len(ints):
        items.update_np(ints)
        return
    for value, count in zip(distinct.tolist(), counted.field("counts").to_pylist(), strict=True):
        items.update(str(value), count)


def _count_texts(texts: pa.Array, hll: Any, items: Any | None) -> None:
    if mostly_distinct(texts):
        spelled = texts.to_pylist()
        hll.update_str_list(spelled)
        if items is None:
            return
        if hll.get_estimate() > _SURELY_ABOVE * len(texts):
            items.update_str_list(_cut(texts, spelled))
            return
    counted = pc.value_counts(texts)
    distinct = counted.field("values").to_pylist()
    hll.update_str_list(distinct)
    if items is None:
        return
    if len(distinct) > _COUNT_FIRST_BELOW * len(texts):
        items.update_str_list(_cut(texts))
        return
    for value, count in zip(distinct, counted.field("counts").to_pylist(), strict=True):
        items.update(value[:_MAX_TEXT], count)


def _cut(texts: pa.Array, spelled: list[str] | None = None) -> list[str]:
    """The texts as frequent items hold them; ``spelled`` are they, where that was done already."""
    if spelled is not None and pc.max(pc.binary_length(texts)).as_py() <= _MAX_TEXT:
        return spelled
    cut: list[str] = pc.utf8_slice_codeunits(texts, 0, _MAX_TEXT).to_pylist()
    return cut


def _column_summary(view: Any) -> dict[str, Any]:
    counts = view.get_metric("counts")
    summary: dict[str, Any] = {
        "rows": counts.n.value, "nulls": counts.null.value,
        "nans": counts.nan.value, "infs": counts.inf.value,
    }  # fmt: skip
    distribution = view.get_metric("distribution")
    if distribution is not None and distribution.n:
        quantiles = distribution.kll.value.get_quantiles(list(_QUANTILES))
        summary |= {
            "min": distribution.min, "max": distribution.max,
            "mean": distribution.avg, "std": distribution.stddev,
            "quantiles": {f"{share:g}": value for share, value in zip(_QUANTILES, quantiles, strict=True)},
        }  # fmt: skip
    cardinality = view.get_metric("cardinality")
    if cardinality is not None:
        summary["distinct"] = round(cardinality.hll.value.get_estimate())
    items = view.get_metric("frequent_items")
    if items is not None and items.strings:
        summary["top"] = {item.value: item.est for item in items.strings[:_TOP_VALUES]}
    return summary
