"""The rules of a contract in the types of their columns: what the SQL of the doors and the online door agree on."""

from __future__ import annotations

from datetime import date, datetime

from mlops_box.data.times import parse_date_text, parse_time_text
from mlops_box.data.values import ColumnType
from mlops_box.errors import ProjectError
from mlops_box.project import ColumnRule, Contract


def check_contract(contract: Contract) -> None:
    """Raise :class:`ProjectError` for a rule that its column's type cannot have."""
    for column, rule in contract.columns.items():
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


def bound_value(column: str, rule: ColumnRule, bound: float | str) -> float | datetime | date:
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


def allowed_value(column: str, rule: ColumnRule, item: object) -> object:
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


def _moment(kind: ColumnType, value: object) -> datetime | date | None:
    if not isinstance(value, str):
        return None
    return parse_time_text(value) if kind == "timestamp" else parse_date_text(value)
