"""Which handler answers a path: exact paths first, then patterns in the order of their registration."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass

from mlops_box.errors import NotFoundError
from mlops_box.serving.authorization import Need
from mlops_box.serving.problems import HttpProblem
from mlops_box_services.exchange import Answer

Handler = Callable[..., Awaitable[Answer]]


@dataclass(frozen=True)
class Route:
    """One method of one path.

    Attributes:
        path: A path; ``{name}`` stands for a part without a slash and is passed to the handler by name.
        handle: Called with the exchange and the named parts; gives the answer or raises a BoxError or HttpProblem.
        needs: What a caller must be allowed to do where tokens are asked for; ``open`` never asks,
            ``signature`` looks itself at who signed what is sent.
    """

    method: str
    path: str
    handle: Handler
    needs: Need


class Routes:
    """The table of all routes."""

    def __init__(self, routes: Iterable[Route]):
        self._exact: dict[str, dict[str, Route]] = {}
        self._patterns: dict[str, tuple[re.Pattern[str], dict[str, Route]]] = {}
        for route in routes:
            self._methods(route.path)[route.method] = route

    def __iter__(self) -> Iterator[Route]:
        for methods in [*self._exact.values(), *(methods for _, methods in self._patterns.values())]:
            yield from methods.values()

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route of a request and the named parts of its path.

        Raises:
            NotFoundError: No such path.
            HttpProblem: 405 the path has no such method.
        """
        parts: dict[str, str] = {}
        methods = self._exact.get(path)
        if methods is None:
            methods, parts = self._matching(path)
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None:
            allowed = ", ".join(sorted(methods))
            raise HttpProblem(
                405,
                "method",
                f"{method} is not possible here",
                hint=f"use {allowed}",
                headers=((b"allow", allowed.encode()),),
            )
        return route, parts

    def need(self, method: str, path: str) -> Need | None:
        """What a caller must be allowed to do; ``None`` for what is no route, which only a valid token gets to know."""
        methods = self._exact.get(path)
        if methods is None:
            try:
                methods, _ = self._matching(path)
            except NotFoundError:
                return None
        route = methods.get("GET" if method == "HEAD" else method)
        return route.needs if route is not None else None

    def _methods(self, path: str) -> dict[str, Route]:
        if "{" not in path:
            return self._exact.setdefault(path, {})
        if path not in self._patterns:
            pieces = re.split(r"\{(\w+)\}", path)
            pattern = "".join(
                f"(?P<{piece}>[^/]+)" if index % 2 else re.escape(piece) for index, piece in enumerate(pieces)
            )
            self._patterns[path] = (re.compile(pattern), {})
        return self._patterns[path][1]

    def _matching(self, path: str) -> tuple[dict[str, Route], dict[str, str]]:
        for pattern, methods in self._patterns.values():
            found = pattern.fullmatch(path)
            if found:
                return methods, found.groupdict()
        raise NotFoundError(f"there is nothing under {path[:80]}", hint="GET /docs.json lists all paths")
