"""Quoting for the SQL we build: names and values of users never become syntax."""

from __future__ import annotations


def name(text: str) -> str:
    """A quoted identifier.

    >>> name("Tool wear")
    '"Tool wear"'
    """
    return '"' + text.replace('"', '""') + '"'


def literal(value: str | int | float | bool) -> str:
    """A literal of a text, a number or a truth value.

    >>> print(literal("it's"), literal(3), literal(True))
    'it''s' 3 true
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"CAST('{value!r}' AS DOUBLE)"
    # NUL ends a statement in DuckDB's parser, whatever the quotes say.
    parts = ["'" + part.replace("'", "''") + "'" for part in value.split("\0")]
    return parts[0] if len(parts) == 1 else "(" + " || chr(0) || ".join(parts) + ")"


def struct(fields: dict[str, str]) -> str:
    """A DuckDB struct literal of texts, as ``read_csv(columns = ...)`` wants it."""
    return "{" + ", ".join(f"{literal(key)}: {literal(value)}" for key, value in fields.items()) + "}"
