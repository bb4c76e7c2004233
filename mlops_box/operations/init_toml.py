"""Values as TOML writes them."""

from __future__ import annotations

import json
import re
from typing import Any

_BARE = re.compile(r"^[A-Za-z0-9_-]+$")


def key(text: str) -> str:
    """A TOML key, quoted where it must be."""
    return text if _BARE.match(text) else toml(text)


def toml(value: Any) -> str:
    """A value on one line.

    >>> print(toml({"type": "double", "min": 0.0, "in": ["a b", 3]}))
    { type = "double", min = 0, in = ["a b", 3] }
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key(name)} = {toml(item)}" for name, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    return str(value)
