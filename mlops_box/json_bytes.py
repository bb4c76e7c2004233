"""Strict JSON from and to bytes: orjson where it is installed, which a device has not, and the standard library elsewhere.

Both read the same values and refuse the same bodies; only the words for what is wrong with a body differ.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

# More digits than 64 bits hold: such integers are read as float64, as orjson does.
_LONG_INTEGER = re.compile(rb"[0-9]{19}")
# What may lie beyond float64: an exponent of three digits, or a number of two hundred.
_LARGE_NUMBER = re.compile(rb"[eE]\+?[0-9]{3}|[0-9]{200}")


def standard_loads(body: bytes) -> Any:
    """The standard library's reader, as strict as orjson.

    Raises:
        ValueError: It is no UTF-8 or no JSON (NaN, infinities and numbers beyond float64 are none), or nests so deeply
            (some 900 levels, where orjson takes 1,024) that it cannot be read.
    """
    text = body.decode("utf-8")
    parse_int = _integer if _LONG_INTEGER.search(body) else None
    parse_float = _float if _LARGE_NUMBER.search(body) else None
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_int=parse_int, parse_float=parse_float)
    except RecursionError:
        raise ValueError("it nests too deeply") from None
    if "\\u" in text:
        # Half a surrogate pair is no character.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def standard_dumps(value: Any, default: Callable[[Any], Any] | None = None) -> bytes:
    """The standard library's writer; what is not finite is written as null, arrays as lists.

    Args:
        default: Gives something that can be written for what cannot.
    """

    def written(item: Any) -> Any:
        if hasattr(item, "tolist"):
            return _array(item)
        if default is None:
            raise TypeError(f"{type(item).__name__} cannot be written as JSON")
        return default(item)

    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=written)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"), default=written)
    return text.encode("utf-8")


def _array(item: Any) -> Any:
    """A numpy array as a list; float32 by its own shortest digits, not those of the float64 that equals it."""
    if item.dtype.name == "float32":
        return _finite([float(text) for text in item.astype(str).ravel().tolist()])
    return _finite(item.tolist())


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def _integer(digits: str) -> int | float:
    if len(digits) > 20:
        return _float(digits)
    value = int(digits)
    return value if -(2**63) <= value < 2**64 else float(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"{digits[:40]} is infinity as a double")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


try:
    import orjson
except ImportError:
    loads, dumps = standard_loads, standard_dumps
else:

    def loads(body: bytes) -> Any:
        return orjson.loads(body)

    def dumps(value: Any, default: Callable[[Any], Any] | None = None) -> bytes:
        return orjson.dumps(value, default=default, option=orjson.OPT_SERIALIZE_NUMPY)
