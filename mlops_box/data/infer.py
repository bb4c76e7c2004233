"""What a data file tells about itself: types, missing values, ranges, small domains, and the contract they suggest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mlops_box.data.convert import passthrough, vocabulary
from mlops_box.data.engine import engine
from mlops_box.data.relation import Relation, select_list
from mlops_box.data.source import locate, open_source, readable_files
from mlops_box.data.sql import literal, name
from mlops_box.data.values import ColumnType
from mlops_box.errors import SourceError
from mlops_box.project import ColumnRule

# A column stays a number although this share of its texts is none; those rows would be rejected.
TOLERANCE = 0.005
SMALL_DOMAIN = 20
MIN_ROWS_PER_VALUE = 20


@dataclass(frozen=True)
class ColumnProfile:
    """One column in numbers. ``low`` and ``high`` are ``None`` for texts and truth values, ``values`` (sorted) for
    more than :data:`SMALL_DOMAIN` distinct ones."""

    name: str
    type: ColumnType
    rows: int
    missing: int
    distinct: int
    infinite: int
    low: float | datetime | None
    high: float | datetime | None
    values: tuple[str | int | float | bool, ...] | None

    @property
    def unique(self) -> bool:
        """Does every row have its own value?"""
        return self.missing == 0 and self.distinct == self.rows >= MIN_ROWS_PER_VALUE

    @property
    def constant(self) -> bool:
        return self.distinct <= 1

    @property
    def whole(self) -> bool:
        """Is it a number that only takes whole values?"""
        return self.type == "bigint" or (
            self.type == "double"
            and self.values is not None
            and bool(self.values)
            and all(float(value).is_integer() for value in self.values)
        )


@dataclass(frozen=True)
class Baseline:
    """What a guess without features achieves over all rows: the median for a number (its mean absolute error; ``None``
    for texts), the most frequent value for a class (its share of the rows)."""

    median_error: float | None
    majority: float


@dataclass(frozen=True)
class SourceProfile:
    """A whole source in numbers; ``rejected`` rows could not be parsed and are in no other number.

    ``leaks`` tells, by column, how it gives the target away; ``baseline`` is ``None`` where the target has no value.
    """

    rows: int
    rejected: int
    columns: tuple[ColumnProfile, ...]
    leaks: dict[str, str]
    baseline: Baseline | None

    def column(self, wanted: str) -> ColumnProfile:
        return next(column for column in self.columns if column.name == wanted)


def profile_source(source: str, *, folder: Path, target: str, scratch: Path) -> SourceProfile:
    """Read a whole source once and describe it.

    Args:
        source: A path or glob, relative to ``folder`` or absolute.
        folder: See ``source``.
        target: For finding columns that give it away; may be missing (the caller says so better).
        scratch: An empty folder.

    Raises:
        SourceError: It cannot be read, or holds no row.
    """
    located = locate(source, folder=folder)
    with engine(scratch=scratch, files=readable_files(located, scratch)) as connection:
        relation = open_source(
            connection, located, declared={}, query=None, table=None, scratch=scratch, tolerance=TOLERANCE
        )
        values = {column: passthrough(name(column), have) for column, have in relation.columns.items()}
        connection.execute(f"CREATE TABLE rows_read AS SELECT {select_list(values)} FROM {relation.sql}")
        (rows,) = connection.execute("SELECT count(*) FROM rows_read").fetchone()
        rejected = sum(1 for _ in relation.rejects())
        if not rows:
            raise SourceError(f"{source} holds no row that can be read", hint="a header alone is no data")
        columns = tuple(_profile(connection, relation, column, rows) for column in relation.columns)
        found = {column.name: column for column in columns}
        leaks = _leaks(connection, found, found[target], rows) if target in found else {}
        baseline = (
            _baseline(connection, found[target]) if target in found and found[target].distinct else None
        )
        return SourceProfile(rows, rejected, columns, leaks, baseline)


def propose_rule(column: ColumnProfile, *, target: bool, classes: bool) -> ColumnRule:
    """The contract of one column: what its values were, with room for what they may become.

    Args:
        column: Its profile.
        target: Is it the target? A target is never missing.
        classes: Does the target hold classes? Then its values are all there are.
    """
    kind: ColumnType = "bigint" if target and classes and column.whole else column.type
    rule: dict[str, Any] = {"type": kind, "null": bool(column.missing) and not target}
    small = (
        column.values is not None
        and not column.constant
        and column.rows >= MIN_ROWS_PER_VALUE * len(column.values)
        and kind in ("bigint", "varchar")
    )
    if target and classes and kind != "boolean":
        rule["in"] = [int(value) if kind == "bigint" else value for value in column.values or ()] or None
    elif small and not target and (kind == "varchar" or len(column.values or ()) <= SMALL_DOMAIN // 2):
        rule["in"] = list(column.values or ())
    elif (
        isinstance(column.low, float | int)
        and isinstance(column.high, float | int)
        and not (column.unique and kind == "bigint")
    ):
        rule |= _range(float(column.low), float(column.high), whole=kind == "bigint")
    if column.unique and kind in ("bigint", "varchar") and not target:
        rule["unique"] = True
    return ColumnRule.model_validate({key: value for key, value in rule.items() if value is not None})


def _profile(connection: Any, relation: Relation, column: str, rows: int) -> ColumnProfile:
    kind = vocabulary(relation.columns[column])
    text = name(column)
    ranged = kind in ("bigint", "double", "timestamp", "date")
    finite = f"CASE WHEN NOT isinf({text}) THEN {text} END" if kind == "double" else text
    infinite = f"count_if(isinf({text}))" if kind == "double" else "0"
    span = f"min({finite}), max({finite})" if ranged else "NULL, NULL"
    present, distinct, odd, low, high = connection.execute(
        f"SELECT count({text}), count(DISTINCT {text}), {infinite}, {span} FROM rows_read"
    ).fetchone()
    values = None
    if distinct <= SMALL_DOMAIN and kind not in ("timestamp", "date"):
        found = connection.execute(
            f"SELECT DISTINCT {finite} AS value FROM rows_read WHERE {finite} IS NOT NULL ORDER BY value"
        ).fetchall()
        values = tuple(row[0] for row in found)
    return ColumnProfile(column, kind, rows, rows - present, distinct, odd, low, high, values)


def _range(low: float, high: float, *, whole: bool) -> dict[str, float]:
    """Half the span of room on both sides, but what was never negative stays so, and a share stays a share."""
    if low >= 0 and high <= 1 and not whole:
        return {"min": 0.0, "max": 1.0}
    room = (high - low) / 2 or max(abs(high), 1.0)
    lowest, highest = _rounded(low - room, math.floor), _rounded(high + room, math.ceil)
    return {
        "min": max(0.0, lowest) if low >= 0 else lowest,
        "max": min(0.0, highest) if high <= 0 else highest,
    }


def _rounded(value: float, direction: Any) -> float:
    """Two significant digits, away from the data."""
    if value == 0 or not math.isfinite(value):
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return float(f"{direction(value / step) * step:.6g}")


def _baseline(connection: Any, target: ColumnProfile) -> Baseline:
    answer = name(target.name)
    majority, present = connection.execute(
        f"SELECT max(n), sum(n) FROM (SELECT count(*) AS n FROM rows_read WHERE {answer} IS NOT NULL GROUP BY {answer})"
    ).fetchone()
    error = None
    if target.type in ("bigint", "double"):
        (error,) = connection.execute(
            f"SELECT avg(abs({answer} - (SELECT median({answer}) FROM rows_read WHERE NOT isinf({answer}::DOUBLE)))) "
            f"FROM rows_read WHERE NOT isinf({answer}::DOUBLE)"
        ).fetchone()
    return Baseline(error, majority / present)


def _leaks(
    connection: Any, columns: dict[str, ColumnProfile], target: ColumnProfile, rows: int
) -> dict[str, str]:
    """Columns that give the target away, with what was seen."""
    others = [column for column in columns.values() if column.name != target.name and not column.constant]
    answer = name(target.name)
    leaks: dict[str, str] = {}
    for column in others:
        if column.distinct != target.distinct and column.distinct < target.rows:
            continue
        same = f"CAST({name(column.name)} AS VARCHAR) IS DISTINCT FROM CAST({answer} AS VARCHAR)"
        if _counts(connection, [same])[0] == 0:
            leaks[column.name] = f"it is the same as {target.name} in every row"
    numbers = [
        column.name for column in others if column.type in ("bigint", "double") and column.name not in leaks
    ]
    if target.type in ("bigint", "double") and target.distinct > 2 and len(numbers) <= 60:
        pairs = [(one, two) for place, one in enumerate(numbers) for two in numbers[place + 1 :]]
        tests = [f"NOT coalesce({name(one)} + {name(two)} = {answer}, false)" for one, two in pairs]
        for (one, two), differing in zip(pairs, _counts(connection, tests), strict=True):
            if differing == 0:
                leaks[one] = leaks[two] = f"{one} + {two} is {target.name} in every row"
    return leaks | _flags(connection, [column for column in others if column.name not in leaks], target, rows)


def _flags(connection: Any, columns: list[ColumnProfile], target: ColumnProfile, rows: int) -> dict[str, str]:
    """Flags that are set for the rarer class only: likely a part of the answer, known when it is known."""
    if target.values is None or len(target.values) != 2:
        return {}
    answer = name(target.name)
    counts = dict(connection.execute(f"SELECT {answer}, count(*) FROM rows_read GROUP BY 1").fetchall())
    rare = min(target.values, key=lambda value: int(counts[value]))
    if counts[rare] * 5 > rows:
        return {}
    found: dict[str, str] = {}
    for column in columns:
        if column.values is None or len(column.values) != 2:
            continue
        for value in column.values:
            total, hits = connection.execute(
                f"SELECT count(*), count_if({answer} = {literal(rare)}) FROM rows_read "
                f"WHERE {name(column.name)} = {literal(value)}"
            ).fetchone()
            if hits == total >= 5:
                found[column.name] = (
                    f"whenever it is {value} (in {total} rows) {target.name} is {rare}: it looks like a part of the answer"
                )
    return found


def _counts(connection: Any, tests: list[str]) -> list[int]:
    if not tests:
        return []
    return list(
        connection.execute(
            f"SELECT {', '.join(f'count_if({test})' for test in tests)} FROM rows_read"
        ).fetchone()
    )
