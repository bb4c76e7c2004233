"""Reading stored JSON and times: what cannot be read is unknown (``None``), never an error and never zero."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mlops_box.clock import parse_time


def moment(text: str | None) -> datetime | None:
    """A stored time."""
    if not text:
        return None
    try:
        return parse_time(text)
    except ValueError:
        return None


def mapping(text: str | None) -> dict[str, Any]:
    """A stored JSON object; empty where there is none."""
    value = _load(text)
    return value if isinstance(value, dict) else {}


def sequence(text: str | None) -> list[Any]:
    """A stored JSON array; empty where there is none."""
    value = _load(text)
    return value if isinstance(value, list) else []


def is_torn(text: str | None) -> bool:
    """Whether something is stored that is no JSON: not the same as nothing."""
    return bool(text) and text != "null" and _load(text) is None


def number(value: Any) -> float | None:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def first_number(values: Mapping[str, Any], *names: str) -> float | None:
    """The first of the named values that is a number."""
    for name in names:
        found = number(values.get(name))
        if found is not None:
            return found
    return None


def numbers(value: Any) -> tuple[float, ...]:
    """A list of numbers; empty where one of them is none."""
    if not isinstance(value, list | tuple):
        return ()
    found = [number(item) for item in value]
    return tuple(item for item in found if item is not None) if None not in found else ()


def _load(text: str | None) -> Any:
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None
