"""Tables of classes that are imported when they are first asked for: the first picture waits for none that it does not show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from mlops_box.lazy import member

T = TypeVar("T")


class LazyTable(Mapping[str, T], Generic[T]):
    """Name to class; listing the names imports nothing.

    Args:
        package: Where the modules lie.
        places: Name to ``module:Class``.
    """

    def __init__(self, package: str, places: Mapping[str, str]):
        self._package = package
        self._places = dict(places)

    def __getitem__(self, name: str) -> T:
        module, _, attribute = self._places[name].partition(":")
        found: T = member(f"{self._package}.{module}", attribute)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places
