"""What a new champion says where the old one spoke: both answer the new one's golden rows before they change places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlops_box.errors import BoxError
from mlops_box.serving.answers import Answers
from mlops_box.serving.slot import Slot


@dataclass(frozen=True)
class SwapReport:
    """One change of a champion.

    Attributes:
        before: The number that served; ``None``: the model had no champion.
        load_s: Seconds until it was ready, beside the one that served; 0 when it was in memory.
        rows: Golden rows that both answered; 0 when the old one cannot read them.
        changed: Of these, rows with another class; for numbers: with any other number, beyond rounding.
        largest: The largest difference of a number, or of the probability of the second class; ``None`` without such.
    """

    model: str
    before: int | None
    after: int
    load_s: float
    rows: int = 0
    changed: int = 0
    largest: float | None = None

    def text(self) -> str:
        """In words, for the server's log."""
        told = f"{self.model}@{self.after} serves (before: {self.before if self.before is not None else 'nothing'})"
        if not self.rows:
            return told
        differs = "" if self.largest is None else f", by {self.largest:.4g} at most"
        return f"{told}; {self.changed} of {self.rows} golden rows are answered differently{differs}"


def compare(
    before: Slot | None, after: Slot, golden: Sequence[dict[str, Any]], *, load_s: float
) -> SwapReport:
    """Have both answer the golden rows; a difference refuses nothing, that is for gates and rollouts."""
    version = after.version
    old_number = before.version.number if before is not None else None
    bare = SwapReport(version.model, old_number, version.number, load_s)
    if before is None or before.version.signature.task != version.signature.task or not golden:
        return bare
    try:
        old, new = before.run(golden), after.run(golden)
    except BoxError:
        # Another set of features: the old version cannot read these rows.
        return bare
    differences = _differences(old, new)
    if old.labels is not None:
        changed = sum(one != other for one, other in zip(old.labels, new.labels or (), strict=True))
    else:
        changed = sum(
            gap is None or gap > 1e-6 * max(1.0, abs(one or 0.0))
            for gap, one in zip(differences, old.numbers or (), strict=True)
        )
    known = [gap for gap in differences if gap is not None]
    return SwapReport(
        version.model, old_number, version.number, load_s, len(golden), changed, max(known, default=None)
    )


def _differences(old: Answers, new: Answers) -> list[float | None]:
    """Row by row; ``None`` where only one of them is a number."""
    found: list[float | None] = []
    for one, other in zip(old.numbers or (), new.numbers or (), strict=True):
        if one is None and other is None:
            found.append(0.0)
        else:
            found.append(abs(one - other) if one is not None and other is not None else None)
    return found
