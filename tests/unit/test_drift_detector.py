"""The detector: silent on the same world, awake when it changes, and honest where it cannot tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from mlops_box.models.values import Feature, Signature
from mlops_box.monitoring import DriftDetector, Finding
from mlops_box.monitoring.profile import merge_profiles, profile_table
from mlops_box.monitoring.reference import PREDICTION, Reference
from mlops_box.monitoring.reference_tables import build_reference, reference_of

DATA = Path(__file__).parents[2].parent / "shared/data/bike-sharing"


def world(rows: int, rng: np.random.Generator, shift: float = 0.0) -> pa.Table:
    """Numbers with tails, ties and few values; categories from two to a million; gaps, constants."""
    return pa.table(
        {
            "normal": rng.normal(shift, 1, rows),
            "heavy": rng.standard_t(2, rows),
            "waiting": rng.exponential(1, rows),
            "few": rng.integers(0, 5, rows),
            "hour": rng.integers(0, 24, rows),
            "rare": pa.array(rng.random(rows) < 0.05),
            "kind": pa.array(rng.choice(list("abc"), rows, p=[0.9, 0.09, 0.01])),
            "zipf": pa.array([f"z{value}" for value in rng.zipf(1.5, rows)]),
            "many": pa.array([f"m{value}" for value in rng.integers(0, 300, rows)]),
            "id": pa.array([f"i{value}" for value in rng.integers(0, 10**9, rows)]),
            "gaps": pa.array(rng.normal(size=rows), mask=rng.random(rows) < 0.1),
            "constant": np.ones(rows),
        }
    )


@pytest.mark.parametrize(("rows_reference", "rows"), [(2000, 200), (2000, 1000), (20_000, 5000), (300, 300)])
def test_the_same_world_raises_hardly_an_alarm(rows_reference: int, rows: int) -> None:
    rng = np.random.default_rng(11)
    runs, alarms, unguarded = 25, 0, 0
    for _ in range(runs):
        detector = DriftDetector(world(rows_reference, rng))
        window = world(rows, rng)
        alarms += detector.check(window).outcome == "drift"
        unguarded += DriftDetector(detector.reference, effect=1e-9).check(window).outcome == "drift"
    assert alarms <= 1
    # Without the effect floor the corrected p-values alone must hold the false alarms down.
    assert unguarded <= 3


@pytest.mark.parametrize(
    ("shift", "rows", "at_least"), [(0.5, 200, 0.95), (0.25, 1000, 0.7), (1.0, 200, 1.0)]
)
def test_a_shifted_column_is_found_and_named(shift: float, rows: int, at_least: float) -> None:
    rng = np.random.default_rng(12)
    found = [
        DriftDetector(world(2000, rng)).check(world(rows, rng, shift)).drifted == ("normal",)
        for _ in range(20)
    ]
    assert np.mean(found) >= at_least


def test_a_significant_trifle_is_no_drift() -> None:
    rng = np.random.default_rng(13)
    detector = DriftDetector(pa.table({"x": rng.normal(size=100_000)}))
    finding = detector.check(pa.table({"x": rng.normal(0.05, 1, 100_000)}))
    (test, _) = finding.feature("x").tests
    assert test.p_adjusted is not None
    assert test.p_adjusted < 0.001
    assert finding.outcome == "fine"


@pytest.mark.parametrize(
    "window",
    [
        pa.table({"x": pa.array([], pa.float64())}),
        pa.table({"x": [1.0] * 199}),
        pa.table({"y": [1.0] * 10}),
    ],
)
def test_too_few_rows_are_never_fine(window: pa.Table) -> None:
    reference = pa.table({"x": np.random.default_rng(0).normal(size=1000)})
    finding = DriftDetector(reference).check(window)
    assert finding.outcome == "cannot_tell"
    assert "200 are needed" in finding.reason


def test_an_empty_reference_can_tell_nothing() -> None:
    finding = DriftDetector(pa.table({"x": pa.array([], pa.float64())})).check(pa.table({"x": [1.0] * 500}))
    assert finding.outcome == "cannot_tell"


def test_values_that_never_come_twice_are_no_drift_whether_new_or_known() -> None:
    names = [f"{side}{place}" for side in "ab" for place in range(500)]
    detector = DriftDetector(pa.table({"id": names[:500]}))
    assert detector.check(pa.table({"id": names[500:]})).outcome == "fine"
    assert detector.check(pa.table({"id": names[:500]})).outcome == "fine"


def test_a_column_that_was_always_empty_can_be_judged_by_its_emptiness_only() -> None:
    detector = DriftDetector(pa.table({"x": pa.nulls(500, pa.float64())}))
    empty = detector.check(pa.table({"x": pa.nulls(300, pa.float64())}))
    assert [test.outcome for test in empty.feature("x").tests] == ["cannot_tell", "fine"]
    assert detector.check(pa.table({"x": np.ones(300)})).missing == ("x",)


def test_a_silent_sensor_is_missing_and_not_drifted() -> None:
    rng = np.random.default_rng(1)
    detector = DriftDetector(pa.table({"x": rng.normal(size=1000), "y": rng.normal(size=1000)}))
    finding = detector.check(pa.table({"x": pa.nulls(500, pa.float64()), "y": rng.normal(size=500)}))
    assert (finding.outcome, finding.drifted, finding.missing) == ("drift", (), ("x",))
    without = detector.check(pa.table({"y": rng.normal(size=500)}))
    assert without.missing == ("x",)


def test_new_categories_are_named() -> None:
    reference = pa.table({"kind": ["a"] * 600 + ["b"] * 400})
    finding = DriftDetector(reference).check(pa.table({"kind": ["a"] * 240 + ["b"] * 130 + ["c"] * 30}))
    feature = finding.feature("kind")
    assert feature.outcome == "drift"
    assert (feature.new, feature.new_examples) == (30 / 400, ("c",))


def test_values_outside_the_reference_are_counted() -> None:
    finding = DriftDetector(pa.table({"x": np.arange(1000.0)})).check(
        pa.table({"x": np.arange(500.0, 1500.0)})
    )
    assert finding.feature("x").outside == 0.5
    assert finding.outcome == "drift"


def test_infinities_are_outside_and_nan_is_missing() -> None:
    values = np.concatenate([np.arange(600.0), np.full(200, np.inf), np.full(200, np.nan)])
    feature = DriftDetector(pa.table({"x": np.arange(1000.0)})).check(pa.table({"x": values})).feature("x")
    assert feature.outside == 0.25
    assert feature.missing == 0.2


def test_floats_that_were_rounded_on_the_way_are_the_same_values() -> None:
    values = np.random.default_rng(3).choice([0.1, 0.2, 0.3, 0.7], 2000)
    detector = DriftDetector(pa.table({"x": values}))
    assert detector.check(pa.table({"x": pa.array(values, pa.float32())})).feature("x").tests[0].effect == 0


def test_a_signature_decides_what_is_a_category_and_booleans_and_numbers_meet_their_texts() -> None:
    signature = Signature(
        "multiclass",
        "y",
        (
            Feature("code", "categorical", "bigint", ("3", "4")),
            Feature("flag", "categorical", "boolean", ("true", "false")),
            Feature("on", "numeric", "boolean"),
        ),
        ("u", "v"),
    )
    table = pa.table({"code": [3, 4] * 200, "flag": [True, False] * 200, "on": [True, False] * 200})
    reference = build_reference(table, signature, predictions=np.tile([[0.9, 0.1], [0.2, 0.8]], (200, 1)))
    window = pa.table(
        {
            "code": ["3", "4"] * 200,
            "flag": ["true", "false"] * 200,
            "on": [1.0, 0.0] * 200,
            PREDICTION: ["u", "v"] * 200,
        }
    )
    finding = DriftDetector(reference).check(window)
    assert [test.effect for feature in finding.features for test in feature.tests] == [0] * 8
    assert reference.names == ("code", "flag", "on", PREDICTION)
    flipped = window.set_column(3, PREDICTION, pa.array(["u"] * 400))
    assert DriftDetector(reference).check(flipped).drifted == (PREDICTION,)


def test_predictions_of_regression_and_binary_models_are_watched() -> None:
    table = pa.table({"x": np.arange(500.0)})
    feature = (Feature("x", "numeric", "double"),)
    numbers = np.linspace(0, 1, 500, dtype=np.float32)
    regression = build_reference(table, Signature("regression", "y", feature), predictions=numbers)
    both = np.column_stack([1 - numbers, numbers])
    binary = build_reference(table, Signature("binary", "y", feature, (0, 1)), predictions=both)
    assert regression.columns[1] == binary.columns[1]
    window = table.append_column(PREDICTION, pa.array(np.full(500, 0.9)))
    assert DriftDetector(binary).check(window).drifted == (PREDICTION,)


def test_references_and_findings_survive_storage() -> None:
    rng = np.random.default_rng(5)
    reference = reference_of(world(1000, rng))
    data = reference.to_bytes()
    assert Reference.from_bytes(data) == reference
    assert Reference.from_bytes(data).to_bytes() == data
    finding = DriftDetector(reference).check(world(500, rng, 1.0))
    assert Finding.from_dict(finding.to_dict()) == finding
    assert not finding.calibrated


def test_a_profile_alone_tells_the_same_story() -> None:
    rng = np.random.default_rng(6)
    detector = DriftDetector(world(5000, rng))
    for shift, outcome in ((0.0, "fine"), (0.5, "drift")):
        windows = [world(2000, rng, shift) for _ in range(2)]
        from_rows = detector.check(pa.concat_tables(windows))
        from_profile = detector.check_profile(merge_profiles([profile_table(part) for part in windows]))
        assert from_rows.outcome == from_profile.outcome == outcome
        for name in ("normal", "heavy", "waiting", "few"):
            exact, sketched = from_rows.feature(name).tests[0], from_profile.feature(name).tests[0]
            assert exact.effect is not None
            assert sketched.effect is not None
            assert abs(exact.effect - sketched.effect) < 0.008
        assert from_profile.feature("kind").tests[0].effect == pytest.approx(
            from_rows.feature("kind").tests[0].effect
        )


@pytest.fixture(scope="module")
def rentals() -> Any:
    file = DATA / "hour.csv"
    if not file.exists():
        pytest.skip("the bike-sharing data are not beside the checkout")
    table = pa.csv.read_csv(file)
    return table.select(["dteday", "temp", "hum", "windspeed", "hr", "weekday", "season", "cnt"])


def test_rented_bikes_drift_by_themselves_and_the_hours_of_the_day_do_not(rentals: pa.Table) -> None:
    months = np.array([str(day)[:7] for day in rentals["dteday"].to_pylist()])
    columns = rentals.drop_columns(["dteday"])
    year = columns.filter(pa.array(np.char.startswith(months.astype(str), "2011")))
    detector = DriftDetector(year)
    found = {
        month: detector.check(columns.filter(pa.array(months == month))).drifted
        for month in sorted(set(months))
        if month.startswith("2012")
    }
    assert all("season" in names for names in found.values())  # each month is one season, the year was four
    assert all("hr" not in names and "weekday" not in names for names in found.values())
    assert sum("cnt" in names for names in found.values()) >= 8
    halves = np.random.default_rng(0).permutation(year.num_rows)
    same = DriftDetector(year.take(pa.array(halves[:4000]))).check(year.take(pa.array(halves[4000:])))
    assert same.outcome == "fine"
