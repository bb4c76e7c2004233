"""One page of a resource: filter, sort and limit happen in SQL, never in a widget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from mlops_box.box import Box
from mlops_box.db import Row
from mlops_box.errors import UsageError
from mlops_box.operations.views.filters import compile_filter

PAGE_ROWS = 500

T = TypeVar("T")


@dataclass(frozen=True)
class Query:
    """What part of a resource is asked for.

    Attributes:
        text: A filter as typed, see :mod:`mlops_box.operations.views.filters`.
        scope: The parent (a model, for its versions); ``None`` for all.
        sort: A sort name of the resource; ``None`` for its own order.
        problems: Only rows that want attention.
        offset: Rows to skip.
    """

    text: str = ""
    scope: str | None = None
    sort: str | None = None
    descending: bool = False
    problems: bool = False
    offset: int = 0
    limit: int = PAGE_ROWS

    def moved(self, pages: int) -> Query:
        """The same question, ``pages`` pages on (never before the first)."""
        return replace(self, offset=max(0, self.offset + pages * self.limit))


@dataclass(frozen=True)
class Page(Generic[T]):
    """Rows ``offset`` to ``offset + len(rows)`` of ``matching``, out of ``total`` without a filter."""

    rows: tuple[T, ...]
    matching: int
    total: int
    offset: int


@dataclass(frozen=True)
class Resource(Generic[T]):
    """A table a person can look through.

    Attributes:
        select: SQL of all its rows; its columns are what the other attributes speak of.
        build: Row to dataclass.
        fields: Filter names, see :func:`compile_filter`.
        text: Expressions that plain filter terms search.
        order: SQL of its own order.
        sorts: Sort names to SQL expressions.
        problems: SQL that holds for rows that want attention.
        scope: The column that :attr:`Query.scope` must equal.
    """

    select: str
    build: Callable[[Row], T]
    fields: Mapping[str, str]
    text: Sequence[str]
    order: str
    sorts: Mapping[str, str] = field(default_factory=dict)
    problems: str = "0"
    scope: str | None = None

    def page(self, box: Box, query: Query) -> Page[T]:
        """One page.

        Raises:
            UsageError: The filter names a field, or the query a sort, that does not exist.
        """
        base = f"({self.select})"
        scoped = "1"
        scope_values: tuple[str, ...] = ()
        if query.scope is not None and self.scope is not None:
            scoped, scope_values = f"{self.scope} = ?", (query.scope,)
        condition = compile_filter(query.text, fields=self.fields, text=self.text)
        where = f"({scoped}) AND ({condition.sql})" + (f" AND ({self.problems})" if query.problems else "")
        parameters = (*scope_values, *condition.parameters)
        counts = box.db.read(
            f"SELECT (SELECT COUNT(*) FROM {base} WHERE {scoped}) AS total, "
            f"(SELECT COUNT(*) FROM {base} WHERE {where}) AS matching",
            (*scope_values, *parameters),
        )[0]
        rows = box.db.read(
            f"SELECT * FROM {base} WHERE {where} ORDER BY {self._order(query)} LIMIT ? OFFSET ?",
            (*parameters, query.limit, query.offset),
        )
        return Page(tuple(self.build(row) for row in rows), counts["matching"], counts["total"], query.offset)

    def _order(self, query: Query) -> str:
        if query.sort is None:
            return self.order
        if query.sort not in self.sorts:
            raise UsageError(f"cannot sort by {query.sort!r}", hint=f"sorts: {', '.join(self.sorts)}")
        # Rows without the value stand last in either direction: unknown is neither most nor least.
        expression = self.sorts[query.sort]
        direction = "DESC" if query.descending else "ASC"
        return f"{expression} {direction} NULLS LAST, {self.order}"
