"""What counts as a value of a contract type, and how it is written in SQL.

The types are strict, and the same at every door: a text is no number, a number is no text; 3.0 is an integer, 3.5 is
none; times are ISO 8601; NaN is a missing value. :mod:`mlops_box.data.rows` says the same in Python.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlops_box.data.sql import literal
from mlops_box.data.times import DATE_TEXT, TIME_TEXT
from mlops_box.data.values import ColumnType

INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
            "HUGEINT", "UHUGEINT", "BIGNUM")  # fmt: skip
FLOATS = ("FLOAT", "DOUBLE")
TIMESTAMPS = ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE")
_EARLIEST, _LATEST = "TIMESTAMP '0001-01-01 00:00:00'", "TIMESTAMP '9999-12-31 23:59:59.999999'"


@dataclass(frozen=True)
class Converted:
    """SQL of one column: ``value`` in its contract type (NULL where missing or of another type), and ``bad``, true
    where a value is there but is none of the type; ``None`` where that cannot happen."""

    value: str
    bad: str | None


def vocabulary(type_name: str) -> ColumnType:
    """The contract's word for a DuckDB type; what has no word (lists, structs, blobs ...) is read as text."""
    base = type_name.upper()
    if base == "BOOLEAN":
        return "boolean"
    if base in ("HUGEINT", "UHUGEINT", "UBIGINT", "BIGNUM") or base in FLOATS or base.startswith("DECIMAL"):
        return "double"
    if base in INTEGERS:
        return "bigint"
    if base in TIMESTAMPS:
        return "timestamp"
    return "date" if base == "DATE" else "varchar"


def convert(column: str, have: str, want: ColumnType) -> Converted:
    """SQL that reads ``column``, of DuckDB type ``have``, as the contract type ``want``."""
    base = have.upper()
    if base == "JSON":
        return _from_json(column, want)
    value = _from_typed(column, base, want)
    if value is None:
        return Converted(f"CAST(NULL AS {want.upper()})", f"{column} IS NOT NULL")
    missing = f"{column} IS NULL OR isnan({column})" if base in FLOATS else f"{column} IS NULL"
    always = (want == "double" and base != "BOOLEAN") or want == "varchar" or base == want.upper()
    if want == "double" and base in FLOATS:
        value = f"CASE WHEN isnan({column}) THEN NULL ELSE {value} END"
    return Converted(value, None if always else f"NOT ({missing}) AND ({value}) IS NULL")


def as_text(column: str, have: str) -> str:
    """The value as text, for people who look at what was wrong with it."""
    return f"CAST({column} AS VARCHAR)" if have.upper() != "BLOB" else f"hex({column})"


def passthrough(column: str, have: str) -> str:
    """A column that no contract names, in the vocabulary of the contract."""
    if have.upper() == "JSON":
        return f"CAST({column} AS VARCHAR)"
    want = vocabulary(have)
    if want == "varchar":
        return as_text(column, have)
    converted = convert(column, have, want)
    return converted.value


def _from_typed(column: str, base: str, want: ColumnType) -> str | None:
    if want == "boolean":
        if base == "BOOLEAN":
            return column
        return f"CASE {column} WHEN 0 THEN false WHEN 1 THEN true END" if base in INTEGERS else None
    if want == "bigint":
        if base in INTEGERS:
            return f"TRY_CAST({column} AS BIGINT)"
        if base in FLOATS:
            return _integral(column)
        return f"CASE WHEN {column} = trunc({column}) THEN TRY_CAST({column} AS BIGINT) END" if base.startswith("DECIMAL") else None  # fmt: skip
    if want == "double":
        numeric = base in INTEGERS or base in FLOATS or base.startswith("DECIMAL")
        return f"CAST({column} AS DOUBLE)" if numeric else None
    if want == "varchar":
        return (
            f"CAST({column} AS VARCHAR)" if base in ("VARCHAR", "UUID") or base.startswith("ENUM") else None
        )
    if want == "timestamp":
        if base in TIMESTAMPS or base == "DATE":
            return _within(f"CAST({column} AS TIMESTAMP)")
        return _time_from_text(column) if base == "VARCHAR" else None
    if base == "DATE":
        return f"CASE WHEN {column} BETWEEN DATE '0001-01-01' AND DATE '9999-12-31' THEN {column} END"
    if base in TIMESTAMPS:
        moment = _within(f"CAST({column} AS TIMESTAMP)")
        return f"CASE WHEN ({moment}) = date_trunc('day', {moment}) THEN CAST({moment} AS DATE) END"
    return _date_from_text(column) if base == "VARCHAR" else None


def _from_json(column: str, want: ColumnType) -> Converted:
    kind = f"json_type({column})"
    number = f"{kind} IN ('BIGINT', 'UBIGINT')"
    # AND and CASE do not promise to skip what they need not look at: every cast may meet any value.
    double = f"TRY_CAST({column} AS DOUBLE)"
    missing = f"coalesce({kind}, 'NULL') = 'NULL'"
    text = f"({column} ->> '$')"
    if want == "boolean":
        value = (
            f"CASE WHEN {kind} = 'BOOLEAN' THEN TRY_CAST({column} AS BOOLEAN) WHEN {number} THEN "
            f"CASE CAST({column} AS VARCHAR) WHEN '0' THEN false WHEN '1' THEN true END END"
        )
    elif want == "bigint":
        missing += f" OR ({kind} = 'DOUBLE' AND isnan({double}))"
        # Integers beyond 64 bits are of the kind DOUBLE, and rounding could bring them back inside.
        whole = f"{number} OR regexp_full_match(CAST({column} AS VARCHAR), '-?[0-9]+')"
        value = (
            f"CASE WHEN {whole} THEN TRY_CAST(CAST({column} AS VARCHAR) AS BIGINT) "
            f"WHEN {kind} = 'DOUBLE' THEN {_integral(double)} END"
        )
    elif want == "double":
        missing += f" OR ({kind} = 'DOUBLE' AND isnan({double}))"
        value = f"CASE WHEN {number} OR ({kind} = 'DOUBLE' AND NOT isnan({double})) THEN {double} END"
    elif want == "varchar":
        value = f"CASE WHEN {kind} = 'VARCHAR' THEN {text} END"
    elif want == "timestamp":
        value = f"CASE WHEN {kind} = 'VARCHAR' THEN {_time_from_text(text)} END"
    else:
        value = f"CASE WHEN {kind} = 'VARCHAR' THEN {_date_from_text(text)} END"
    return Converted(value, f"NOT ({missing}) AND ({value}) IS NULL")


def _integral(column: str) -> str:
    # 2^63 itself is a double and no bigint; the comparison also keeps infinities from the cast.
    return (
        f"CASE WHEN {column} >= -9223372036854775808.0 AND {column} < 9223372036854775808.0 "
        f"AND {column} = trunc({column}) THEN TRY_CAST({column} AS BIGINT) END"
    )


def _within(moment: str) -> str:
    return f"CASE WHEN {moment} BETWEEN {_EARLIEST} AND {_LATEST} THEN {moment} END"


def _time_from_text(text: str) -> str:
    moment = f"CAST(TRY_CAST({text} AS TIMESTAMP WITH TIME ZONE) AS TIMESTAMP)"
    return f"CASE WHEN regexp_full_match({text}, {literal(TIME_TEXT)}) THEN {_within(moment)} END"


def _date_from_text(text: str) -> str:
    return f"CASE WHEN regexp_full_match({text}, {literal(DATE_TEXT)}) THEN TRY_CAST({text} AS DATE) END"
