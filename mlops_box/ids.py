"""Identifiers: sortable unique ids, names and model references."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from mlops_box.clock import Clock
from mlops_box.errors import UsageError

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"
_NAME = re.compile(NAME_PATTERN)
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def _base32(value: int, digits: int) -> str:
    return "".join(_ALPHABET[(value >> (5 * place)) & 31] for place in reversed(range(digits)))


def new_id(clock: Clock) -> str:
    """22 characters: 10 of milliseconds since 1970, 12 random; ids sort by time of creation."""
    milliseconds = int(clock.now().timestamp() * 1000)
    return _base32(milliseconds, 10) + _base32(int.from_bytes(os.urandom(8), "big") >> 4, 12)


def check_name(name: str, *, what: str = "name") -> str:
    """Return ``name`` if it may name a project, model or alias.

    Raises:
        UsageError: It does not match ``^[a-z0-9][a-z0-9._-]{0,63}$``.
    """
    if not _NAME.match(name) or name.endswith("\n"):
        raise UsageError(
            f"{what} {name!r} is not allowed",
            hint="use up to 64 of a-z 0-9 . _ - and begin with a letter or a digit",
        )
    return name


@dataclass(frozen=True)
class ModelRef:
    """``name``, ``name@7`` or ``name@champion``; exactly one of ``number`` and ``alias`` is set."""

    name: str
    number: int | None
    alias: str | None

    def __str__(self) -> str:
        return f"{self.name}@{self.number if self.number is not None else self.alias}"


def parse_ref(text: str) -> ModelRef:
    """Read a model reference; a bare name means its champion.

    >>> str(parse_ref("bikes"))
    'bikes@champion'

    Raises:
        UsageError: Name or alias contain what they must not.
    """
    name, separator, rest = text.partition("@")
    check_name(name, what="model name")
    if not separator:
        return ModelRef(name, None, "champion")
    if rest.isascii() and rest.isdigit() and len(rest) <= 9:
        return ModelRef(name, int(rest), None)
    return ModelRef(name, None, check_name(rest, what="alias"))
