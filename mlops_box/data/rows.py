"""The online door: the contract for single rows, in plain Python, with the verdicts of the SQL of the other doors.

Rules about more than one row (``unique``, the key) cannot be judged on one, and are not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from mlops_box.data.rules import Rule, allowed_value, bound_value, check_rules
from mlops_box.data.times import parse_date_text, parse_time_text, without_zone

_INT64 = 2**63
_MISSING = object()
_BAD = object()


@dataclass(frozen=True)
class RowProblem:
    """A rule that a row broke. ``message`` says what was wrong with which value."""

    rule: str
    column: str
    message: str

    def to_dict(self) -> dict[str, Any]:
        """As an answer names it."""
        return {"column": self.column, "rule": self.rule, "message": self.message}


class RowContract:
    """The rules of some columns, ready to check rows that came as JSON.

    Args:
        rules: By column.
        columns: The columns a row must bring (a model's features). Those without rules may be anything.

    Attributes:
        checks: The rules of each of these columns that has any, in order.

    Raises:
        ProjectError: A rule does not fit its column's type.
    """

    def __init__(self, rules: Mapping[str, Rule], columns: Iterable[str]):
        check_rules(rules)
        self.columns = tuple(columns)
        self.checks: Mapping[str, ColumnCheck] = {
            column: ColumnCheck(column, rules[column]) for column in self.columns if column in rules
        }
        self._checks = tuple(self.checks.items())

    def check(self, row: Mapping[str, Any]) -> list[RowProblem]:
        """The rules that ``row`` breaks, in the order of the columns; empty when it may pass.

        A column that is absent is missing, like ``null``; columns nobody asked for are not looked at.
        """
        problems: list[RowProblem] = []
        for column, check in self._checks:
            value = row.get(column)
            # The common case first: a plain number within its bounds costs one comparison.
            if type(value) is float and check.low <= value <= check.high:
                continue
            problems += check(value)
        return problems


class ColumnCheck:
    """One column's rules.

    Attributes:
        min: The bound in the column's type, as ``max``; ``None`` without one.
        allowed: The values of ``in``.
        low: With ``high``, the floats that need no closer look (none where low > high).
    """

    def __init__(self, column: str, rule: Rule):
        self._column = column
        self.rule = rule
        self._read = _READERS[rule.type]
        self.min = bound_value(column, rule, rule.min) if rule.min is not None else None
        self.max = bound_value(column, rule, rule.max) if rule.max is not None else None
        self.allowed = frozenset(allowed_value(column, rule, item) for item in rule.in_) if rule.in_ else None
        # RE2's classes know ASCII only.
        self._regex = re.compile(rule.regex, re.ASCII) if rule.regex is not None else None
        self.low, self.high = 1.0, 0.0
        if rule.type == "double" and self.allowed is None:
            # Infinities lie outside: the largest finite double is the widest bound.
            low, high = self.min, self.max
            self.low = low if isinstance(low, float) else -1.7976931348623157e308
            self.high = high if isinstance(high, float) else 1.7976931348623157e308

    def __call__(self, value: object) -> list[RowProblem]:
        """The rules that one value breaks."""
        rule = self.rule
        read = self._read(value)
        if read is _BAD:
            return [self._problem("type", f"{_shown(value)} is no {rule.type}")]
        if read is _MISSING:
            return [] if rule.null else [self._problem("null", "it is missing")]
        problems = []
        if isinstance(read, float) and math.isinf(read):
            problems.append(finite_problem(self._column, value))
        compared: Any = float(read) if rule.type == "bigint" else read  # type: ignore[arg-type]
        if self.min is not None and compared < self.min:
            problems.append(self._problem("min", f"{_shown(value)} is below {_shown(self.min)}"))
        if self.max is not None and compared > self.max:
            problems.append(self._problem("max", f"{_shown(value)} is above {_shown(self.max)}"))
        if self.allowed is not None and read not in self.allowed:
            allowed = ", ".join(_shown(item) for item in (rule.in_ or [])[:8])
            problems.append(self._problem("in", f"{_shown(value)} is none of {allowed}"))
        if self._regex is not None and not self._regex.fullmatch(str(read)):
            problems.append(self._problem("regex", f"{_shown(value)} does not match {rule.regex}"))
        return problems

    def typed(self, value: object) -> Any:
        """A value that broke no rule, in the column's type; ``None`` when it is missing."""
        read = self._read(value)
        return None if read is _MISSING else read

    def _problem(self, rule: str, message: str) -> RowProblem:
        return RowProblem(f"{self._column}.{rule}", self._column, f"{self._column}: {message}")


def finite_problem(column: str, value: object) -> RowProblem:
    """What is infinite is no number a model can learn from or answer to."""
    return RowProblem(f"{column}.finite", column, f"{column}: {_shown(value)} is not finite")


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _boolean(value: object) -> object:
    if value is None:
        return _MISSING
    if isinstance(value, bool):
        return value
    return bool(value) if isinstance(value, int) and value in (0, 1) else _BAD


def _bigint(value: object) -> object:
    if value is None:
        return _MISSING
    if isinstance(value, int) and not isinstance(value, bool):
        return value if -_INT64 <= value < _INT64 else _BAD
    if isinstance(value, float):
        if math.isnan(value):
            return _MISSING
        return int(value) if value.is_integer() and -_INT64 <= value < _INT64 else _BAD
    return _BAD


def _double(value: object) -> object:
    if value is None:
        return _MISSING
    if isinstance(value, float):
        return _MISSING if math.isnan(value) else value
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.copysign(math.inf, value)
    return _BAD


def _varchar(value: object) -> object:
    if value is None:
        return _MISSING
    return value if isinstance(value, str) else _BAD


def _timestamp(value: object) -> object:
    if value is None:
        return _MISSING
    moment: datetime | None = None
    if isinstance(value, str):
        moment = parse_time_text(value)
    elif isinstance(value, datetime):
        moment = without_zone(value)
    elif isinstance(value, date):
        moment = datetime(value.year, value.month, value.day)
    return _BAD if moment is None else moment


def _date(value: object) -> object:
    if value is None:
        return _MISSING
    day: date | None = None
    if isinstance(value, str):
        day = parse_date_text(value)
    elif isinstance(value, datetime):
        moment = without_zone(value)
        day = moment.date() if moment is not None and moment == datetime(moment.year, moment.month, moment.day) else None  # fmt: skip
    elif isinstance(value, date):
        day = value
    return _BAD if day is None else day


_READERS: dict[str, Callable[[object], object]] = {
    "boolean": _boolean, "bigint": _bigint, "double": _double, "varchar": _varchar,
    "timestamp": _timestamp, "date": _date,
}  # fmt: skip
