"""A device's histograms are the box's counts of the same rows, however they came in and however they are added up."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import reduce
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_box.edge.device.server.contract import Contract
from mlops_box.edge.device.server.drift import column_psi
from mlops_box.edge.device.server.histogram import WindowTally
from mlops_box.edge.device.server.model import Served
from mlops_box.edge.device.server.moments import event_times, utc_text
from mlops_box.models.encode import encode_rows
from mlops_box.models.values import Feature, Signature
from mlops_box.monitoring.count_tables import count_window
from mlops_box.monitoring.counts import WindowCounts
from mlops_box.monitoring.drift import DriftDetector
from mlops_box.monitoring.reference import PREDICTION, Reference
from mlops_box.monitoring.reference_tables import build_reference
from mlops_box.serving.answers import Answers
from mlops_box.serving.columns import Columns
from mlops_box.serving.door_rules import DoorRules

FEATURES = (
    Feature("x", "numeric", "double"),
    Feature("n", "numeric", "bigint"),
    Feature("kind", "categorical", "varchar", ("a", "b")),
    Feature("level", "categorical", "bigint", ("1", "2")),
)
SIGNATURES = {
    "regression": Signature("regression", "y", FEATURES),
    "binary": Signature("binary", "y", FEATURES, (False, True)),
    "multiclass": Signature("multiclass", "y", FEATURES, ("p", "q", "r")),
}
_RNG = np.random.default_rng(0)
TABLE = pa.table(
    {
        "x": _RNG.normal(size=400),
        "n": _RNG.integers(0, 8, 400),
        "kind": _RNG.choice(["a", "b", None], 400),
        "level": _RNG.integers(1, 3, 400),
    }
)
REFERENCES = {
    task: build_reference(
        TABLE,
        signature,
        predictions=np.array(["p", "q"] * 200, dtype=object) if task == "multiclass" else _RNG.random(400),
    )
    for task, signature in SIGNATURES.items()
}
ROW = st.fixed_dictionaries(
    {},
    optional={
        "x": st.none() | st.floats(-4, 4) | st.sampled_from([1e300, -1e300, 0.1]),
        "n": st.none() | st.integers(-2, 10),
        "kind": st.none() | st.sampled_from(["a", "b", "c", "", "d", "e", "f", "g", "ö"]),
        "level": st.none() | st.integers(0, 4) | st.sampled_from([1.0, 2.5]),
    },
)


def served(task: str, redact: tuple[str, ...] = ()) -> Served:
    """As much of a version as a tally looks at."""
    contract = Contract(DoorRules({}, None, frozenset(), 10), 1.0, redact, 3600.0)
    found = SimpleNamespace(reference=REFERENCES[task], contract=contract, signature=SIGNATURES[task])
    return cast(Served, found)


def answers(task: str, rows: int, rng: np.random.Generator) -> Answers:
    if task == "multiclass":
        labels = [str(one) for one in rng.choice(["p", "q", "r"], rows)]
        return Answers(labels, None, labels, [[0.0] * 3] * rows, "ok")
    numbers: list[float | None] = rng.random(rows, dtype=np.float32).tolist()
    if rows > 2:
        numbers[1] = None  # was not finite
    return Answers(numbers, numbers, None, None, "ok")


def of_box(task: str, rows: list[dict[str, Any]], given_: Answers) -> WindowCounts:
    """The box's counts: of the columns that its log holds."""
    text = {True: "true", False: "false"}
    columns = {
        feature.name: pa.array(
            [_logged(row.get(feature.name), feature.kind, text) for row in rows],
            pa.float64() if feature.kind == "numeric" else pa.string(),
        )
        for feature in FEATURES
    }
    predictions = (
        pa.array(given_.labels, pa.string())
        if task == "multiclass"
        else pa.array(given_.numbers, pa.float64())
    )
    return count_window(REFERENCES[task], pa.table({**columns, PREDICTION: predictions}))


def _logged(value: Any, kind: str, text: dict[bool, str]) -> Any:
    if value is None or kind == "numeric":
        return None if value is None else float(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(sorted(SIGNATURES)),
    st.lists(st.lists(ROW, min_size=1, max_size=6), min_size=1, max_size=5),
    st.integers(0, 5),
)
def test_counted_in_batches_on_the_device_the_rows_are_what_the_box_counts_at_once(
    task: str, batches: list[list[dict[str, Any]]], cut: int
) -> None:
    rng = np.random.default_rng(1)
    tallies = [WindowTally(served(task)), WindowTally(served(task))]
    parts = []
    for index, rows in enumerate(batches):
        given_ = answers(task, len(rows), rng)
        parts.append(of_box(task, rows, given_))
        tallies[index > cut].add(encode_rows(rows, SIGNATURES[task]), given_)
    both = [WindowCounts.from_dict(tally.value().to_dict()) for tally in tallies]
    assert both[0].merge(both[1]) == reduce(WindowCounts.merge, parts)


def test_what_is_redacted_counts_as_missing() -> None:
    tally = WindowTally(served("binary", ("x", "kind")))
    rows = [{"x": 0.5, "n": 3, "kind": "a", "level": 1}] * 4
    tally.add(encode_rows(rows, SIGNATURES["binary"]), answers("binary", 4, _RNG))
    x, n, kind, level, _ = tally.value().columns
    assert [(one.rows, one.nulls) for one in (x, n, kind, level)] == [(0, 4), (4, 0), (0, 4), (4, 0)]


@pytest.mark.parametrize("task", sorted(SIGNATURES))
def test_the_stability_index_on_the_device_is_that_of_the_box_s_finding(task: str) -> None:
    reference: Reference = REFERENCES[task]
    rng = np.random.default_rng(2)
    rows = [
        {"x": float(x), "n": 3, "kind": str(kind), "level": 1}
        for x, kind in zip(rng.normal(1, 1, 300), rng.choice(["a", "c"], 300), strict=True)
    ]
    counts = of_box(task, rows, answers(task, 300, rng))
    finding = {one.name: one for one in DriftDetector(reference).check_counts(counts).features}
    for column, counted in zip(reference.columns, counts.columns, strict=True):
        expected = finding[column.name].psi
        assert expected is not None
        found = column_psi(column, counted)
        assert found == pytest.approx(expected)


def test_event_times_are_read_from_rows_and_columns_alike() -> None:
    texts = ["2026-01-02T03:04:05.000006Z", "2026-01-02", None, "2026-01-02T04:04:05+01:00"]
    wanted = [
        round(datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC).timestamp() * 1e6),
        round(datetime(2026, 1, 2, tzinfo=UTC).timestamp() * 1e6),
        None,
        round(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp() * 1e6),
    ]
    assert event_times([{"at": text} for text in texts], "at") == wanted
    assert event_times(Columns(4, {"at": np.array(texts, dtype=object)}), "at") == wanted
    stamps = np.array(["2026-01-02T03:04:05.000006", "NaT"], dtype="datetime64[us]")
    assert event_times(Columns(2, {"at": stamps}), "at") == [wanted[0], None]
    assert event_times([{}, {}], "at") == event_times([{}, {}], None) == [None, None]
    assert utc_text(wanted[0] or 0) == texts[0]
    assert math.isfinite(wanted[0] or math.nan)
