"""JSON as a border needs it: one byte form to write, and no surprises when reading what came from outside."""

from __future__ import annotations

import json
from typing import Any

from .errors import Refused


def canonical_json(value: Any) -> bytes:
    """Sorted keys, no spaces, UTF-8: the bytes of ``mlops_box.canonical`` for what JSON can hold.

    >>> canonical_json({"b": 1, "a": [True, None]})
    b'{"a":[true,null],"b":1}'

    Raises:
        ValueError: NaN or an infinity.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace")


def parse_object(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object: UTF-8, every key once, no NaN, nested no deeper than the reader bears.

    Raises:
        Refused: It is not that; ``what`` names it in the message.
    """
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{what} is no JSON that can be read: {error}", rule="json.malformed") from error
    if not isinstance(value, dict):
        raise Refused(f"{what} is no JSON object", rule="json.malformed")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def whole(value: Any) -> int:
    """A count that a database can hold; raises :class:`ValueError` where it is none."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**62:
        raise ValueError(f"{value!r} is no count")
    return value
