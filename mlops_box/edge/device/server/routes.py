"""Which handler answers a path: exact paths first, then patterns in the order in which they were added."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Callable, Dict, Tuple

from mlops_box.errors import NotFoundError
from mlops_box.serving.problems import HttpProblem

from .exchange import Answer

if TYPE_CHECKING:
    from mlops_box.serving.authorization import Need

Handler = Callable[..., Answer]
Methods = Dict[str, Tuple[Handler, "Need"]]
_PART = re.compile(r"\{(\w+)\}")


class Routes:
    """The table of all routes. ``{name}`` in a path stands for a part without a slash, given to the handler by name."""

    def __init__(self) -> None:
        self._exact: dict[str, Methods] = {}
        self._patterns: list[tuple[re.Pattern[str], Methods]] = []

    def add(self, method: str, path: str, handler: Handler, needs: Need) -> None:
        """``needs``: what a caller must be allowed to do where tokens are asked for; ``open`` never asks."""
        if not _PART.search(path):
            self._exact.setdefault(path, {})[method] = handler, needs
            return
        pattern = re.compile(_PART.sub(r"(?P<\1>[^/]+)", path))
        known = next((methods for other, methods in self._patterns if other.pattern == pattern.pattern), None)
        if known is None:
            self._patterns.append((pattern, {method: (handler, needs)}))
        else:
            known[method] = handler, needs

    def methods(self, path: str) -> tuple[Methods, dict[str, str]]:
        """What can be done with a path, and its named parts; empty where there is nothing."""
        found = self._exact.get(path)
        if found is not None:
            return found, {}
        for pattern, methods in self._patterns:
            match = pattern.fullmatch(path)
            if match:
                return methods, match.groupdict()
        return {}, {}


def need(methods: Methods, method: str) -> Need | None:
    """What a caller must be allowed to do; ``None`` for what is no route, which only a valid token gets to know."""
    found = methods.get(_known(method))
    return found[1] if found is not None else None


def handler_of(methods: Methods, method: str, path: str) -> Handler:
    """Raises :class:`NotFoundError` for no path, :class:`HttpProblem` 405 for one without the method."""
    if not methods:
        raise NotFoundError(f"there is nothing under {path[:80]}")
    found = methods.get(_known(method))
    if found is None:
        allowed = ", ".join(sorted(methods))
        headers = ((b"allow", allowed.encode()),)
        raise HttpProblem(
            405, "method", f"{method} is not possible here", hint=f"use {allowed}", headers=headers
        )
    return found[0]


def _known(method: str) -> str:
    return "GET" if method == "HEAD" else method
