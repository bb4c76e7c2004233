"""The demo's data: real measurements of 569 biopsies, a dirty copy, and traffic from a mis-set microscope.

Source: W. Wolberg, O. Mangasarian, N. Street, Breast Cancer Wisconsin (Diagnostic), UCI id 17; it ships with
scikit-learn.
"""

from __future__ import annotations

import csv
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]
TARGET = "diagnosis"
LENGTHS = ("mean radius", "mean perimeter", "mean area")


@dataclass(frozen=True)
class DemoData:
    """Rows with their target: ``history`` to learn from, the others to come as traffic, each of other biopsies."""

    history: list[Row]
    usual: list[Row]
    shifted: list[Row]
    later: list[Row]


def load(*, seed: int = 11, usual: int = 200, shifted: int = 300, later: int = 200) -> DemoData:
    """300 biopsies of history; three parts of the other 269, drawn with replacement, are traffic.

    ``shifted`` and ``later`` are what a microscope set a third too large reports: lengths times 1.33, the area times
    1.33². No biopsy of ``later`` is in another part, so that what learnt from the others is judged on new ones.
    """
    from sklearn.datasets import load_breast_cancer

    raw = load_breast_cancer()
    names = [str(name) for name in raw.feature_names[:10]]
    rows = [
        {
            **{name: round(float(value), 5) for name, value in zip(names, values[:10], strict=True)},
            TARGET: str(raw.target_names[label]),
        }
        for values, label in zip(raw.data, raw.target, strict=True)
    ]
    draw = random.Random(seed)
    draw.shuffle(rows)
    history, rest = rows[:300], rows[300:]
    return DemoData(
        history=history,
        usual=draw.choices(rest[:80], k=usual),
        shifted=[_enlarged(row) for row in draw.choices(rest[80:180], k=shifted)],
        later=[_enlarged(row) for row in draw.choices(rest[180:], k=later)],
    )


def dirty(rows: list[Row], *, seed: int = 5) -> list[Row]:
    """A copy as it comes from a broken export: negative radii, text among numbers, empty cells."""
    draw = random.Random(seed)
    copy = [dict(row) for row in rows]
    for row in draw.sample(copy, 12):
        row["mean radius"] = -row["mean radius"]
    for row in draw.sample(copy, 9):
        row["mean texture"] = "n/a?"
    for row in draw.sample(copy, 15):
        row["mean area"] = None
    return copy


def write_csv(path: Path, rows: list[Row]) -> None:
    """Whole or not at all."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    temporary.rename(path)


def _enlarged(row: Row) -> Row:
    factors = {"mean radius": 1.33, "mean perimeter": 1.33, "mean area": 1.33**2}
    return {
        name: round(value * factors[name], 5) if name in factors else value for name, value in row.items()
    }
