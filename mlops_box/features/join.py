"""The point-in-time join: what was known of each entity at each moment, and nothing later."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import duckdb
import pyarrow as pa

from mlops_box.data.sql import name as quote
from mlops_box.errors import SourceError, UsageError
from mlops_box.features.view import FeatureView

_MOMENT = "TIMESTAMPTZ"


def point_in_time_join(entities: pa.Table, views: Sequence[FeatureView], *, time: str) -> pa.Table:
    """Add to every entity row the features as they were known at its time.

    A row of a view counts at moment *t* when it had happened (``time`` <= t) and was known (``known`` <= t); of those
    the newest by event time wins, of equal event times the one known last, of equal ones the one delivered last. It
    counts as missing once it is older than the view's ttl.

    With a row's *effective* time e = max(time, known), "usable at t" is e <= t. The winner among the usable rows is a
    running maximum over rows ordered by e, so that one ASOF join (DuckDB) on e answers late and corrected rows too.

    Args:
        entities: Rows to complete: the views' entity columns and ``time``; other columns pass through.
        views: Each adds its features under ``view__feature``.
        time: The moment to look at, a timestamp column. Timestamps without a zone are UTC.

    Returns:
        The rows of ``entities``, in their order, with the features added.

    Raises:
        SourceError: A column is missing or ``time`` is no timestamp.
        UsageError: Two views of one name.
    """
    names = [view.name for view in views]
    if len(set(names)) != len(names):
        raise UsageError("two feature views have the same name")
    if time not in entities.column_names or not pa.types.is_timestamp(entities.schema.field(time).type):
        raise SourceError(f"the entity rows need a timestamp column {time!r}")
    connection = duckdb.connect(
        ":memory:", config={"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    )
    try:
        connection.execute("SET TimeZone='UTC'")
        ordinal = pa.array(range(entities.num_rows), pa.int64())
        current = entities.append_column("__row", ordinal)
        for view in views:
            current = _join_one(connection, current, view, time)
        ordered = current.sort_by("__row")
        return ordered.drop_columns(["__row"])
    finally:
        connection.close()


def _join_one(
    connection: duckdb.DuckDBPyConnection, rows: pa.Table, view: FeatureView, time: str
) -> pa.Table:
    for column in view.entity:
        if column not in rows.column_names:
            raise SourceError(
                f"the entity rows lack {column!r}, which feature view {view.name!r} is joined on"
            )
    history = view.history.append_column("__delivered", pa.array(range(view.history.num_rows), pa.int64()))
    connection.register("entity_rows", rows)
    connection.register("view_rows", history)
    known = quote(view.known) if view.known else quote(view.time)
    event, keys = quote(view.time), ", ".join(quote(name) for name in view.entity)
    packed = ", ".join(f"{quote(name)} := {quote(name)}" for name in view.features)
    fresh = (
        "TRUE"
        if view.ttl is None
        else f"e.{quote(time)}::{_MOMENT} - v.best.__event <= {_interval(view.ttl)}"
    )
    added = ", ".join(
        f"CASE WHEN {fresh} THEN v.best.__values.{quote(name)} END AS {quote(f'{view.name}__{name}')}"
        for name in view.features
    )
    on = " AND ".join(f"e.{quote(name)} = v.{quote(name)}" for name in view.entity)
    sql = f"""
        WITH observed AS (
          SELECT {keys}, {event}::{_MOMENT} AS __event, {known}::{_MOMENT} AS __known,
                 greatest({event}::{_MOMENT}, {known}::{_MOMENT}) AS __effective, __delivered,
                 struct_pack({packed}) AS __values
          FROM view_rows WHERE {event} IS NOT NULL AND {known} IS NOT NULL
        ), running AS (
          SELECT DISTINCT {keys}, __effective,
                 arg_max(struct_pack(__event := __event, __values := __values),
                         row(__event, __known, __delivered))
                   OVER (PARTITION BY {keys} ORDER BY __effective
                         RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS best
          FROM observed
        )
        SELECT e.*, {added}
        FROM entity_rows e ASOF LEFT JOIN running v ON {on} AND e.{quote(time)}::{_MOMENT} >= v.__effective
    """
    return connection.sql(sql).to_arrow_table()


def _interval(span: timedelta) -> str:
    return f"to_microseconds({round(span.total_seconds() * 1_000_000)})"
