"""The rules of a contract in the types of their columns: what the SQL of the doors and the online door agree on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Protocol

from mlops_box.data.times import parse_date_text, parse_time_text
from mlops_box.errors import ProjectError


class Rule(Protocol):
    """One column's rules, whoever read them: ``mlops.toml``'s on the box, a bundle's on a device."""

    @property
    def type(self) -> str: ...
    @property
    def null(self) -> bool: ...
    @property
    def min(self) -> float | str | None: ...
    @property
    def max(self) -> float | str | None: ...
    @property
    def in_(self) -> Sequence[object] | None: ...
    @property
    def regex(self) -> str | None: ...


def check_rules(rules: Mapping[str, Rule]) -> None:
    """Raise :class:`ProjectError` for a rule that its column's type cannot have.

    Args:
        rules: By column.
    """
    for column, rule in rules.items():
        where = f"data.contract.{column}"
        if (rule.min is not None or rule.max is not None) and rule.type in ("boolean", "varchar"):
            raise ProjectError(f"{where}: min and max make no sense for {rule.type}", hint="use in or regex")
        if rule.regex is not None and rule.type != "varchar":
            raise ProjectError(f"{where}: regex needs type varchar, not {rule.type}")
        for bound in (rule.min, rule.max):
            if bound is not None:
                bound_value(column, rule, bound)
        for item in rule.in_ or ():
            allowed_value(column, rule, item)


def bound_value(column: str, rule: Rule, bound: float | str) -> float | datetime | date:
    """A min or max in the column's type: a float for numbers (integers are compared as such too).

    Raises:
        ProjectError: It is of another kind.
    """
    if rule.type in ("bigint", "double"):
        if isinstance(bound, str):
            raise ProjectError(f"data.contract.{column}: {bound!r} is no number")
        return float(bound)
    moment = _moment(rule.type, bound)
    if moment is None:
        raise ProjectError(
            f"data.contract.{column}: {bound!r} is no {rule.type}", hint='write for example "2011-01-31"'
        )
    return moment


def allowed_value(column: str, rule: Rule, item: object) -> object:
    """One value of ``in`` in the column's type.

    Raises:
        ProjectError: It is of another type: no row could ever have it.
    """
    number = isinstance(item, int | float) and not isinstance(item, bool)
    if rule.type == "boolean" and isinstance(item, bool):
        return item
    if rule.type == "bigint" and number and float(item).is_integer():  # type: ignore[arg-type]
        return int(item)  # type: ignore[call-overload]
    if rule.type == "double" and number:
        return float(item)  # type: ignore[arg-type]
    if rule.type == "varchar" and isinstance(item, str):
        return item
    if rule.type in ("timestamp", "date"):
        moment = _moment(rule.type, item)
        if moment is not None:
            return moment
    raise ProjectError(f"data.contract.{column}: {item!r} in `in` is no {rule.type}")


def _moment(kind: str, value: object) -> datetime | date | None:
    if not isinstance(value, str):
        return None
    return parse_time_text(value) if kind == "timestamp" else parse_date_text(value)
