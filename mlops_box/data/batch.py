"""Rules about a batch as a whole: how many rows, how many bad ones, how fresh, how different from the last snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from mlops_box.data.engine import engine
from mlops_box.data.sift import Sifted
from mlops_box.data.sql import literal, name
from mlops_box.data.values import BatchCheck
from mlops_box.project import Contract
from mlops_box.units import format_duration

# A text column with more values than this is a name or a free text: its new values say nothing.
MAX_CATEGORIES = 1000


@dataclass(frozen=True)
class Summary:
    """The good rows in numbers. ``nulls`` are shares; ``categories`` holds the values of texts with few of them."""

    rows: int
    time_min: datetime | None
    time_max: datetime | None
    nulls: dict[str, float]
    new_categories: dict[str, float]
    distinct: dict[str, int]


def summarise(
    good: Path,
    columns: list[str],
    *,
    contract: Contract,
    time: str | None,
    target: str | None,
    previous: Path | None,
    previous_columns: list[str],
    scratch: Path,
) -> Summary:
    """Numbers over the good rows, and the share of rows with a text that ``previous`` did not have.

    Args:
        good: The Parquet file of the good rows.
        columns: Its columns.
        contract: Says which columns are watched.
        time: The time column.
        target: The column whose distinct values are counted.
        previous: The last snapshot's file, ``None`` when this is the first.
        previous_columns: Its columns.
        scratch: For DuckDB.
    """
    files = [good, *([previous] if previous else [])]
    with engine(scratch=scratch, files=files) as connection:
        watched = [column for column in contract.columns if column in columns]
        span = [f"min({name(time)})", f"max({name(time)})"] if time else ["NULL", "NULL"]
        # Twins in one SELECT would be renamed apart, places are not.
        parts = ["count(*)", *span, f"count(DISTINCT {name(target)})" if target else "0"]
        parts += [f"count({name(column)})" for column in watched]
        row = connection.execute(f"SELECT {', '.join(parts)} FROM {_file(good)}").fetchone()
        rows = int(row[0])
        nulls = {
            column: 1 - count / rows if rows else 0.0 for column, count in zip(watched, row[4:], strict=True)
        }
        new = {}
        if previous is not None and rows:
            texts = [
                column for column in _texts(contract) if column in columns and column in previous_columns
            ]
            new = {
                column: share
                for column in texts
                if (share := _new_share(connection, good, previous, column, rows)) is not None
            }
    return Summary(rows, _moment(row[1]), _moment(row[2]), nulls, new, {target: row[3]} if target else {})


def previous_nulls(
    previous: Path, columns: list[str], *, contract: Contract, scratch: Path
) -> dict[str, float]:
    """Shares of missing values in the last snapshot, for the contract's columns that it has."""
    watched = [column for column in contract.columns if column in columns]
    if not watched:
        return {}
    with engine(scratch=scratch, files=[previous]) as connection:
        counts = ", ".join(f"count({name(column)})" for column in watched)
        row = connection.execute(f"SELECT count(*), {counts} FROM {_file(previous)}").fetchone()
    return (
        {column: 1 - count / row[0] for column, count in zip(watched, row[1:], strict=True)} if row[0] else {}
    )


def batch_checks(
    sifted: Sifted, summary: Summary, contract: Contract, *, before: dict[str, float] | None, now: datetime
) -> tuple[BatchCheck, ...]:
    """Judge a batch by the contract's batch rules.

    Args:
        sifted: The batch.
        summary: Its good rows in numbers.
        contract: The rules.
        before: Shares of missing values in the last snapshot; ``None`` when this is the first.
        now: For the freshness, UTC.
    """
    return tuple(_checks(sifted, summary, contract, before, now))


def _checks(
    sifted: Sifted, summary: Summary, contract: Contract, before: dict[str, float] | None, now: datetime
) -> Iterator[BatchCheck]:
    good = sifted.rows_good
    least, most = max(1, contract.rows.min), contract.rows.max
    yield BatchCheck(
        "rows.min", good >= least, f"{good:,} good rows, at least {least:,} are needed", good, least
    )
    if most is not None:
        yield BatchCheck(
            "rows.max", good <= most, f"{good:,} good rows, at most {most:,} may come", good, most
        )
    bad = sifted.rows_quarantined + sifted.rows_rejected
    share = bad / sifted.rows_in if sifted.rows_in else 0.0
    yield BatchCheck(
        "quarantine.share",
        share <= contract.quarantine,
        f"{bad:,} of {sifted.rows_in:,} rows are bad ({share:.2%}), at most {contract.quarantine:.2%} may be",
        round(share, 6),
        contract.quarantine,
    )
    if contract.freshness is not None:
        yield _freshness(summary, contract.freshness, now)
    for column, rate in summary.nulls.items():
        if before is None or column not in before or not contract.columns[column].null:
            continue
        change = abs(rate - before[column])
        yield BatchCheck(
            f"{column}.null_rate",
            change <= contract.null_rate_change,
            f"{rate:.1%} of {column} are missing, {before[column]:.1%} were in the last snapshot "
            f"(may change by {contract.null_rate_change:.1%})",
            round(change, 6),
            contract.null_rate_change,
        )
    for column, rate in summary.new_categories.items():
        yield BatchCheck(
            f"{column}.new_categories",
            rate <= contract.new_categories,
            f"{rate:.1%} of the rows have a {column} that the last snapshot had not "
            f"(at most {contract.new_categories:.1%} may)",
            round(rate, 6),
            contract.new_categories,
        )


def _freshness(summary: Summary, limit: timedelta, now: datetime) -> BatchCheck:
    allowed = format_duration(limit.total_seconds())
    if summary.time_max is None:
        return BatchCheck("freshness", False, "no row has a time", None, allowed)
    age = now.replace(tzinfo=None) - summary.time_max
    shown = format_duration(age.total_seconds())
    return BatchCheck(
        "freshness",
        age <= limit,
        f"the newest row is {shown} old, at most {allowed} may it be",
        shown,
        allowed,
    )


def _texts(contract: Contract) -> list[str]:
    return [
        column
        for column, rule in contract.columns.items()
        if rule.type == "varchar" and rule.in_ is None and not rule.unique
    ]


def _new_share(connection: Any, good: Path, previous: Path, column: str, rows: int) -> float | None:
    text = name(column)
    known, before = connection.execute(
        f"SELECT count(DISTINCT {text}), count({text}) FROM {_file(previous)}"
    ).fetchone()
    if known > MAX_CATEGORIES or known * 2 > before:
        return None
    (new,) = connection.execute(
        f"SELECT count(*) FROM {_file(good)} WHERE {text} IS NOT NULL "
        f"AND {text} NOT IN (SELECT {text} FROM {_file(previous)} WHERE {text} IS NOT NULL)"
    ).fetchone()
    return float(new) / rows


def _file(path: Path) -> str:
    return f"read_parquet({literal(str(path))})"


def _moment(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return value
    return datetime(value.year, value.month, value.day) if isinstance(value, date) else None
