"""Laws of counting and detecting that hold for any data."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_box.monitoring import DriftDetector
from mlops_box.monitoring.count_tables import count_window
from mlops_box.monitoring.counts import WindowCounts
from mlops_box.monitoring.reference import Reference
from mlops_box.monitoring.reference_tables import reference_of

numbers = st.none() | st.floats(width=64) | st.sampled_from([0.1, 1.0, -1.0])
words = st.none() | st.sampled_from(["a", "b", "c", "", "d\n", "ü"]) | st.text(max_size=3)


@st.composite
def tables(draw: st.DrawFn, *, min_rows: int = 0, max_rows: int = 40) -> pa.Table:
    rows = draw(st.integers(min_rows, max_rows))

    def column(values: st.SearchStrategy[object], kind: pa.DataType) -> pa.Array:
        return pa.array(draw(st.lists(values, min_size=rows, max_size=rows)), kind)

    return pa.table(
        {
            "number": column(numbers, pa.float64()),
            "whole": column(st.none() | st.integers(-5, 5), pa.int64()),
            "word": column(words, pa.string()),
            "flag": column(st.none() | st.booleans(), pa.bool_()),
        }
    )


@given(reference=tables(), parts=st.lists(tables(), min_size=2, max_size=4))
@settings(max_examples=60, deadline=None)
def test_merged_counts_are_the_counts_of_all_rows(reference: pa.Table, parts: list[pa.Table]) -> None:
    yardstick = reference_of(reference)
    merged = count_window(yardstick, parts[0])
    for part in parts[1:]:
        merged = merged.merge(count_window(yardstick, part))
    whole = count_window(yardstick, pa.concat_tables(parts))
    assert merged == whole
    assert WindowCounts.from_dict(whole.to_dict()) == whole


@given(reference=tables(), window=tables())
@settings(max_examples=60, deadline=None)
def test_every_row_is_counted_once_in_every_column(reference: pa.Table, window: pa.Table) -> None:
    counts = count_window(reference_of(reference), window)
    assert all(column.rows + column.nulls == window.num_rows for column in counts.columns)


@given(reference=tables(), window=tables())
@settings(max_examples=40, deadline=None)
def test_a_small_window_is_never_fine(reference: pa.Table, window: pa.Table) -> None:
    assert DriftDetector(reference).check(window).outcome == "cannot_tell"


@given(reference=tables(min_rows=30), window=tables(min_rows=30), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_the_order_of_rows_does_not_matter(reference: pa.Table, window: pa.Table, seed: int) -> None:
    rng = np.random.default_rng(seed)
    detector = DriftDetector(reference, min_rows=10)
    shuffled = DriftDetector(reference.take(pa.array(rng.permutation(reference.num_rows))), min_rows=10)
    assert shuffled.reference.to_bytes() == detector.reference.to_bytes() or _differs_only_in_rounding(
        shuffled.reference, detector.reference
    )
    other = window.take(pa.array(rng.permutation(window.num_rows)))
    assert detector.check(window) == detector.check(other)


@given(reference=tables(min_rows=20))
@settings(max_examples=60, deadline=None)
def test_a_table_never_drifts_from_itself(reference: pa.Table) -> None:
    assert DriftDetector(reference, min_rows=10).check(reference).outcome != "drift"


@given(reference=tables())
@settings(max_examples=60, deadline=None)
def test_a_reference_is_read_back_as_it_was(reference: pa.Table) -> None:
    yardstick = reference_of(reference)
    assert Reference.from_bytes(yardstick.to_bytes()) == yardstick


def _differs_only_in_rounding(left: Reference, right: Reference) -> bool:
    """Sums of floats depend on their order in the last digit: mean and spread may, counts may not."""
    pairs = zip(left.columns, right.columns, strict=True)
    return all(
        {key: value for key, value in a.__dict__.items() if key not in ("mean", "std")}
        == {key: value for key, value in b.__dict__.items() if key not in ("mean", "std")}
        for a, b in pairs
    )


@given(seed=st.integers(0, 100), share=st.sampled_from([0.0, 0.05, 0.5, 0.96, 1.0]))
@settings(max_examples=12, deadline=None)
def test_texts_that_hardly_come_again_are_counted_as_others_are(seed: int, share: float) -> None:
    """Counted row by row (the first rows look distinct) or value by value (they do not), the numbers are the same."""
    rng = np.random.default_rng(seed)
    ids = [f"i{value}" for value in rng.integers(0, 10**6, 12_000)]
    words = rng.choice(["a", "b", "", "é", "i5"], 12_000).tolist()
    mixed = [word if rng.random() < share else id_ for id_, word in zip(ids, words, strict=True)]
    yardstick = reference_of(pa.table({"text": ids[:2_000] + ["a", "b"] * 500}))
    front, back = ids + mixed + [None] * 7, [None] * 10_000 + mixed + ids
    for rows in (front, back):
        whole = count_window(yardstick, pa.table({"text": pa.array(rows, pa.string())}))
        parts = [
            count_window(yardstick, pa.table({"text": pa.array(rows[place : place + 5_000], pa.string())}))
            for place in range(0, len(rows), 5_000)
        ]
        merged = parts[0]
        for part in parts[1:]:
            merged = merged.merge(part)
        assert merged == whole
