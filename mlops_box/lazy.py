"""Names of a package that are imported when they are first asked for, so that a program pays for what it uses."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def on_first_use(package: str, home_of: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's ``__getattr__``.

    Args:
        package: Its name.
        home_of: The module within it that each name lives in.
    """

    def find(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return member(f"{package}.{home_of[name]}", name)

    return find


def member(module: str, name: str) -> Any:
    """What a module calls so, the module imported if it was not yet."""
    return getattr(importlib.import_module(module), name)
