"""The point-in-time join: what was known of each entity at each moment, and nothing later."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mlops_box.data.engine import MEMORY_LIMIT, engine, translated
from mlops_box.data.relation import path_literal
from mlops_box.data.sql import literal
from mlops_box.data.sql import name as quote
from mlops_box.errors import SourceError, UsageError
from mlops_box.features.view import FeatureView
from mlops_box.project.features import SEPARATOR

# Moments are microseconds since 1970: an integer is compared faster than a time with a zone is made.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROW, _EFFECTIVE, _SINCE = "mlops_box_row", "mlops_box_effective", "mlops_box_since"


def point_in_time_join(
    entities: pa.Table,
    views: Sequence[FeatureView],
    *,
    time: str,
    known_at: datetime | None = None,
    scratch: Path | None = None,
    memory_limit: str = MEMORY_LIMIT,
) -> pa.Table:
    """Add to every entity row the features as they were known at its time.

    A row of a view counts at moment *t* when it had happened (``time`` <= t) and was known (``known`` <= t); of those
    the newest by event time wins, of equal event times the one known last, of equal ones the one delivered last. It
    counts as missing once it is older than the feature's ttl; a default stands for whatever is missing.

    With a row's *effective* time e = max(time, known), "usable at t" is e <= t. The winner among the usable rows is a
    running maximum over rows ordered by e, so that one ASOF join (DuckDB) on e answers late and corrected rows too.

    Args:
        entities: Rows to complete: the views' entity columns and ``time``; other columns pass through.
        views: Each adds its features under ``view__feature``.
        time: The moment to look at, a timestamp column. Timestamps without a zone are UTC.
        known_at: Look with the knowledge of this moment instead of each row's own.
        scratch: A folder for what does not fit into memory; ``None``: a temporary one.
        memory_limit: DuckDB's bound.

    Returns:
        The rows of ``entities``, in their order, with the features added.

    Raises:
        SourceError: A column is missing or ``time`` is no timestamp.
        UsageError: Two views of one name.
        StorageError: Memory or scratch space are not enough.
    """
    names = [view.name for view in views]
    if len(set(names)) != len(names):
        raise UsageError("two feature views have the same name")
    if time not in entities.column_names or not pa.types.is_timestamp(entities.schema.field(time).type):
        raise SourceError(f"the entity rows need a timestamp column {time!r}")
    for view in views:
        for column in view.entity:
            if column not in entities.column_names:
                raise SourceError(
                    f"the entity rows lack {column!r}, which feature view {view.name!r} is joined on"
                )
    if not views:
        return entities
    # Only what is joined on goes through the joins; the rest waits here, in its order.
    needed = list(dict.fromkeys([column for view in views for column in view.entity] + [time]))
    narrow = entities.select(needed).append_column(_ROW, pa.array(np.arange(entities.num_rows)))
    files = [path for view in views if not isinstance(view.history, pa.Table) for path in view.history]
    with (
        _folder(scratch) as folder,
        engine(scratch=folder, files=files, memory_limit=memory_limit) as connection,
        translated(what="the features cannot be joined"),
    ):
        connection.register("entity_rows", narrow)
        for view in views:
            relation = history_relation(connection, view)
            joined = joined_sql(view, relation, "entity_rows", time=time, row=_ROW, known_at=known_at)
            entities = _append(entities, connection.sql(joined).to_arrow_table())
    return entities


def history_relation(connection: Any, view: FeatureView) -> str:
    """The view's history as a relation of ``connection``, which may read its files."""
    if isinstance(view.history, pa.Table):
        connection.register(f"history_of_{view.name}", view.history)
        return quote(f"history_of_{view.name}")
    return f"read_parquet([{', '.join(path_literal(path) for path in view.history)}])"


def joined_sql(
    view: FeatureView, relation: str, rows: str, *, time: str, row: str, known_at: datetime | None = None
) -> str:
    """SQL of ``row`` and the view's features (as ``view__feature``) for each of ``rows``, in no order.

    Args:
        view: The view.
        relation: Its history.
        rows: A relation with the entity columns, ``time`` and ``row``.
        time: See :func:`point_in_time_join`.
        row: The column that numbers the rows.
        known_at: See :func:`point_in_time_join`.
    """
    moment = f"epoch_us(e.{quote(time)})"
    on = " AND ".join(f"e.{quote(key)} = v.{quote(key)}" for key in view.entity)
    features = ", ".join(_feature(view, feature, moment) for feature in view.features)
    return (
        f"SELECT e.{quote(row)}, {features} FROM {rows} AS e "
        f"ASOF LEFT JOIN ({_winners(view, relation, known_at)}) AS v ON {on} AND {moment} >= v.{_EFFECTIVE}"
    )


def _feature(view: FeatureView, feature: str, moment: str) -> str:
    value, ttl, default = f"v.{quote(feature)}", view.ttl_of(feature), view.defaults.get(feature)
    if ttl is not None:
        value = f"CASE WHEN {moment} - v.{_SINCE} <= {ttl // timedelta(microseconds=1)} THEN {value} END"
    if default is not None:
        value = f"coalesce({value}, {literal(default)})"
    return f"{value} AS {quote(view.name + SEPARATOR + feature)}"


def _winners(view: FeatureView, relation: str, known_at: datetime | None) -> str:
    """SQL of keys, the moment from which a row is the one that counts, the time its age is counted from, features."""
    keys = ", ".join(quote(key) for key in view.entity)
    values = ", ".join(quote(feature) for feature in view.features)
    event = f"epoch_us({quote(view.time)})"
    known = f"epoch_us({quote(view.known)})" if view.known else event
    since = f"epoch_us({quote(view.since)})" if view.since else event
    present = f"{quote(view.time)} IS NOT NULL" + (
        f" AND {quote(view.known)} IS NOT NULL" if view.known else ""
    )
    if view.distinct and known_at is None:
        return f"SELECT {keys}, {event} AS {_EFFECTIVE}, {since} AS {_SINCE}, {values} FROM {relation} WHERE {present}"
    observed = (
        f"SELECT {keys}, {event} AS event, {known} AS known, {since} AS {_SINCE}, {values}, "
        f"row_number() OVER () AS delivered FROM {relation} WHERE {present}"
    )
    if known_at is not None:
        return (
            f"SELECT {keys}, event AS {_EFFECTIVE}, {_SINCE}, {values} FROM ({observed}) "
            f"WHERE known <= {(known_at.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)} "
            f"QUALIFY row_number() OVER (PARTITION BY {keys}, event ORDER BY known DESC, delivered DESC) = 1"
        )
    # A row counts from its effective time on unless a newer one was known by then; of one moment the newest counts.
    rank = "row(event, known, delivered)"
    return (
        f"SELECT {keys}, greatest(event, known) AS {_EFFECTIVE}, {_SINCE}, {values} FROM ({observed}) "
        f"QUALIFY {rank} = max({rank}) OVER (PARTITION BY {keys} ORDER BY greatest(event, known) "
        f"RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
    )


def _append(table: pa.Table, joined: pa.Table) -> pa.Table:
    """Add joined features to their rows."""
    place = np.empty(joined.num_rows, dtype=np.int64)
    place[joined.column(_ROW).to_numpy()] = np.arange(joined.num_rows)
    ordered = joined.drop_columns([_ROW]).take(pa.array(place))
    for column in ordered.column_names:
        table = table.append_column(column, ordered.column(column))
    return table


@contextlib.contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="mlops-box-join-") as folder:
        yield Path(folder)
