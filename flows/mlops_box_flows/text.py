"""An outcome as lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def as_text(facts: Mapping[str, Any]) -> str:
    """``key: value`` lines, nested facts indented; control characters shown as ``�``.

    >>> print(as_text({"version": "bikes@3", "metrics": {"mae": 41.25}}))
    version: bikes@3
    metrics:
      mae: 41.25
    """
    return "\n".join(_lines(facts, ""))


def _lines(facts: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in facts.items():
        if isinstance(value, Mapping) and value:
            yield f"{indent}{_clean(name)}:"
            yield from _lines(value, indent + "  ")
        elif isinstance(value, list | tuple) and value:
            yield f"{indent}{_clean(name)}:"
            for item in value:
                shown = (
                    ", ".join(f"{key}={_clean(part)}" for key, part in item.items())
                    if isinstance(item, Mapping)
                    else _clean(item)
                )
                yield f"{indent}  - {shown}"
        else:
            yield f"{indent}{_clean(name)}: {_clean(value)}"


def _clean(value: object) -> str:
    if value is None or value in ((), [], {}):
        return "-"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return "".join(character if character.isprintable() else "�" for character in text)
