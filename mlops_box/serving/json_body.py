"""JSON bodies in which every key stands once.

JSON's readers keep the last of two equal keys and says nothing, so that two readers of one body may see two different rows. It is
found by counting: every key is followed by a colon, so a body with as many colons as its parsed objects have keys holds no
key twice. For a row of 30 numbers (700 bytes) that takes 0.7 µs, a fourth of parsing it. Where there are more colons (in texts, such as times), a second
count, and where that does not settle it a second, strict parse decides.
"""

from __future__ import annotations

import json
import re
from typing import Any

from mlops_box.json_bytes import loads
from mlops_box.serving.problems import MalformedBody

_SPACED_COLON = re.compile(rb'"[ \t\r\n]+:')


def load_json(body: bytes) -> Any:
    """The value of a JSON body.

    Raises:
        MalformedBody: No JSON (NaN and infinities are none, nor is what nests deeper than 1,024), or a key stands twice.
    """
    value = parse_json(body)
    refuse_duplicate_keys(body, count_keys(value))
    return value


def parse_json(body: bytes) -> Any:
    """The same without a look at the keys, for who counts them himself."""
    try:
        return loads(body)
    except ValueError as error:
        raise MalformedBody(f"the body is no JSON: {error}") from None


def count_keys(value: Any, *, levels: int = 32) -> int:
    """How many keys the objects in ``value`` have, as far as they are easily found: a list is taken for what its first
    item is, and nothing is looked for below so many levels. Too few cost a second parse; too many are never counted."""
    if not levels:
        return 0
    if isinstance(value, dict):
        inner = [item for item in value.values() if isinstance(item, dict | list)]
        return len(value) + sum(count_keys(item, levels=levels - 1) for item in inner)
    if isinstance(value, list) and value and isinstance(value[0], dict | list):
        return sum(count_keys(item, levels=levels - 1) for item in value)
    return 0


def refuse_duplicate_keys(body: bytes, keys: int) -> None:
    """Pass where no object of a parsed body has a key twice.

    Args:
        keys: How many keys the parsed objects have; no more than there are.

    Raises:
        MalformedBody: One stands twice.
    """
    if body.count(b":") == keys:
        return
    # A key's colon follows its quote at once, here: then there are no fewer of these pairs than keys in the body.
    if body.count(b'":') == keys and _SPACED_COLON.search(body) is None:
        return
    try:
        json.loads(body, object_pairs_hook=_each_once)
    except RecursionError:
        raise MalformedBody("the body nests too deeply") from None


def _each_once(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise MalformedBody(
                f"the body has the key {key[:60]!r} twice in one object", hint="send each key once"
            )
        seen.add(key)
