"""When each observation was known: histories in which events came late or were corrected, without a leak.

An event is *late* when another one of its entity, at its time or after it, was known before it. While no event is late
an observation is known as soon as the newest event up to its time is, and one run of the SQL tells all of them. An
entity with late events is run once for each moment at which something late became known, and once for each stretch of
punctual ones between; what such a run changes is a new observation of the same time, known from then on.
"""

from __future__ import annotations

from typing import Any

from mlops_box.data.sql import name as quote
from mlops_box.features.workspace import HAPPENED, KNEW, Workspace, matched

_CLOCK, _LATE, _CHECKPOINTS = "mlops_box_clock", "mlops_box_late", "mlops_box_checkpoints"
_SCOPE, _FOUND, _FRESH = "mlops_box_scope", "mlops_box_found", "mlops_box_fresh"
_STATE, _HISTORY = "mlops_box_state", "mlops_box_history"


def make_history(opened: Workspace) -> tuple[str, bool]:
    """(relation of all observations: keys, ``time``, ``known``, ``since``, features; were any events late)."""
    if opened.definition.punctual:
        return f"(SELECT *, time AS known, time AS since FROM ({opened.found()}))", False
    _clock(opened)
    late = _late(opened)
    opened.scope(f"ANTI JOIN {_LATE} AS l ON {matched(opened.definition.keys, 'e', 'l')}" if late else "")
    punctual = _known_at(opened, opened.found(), _CLOCK)
    if not late:
        return f"({punctual})", False
    opened.connection.execute(f"CREATE TABLE {_HISTORY} AS SELECT {_columns(opened)} FROM ({punctual})")
    opened.connection.execute(f"CREATE TABLE {_STATE} AS FROM {_HISTORY} WHERE false")
    for place in range(1, _checkpoints(opened) + 1):
        _advance(opened, place)
    return _HISTORY, True


def _columns(opened: Workspace) -> str:
    return f"{opened.keys}, time, known, since, {opened.values}"


def _clock(opened: Workspace) -> None:
    """Every event's key, time and moment of being known, and the latest such moment up to its time."""
    parts = [
        f"SELECT {opened.keys}, {HAPPENED} AS time, {KNEW} AS known FROM {opened.events_of(source)}"
        for source in opened.definition.sources
    ]
    opened.connection.execute(f"CREATE TABLE {_CLOCK} AS {' UNION ALL '.join(parts)}")


def _late(opened: Workspace) -> bool:
    """Makes the table of the moments at which something late became known; is there any?"""
    opened.connection.execute(
        f"CREATE TABLE {_LATE} AS SELECT DISTINCT {opened.keys}, known FROM (SELECT {opened.keys}, known, min(known) OVER "
        f"(PARTITION BY {opened.keys} ORDER BY time RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS first "
        f"FROM {_CLOCK}) WHERE known > first"
    )
    return _number(opened.connection, f"SELECT count(*) FROM {_LATE}") > 0


def _checkpoints(opened: Workspace) -> int:
    """Makes the table of cutoffs of the entities with late events, numbered for each; returns the greatest number."""
    same = matched(opened.definition.keys, "m", "l")
    opened.connection.execute(
        f"CREATE TABLE {_CHECKPOINTS} AS "
        f"WITH moments AS (SELECT DISTINCT {opened.keys}, known FROM {_CLOCK} AS m SEMI JOIN {_LATE} AS l ON {same}), "
        f"flagged AS (SELECT m.*, l.known IS NOT NULL AS late FROM moments AS m LEFT JOIN {_LATE} AS l "
        f"ON {same} AND m.known = l.known), "
        f"followed AS (SELECT *, lead(late, 1, true) OVER (PARTITION BY {opened.keys} ORDER BY known) AS ends FROM flagged) "
        f"SELECT {opened.keys}, known AS cutoff, late, "
        f"row_number() OVER (PARTITION BY {opened.keys} ORDER BY known) AS place FROM followed WHERE late OR ends"
    )
    return _number(opened.connection, f"SELECT coalesce(max(place), 0) FROM {_CHECKPOINTS}")


def _advance(opened: Workspace, place: int) -> None:
    """Take every entity with late events to its next cutoff, and keep what that changed."""
    connection, keys = opened.connection, opened.definition.keys
    connection.execute(
        f"CREATE OR REPLACE TABLE {_SCOPE} AS SELECT * FROM {_CHECKPOINTS} WHERE place = {place}"
    )
    opened.scope(f"JOIN {_SCOPE} AS s ON {matched(keys, 'e', 's')} AND e.{KNEW} <= s.cutoff")
    known = f"(SELECT c.* FROM {_CLOCK} AS c JOIN {_SCOPE} AS s ON {matched(keys, 'c', 's')} AND c.known <= s.cutoff)"
    connection.execute(f"CREATE OR REPLACE TABLE {_FOUND} AS {_known_at(opened, opened.found(), known)}")
    values, gone = ", ".join(opened.each("f")), ", ".join(f"g.{quote(key)}" for key in keys)
    # What a correction took away is what had been true before it, as old as that is.
    connection.execute(
        f"CREATE OR REPLACE TABLE {_FRESH} AS SELECT {_columns(opened)} FROM {_FOUND} UNION ALL "
        f"SELECT {gone}, g.time, NULL, f.since, {values} "
        f"FROM (SELECT {opened.keys}, time FROM {_STATE} AS t SEMI JOIN {_SCOPE} AS s ON {matched(keys, 't', 's')} "
        f"ANTI JOIN {_FOUND} AS n ON {matched(keys, 't', 'n')} AND t.time = n.time) AS g "
        f"ASOF LEFT JOIN {_FOUND} AS f ON {matched(keys, 'g', 'f')} AND g.time > f.time"
    )
    both = zip(["f.since", *opened.each("f")], ["t.since", *opened.each("t")], strict=True)
    same = " AND ".join(f"{one} IS NOT DISTINCT FROM {other}" for one, other in both)
    connection.execute(
        f"CREATE OR REPLACE TABLE {_FOUND} AS SELECT f.* REPLACE (CASE WHEN s.late OR f.known IS NULL THEN s.cutoff "
        f"ELSE f.known END AS known) FROM {_FRESH} AS f JOIN {_SCOPE} AS s ON {matched(keys, 'f', 's')} "
        f"ANTI JOIN {_STATE} AS t ON {matched(keys, 'f', 't')} AND f.time = t.time AND {same}"
    )
    connection.execute(f"INSERT INTO {_HISTORY} FROM {_FOUND}")
    connection.execute(
        f"DELETE FROM {_STATE} AS t USING {_FOUND} AS f WHERE {matched(keys, 't', 'f')} AND t.time = f.time"
    )
    connection.execute(f"INSERT INTO {_STATE} FROM {_FOUND}")


def _known_at(opened: Workspace, found: str, clock: str) -> str:
    """``found`` with ``known``, the latest moment at which an event up to its time was known, and ``since``."""
    keys = opened.definition.keys
    latest = (
        f"SELECT DISTINCT {opened.keys}, time, max(known) OVER (PARTITION BY {opened.keys} ORDER BY time "
        f"RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS known FROM {clock}"
    )
    return (
        f"SELECT o.*, coalesce(c.known, o.time) AS known, o.time AS since FROM ({found}) AS o "
        f"ASOF LEFT JOIN ({latest}) AS c ON {matched(keys, 'o', 'c')} AND o.time >= c.time"
    )


def _number(connection: Any, sql: str) -> int:
    return int(connection.execute(sql).fetchone()[0])
