"""A window counted with the edges and values of a reference. Counts of two windows merge by addition, exactly."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

# Values that are not listed, of which a window names the first few.
EXAMPLES = 5


@dataclass(frozen=True)
class NumericCounts:
    """Counts in the bins of a :class:`NumericReference`.

    Attributes:
        rank_error: How far a sketch may have moved any cumulative share; 0 when counted.
    """

    counts: tuple[int, ...]
    nulls: int
    rank_error: float = 0.0

    @property
    def rows(self) -> int:
        return sum(self.counts)

    def merge(self, other: NumericCounts) -> NumericCounts:
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return NumericCounts(counts, self.nulls + other.nulls, max(self.rank_error, other.rank_error))


@dataclass(frozen=True)
class CategoricalCounts:
    """Counts of the values of a :class:`CategoricalReference`, in its order.

    Attributes:
        unlisted: Rows with another value.
        examples: The first few of those values in alphabetical order.
    """

    counts: tuple[int, ...]
    unlisted: int
    examples: tuple[str, ...]
    nulls: int

    @property
    def rows(self) -> int:
        return sum(self.counts) + self.unlisted

    def merge(self, other: CategoricalCounts) -> CategoricalCounts:
        return CategoricalCounts(
            tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)),
            self.unlisted + other.unlisted,
            # The smallest few of a union are among the smallest few of its parts: this merges exactly too.
            tuple(sorted({*self.examples, *other.examples})[:EXAMPLES]),
            self.nulls + other.nulls,
        )


ColumnCounts = NumericCounts | CategoricalCounts


@dataclass(frozen=True)
class WindowCounts:
    """One entry per column of the reference, in its order."""

    rows: int
    columns: tuple[ColumnCounts, ...]

    def merge(self, other: WindowCounts) -> WindowCounts:
        """As if both windows had been counted as one."""
        pairs = zip(self.columns, other.columns, strict=True)
        merged = [_merged(mine, theirs) for mine, theirs in pairs]
        return WindowCounts(self.rows + other.rows, tuple(merged))

    def to_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "columns": [asdict(column) for column in self.columns]}

    @staticmethod
    def from_dict(raw: dict[str, Any]) -> WindowCounts:
        return WindowCounts(raw["rows"], tuple(_column_from(item) for item in raw["columns"]))


def _merged(mine: ColumnCounts, theirs: ColumnCounts) -> ColumnCounts:
    match mine, theirs:
        case NumericCounts(), NumericCounts():
            return mine.merge(theirs)
        case CategoricalCounts(), CategoricalCounts():
            return mine.merge(theirs)
        case _:
            raise ValueError("these windows were counted with different references")


def _column_from(item: dict[str, Any]) -> ColumnCounts:
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in item.items()
    }
    return CategoricalCounts(**fields) if "unlisted" in fields else NumericCounts(**fields)
