"""Slices: every row is in exactly one, and the labels are what a person would write."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa

from mlops_box.evaluation.slices import slice_by, slice_labels
from mlops_box.models.runtime import Output


def labels_of(values: list[object], kind: pa.DataType | None = None) -> tuple[list[str], list[str]]:
    labels, order = slice_labels(pa.chunked_array([pa.array(values, type=kind)]))
    assert len(labels) == len(values)
    assert set(labels) == set(order)
    return list(labels), order


def test_small_domains_are_taken_as_they_are_in_order() -> None:
    labels, order = labels_of([10, 2, 2, None, 1])
    assert labels == ["10", "2", "2", "missing", "1"]
    assert order == ["1", "2", "10", "missing"]
    assert labels_of([True, False, True])[1] == ["true", "false"]
    assert labels_of(["b", "a", "b", None])[1][0] == "b"


def test_numbers_with_many_values_are_cut_at_quintiles() -> None:
    labels, order = labels_of([float(value) for value in range(100)] + [None, float("nan")])
    assert len(order) == 6
    assert order[-1] == "missing"
    assert labels.count(order[0]) == 20
    assert labels.count("missing") == 2
    assert order[0] == "0 to 19.8"


def test_times_are_cut_at_quintiles_and_read_as_times() -> None:
    labels, order = labels_of([datetime(2026, 1, day) for day in range(1, 31)], pa.timestamp("us"))
    assert len(order) == 5
    assert order[0].startswith("2026-01-01 00:00 to ")
    assert len(labels) == 30


def test_rare_texts_go_together() -> None:
    values: list[object] = [f"v{index:02d}" for index in range(30) for _ in range(30 - index)]
    labels, order = labels_of(values)
    assert len(order) == 21
    assert order[-1] == "all others"
    assert labels.count("all others") == sum(range(1, 11))


def test_metrics_of_a_slice_are_those_of_its_rows() -> None:
    table = pa.table({"day": [0, 0, 1, 1]})
    truth = np.array([1.0, 2.0, 10.0, 20.0])
    output = Output(prediction=np.array([2.0, 3.0, 10.0, 24.0], dtype=np.float32))
    parts = slice_by(table, "day", "regression", truth=truth, output=output, classes=None)
    assert [(part.value, part.rows, part.metrics["mae"]) for part in parts] == [("0", 2, 1.0), ("1", 2, 2.0)]
