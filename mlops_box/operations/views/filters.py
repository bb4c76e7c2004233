"""What a person types behind ``/``, as SQL with bound parameters.

Terms are separated by spaces and must all hold:

==================  ===============================================
``text``            some text column contains it
``!text``           no text column contains it
``~text``           its letters stand in some text column, in order
``field:value``     the field begins with the value
``!field:value``    the field does not
``"two words"``     one term, taken as text
==================  ===============================================

Letters match in either case. Names of fields come from a fixed list; what is typed is only ever bound.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlops_box.errors import UsageError

_TERM = re.compile(r'(?P<sign>[!~]?)(?:"(?P<quoted>[^"]*)"?|(?P<bare>\S+))')
_FIELD = re.compile(r"^(?P<field>[a-z_]+):(?P<value>.*)$", re.IGNORECASE)


@dataclass(frozen=True)
class Condition:
    """A boolean SQL expression and the values of its question marks."""

    sql: str
    parameters: tuple[str, ...] = ()


def compile_filter(typed: str, *, fields: Mapping[str, str], text: Sequence[str]) -> Condition:
    """Compile a typed filter.

    Args:
        typed: What was typed; empty holds for every row.
        fields: Name a person types to the SQL expression it stands for.
        text: SQL expressions that plain terms search.

    Raises:
        UsageError: A field that does not exist; the hint names those that do.
    """
    parts: list[str] = []
    parameters: list[str] = []
    # A NUL cannot be typed in a terminal, and SQLite ends text at it.
    for match in _TERM.finditer(typed.replace("\0", "")):
        term = _compile_term(match, fields, text)
        if term is not None:
            parts.append(term.sql)
            parameters += term.parameters
    return Condition(" AND ".join(parts) or "1", tuple(parameters))


def _compile_term(match: re.Match[str], fields: Mapping[str, str], text: Sequence[str]) -> Condition | None:
    sign, quoted = match["sign"], match["quoted"]
    body = quoted if quoted is not None else match["bare"]
    field = _FIELD.match(body) if quoted is None and sign != "~" else None
    if field is not None:
        expression = _expression(field["field"].lower(), fields)
        if not field["value"]:
            return None
        pattern = _escaped(field["value"]) + "%"
        condition = _like([expression], pattern)
    elif not body:
        return None
    elif sign == "~":
        condition = _like(text, "%" + "%".join(_escaped(letter) for letter in body) + "%")
    else:
        condition = _like(text, f"%{_escaped(body)}%")
    return Condition(f"NOT {condition.sql}", condition.parameters) if sign == "!" else condition


def _like(expressions: Sequence[str], pattern: str) -> Condition:
    tests = [f"COALESCE({expression}, '') LIKE ? ESCAPE '\\'" for expression in expressions]
    return Condition("(" + " OR ".join(tests) + ")", (pattern,) * len(tests))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _expression(name: str, fields: Mapping[str, str]) -> str:
    if name in fields:
        return fields[name]
    near = difflib.get_close_matches(name, fields, n=1)
    raise UsageError(
        f"there is no field {name!r} here" + (f"; did you mean {near[0]!r}?" if near else ""),
        hint=f"fields: {', '.join(fields)}; quote the term to search for it as text",
    )
