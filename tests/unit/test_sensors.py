"""A broken sensor is named as that, with what was seen of it; a changed world is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_box.monitoring import DriftDetector

Floats = np.ndarray[Any, np.dtype[np.float64]]
RNG = np.random.default_rng(0)
CELSIUS = RNG.normal(20, 5, 3000)
DETECTOR = DriftDetector(pa.table({"temp": CELSIUS, "other": RNG.normal(size=3000)}))


def check(change: Callable[[Floats], Any], seed: int = 1) -> Any:
    rng = np.random.default_rng(seed)
    values = change(rng.normal(20, 5, 600))
    return DETECTOR.check(pa.table({"temp": values, "other": rng.normal(size=600)}))


def spiking(values: Floats) -> Floats:
    values[::60] = 9999.0
    return values


@pytest.mark.parametrize(
    ("kind", "change", "says"),
    [
        ("silent", lambda values: pa.nulls(len(values), pa.float64()), "no values: 100.0%"),
        ("stuck", lambda values: np.full(len(values), 21.5), "100% of the values are 21.5"),
        ("stuck", lambda values: np.where(np.arange(len(values)) % 5, 0.0, values), "80% of the values are 0"),
        ("spikes", spiking, "1.7% of the values, such as 9999,"),
        ("unit", lambda values: values * 1.8 + 32, "Celsius became Fahrenheit"),
        ("unit", lambda values: values + 273.15, "Celsius became kelvin"),
        ("unit", lambda values: values * 1000, "multiplied by 1000"),
        ("unit", lambda values: -values, "the sign was turned"),
    ],
)  # fmt: skip
def test_a_broken_sensor_is_named_and_is_no_drift(
    kind: str, change: Callable[[Floats], Any], says: str
) -> None:
    finding = check(change)
    fault = finding.faults["temp"]
    assert fault.kind == kind
    assert says in fault.message
    assert fault.evidence
    assert finding.drifted == ()
    assert not finding.joint_drift
    assert finding.feature("temp").outcome != "fine"
    assert finding.feature("other").outcome == "fine"
    assert f"broken: temp: {fault.message}" in finding.reason


@pytest.mark.parametrize(
    "change", [lambda values: values + 6, lambda values: values * 1.4, lambda values: values * 0.5]
)
def test_a_warmer_world_is_drift_and_no_broken_sensor(change: Callable[[Floats], Any]) -> None:
    finding = check(change)
    assert finding.faults == {}
    assert finding.drifted == ("temp",)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_what_works_is_never_called_broken(seed: int) -> None:
    assert check(lambda values: values, seed).faults == {}


def test_a_column_of_few_values_may_hold_one_for_a_whole_window() -> None:
    rng = np.random.default_rng(2)
    season = DriftDetector(pa.table({"season": rng.integers(1, 5, 2000)}))
    finding = season.check(pa.table({"season": np.full(400, 3)}))
    assert finding.faults == {}
    assert finding.drifted == ("season",)


@pytest.mark.parametrize(
    "draw", [lambda rng, n: rng.standard_t(2, n), lambda rng, n: rng.lognormal(0, 1.5, n)]
)
def test_heavy_tails_are_no_spikes(draw: Callable[[np.random.Generator, int], Floats]) -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        detector = DriftDetector(pa.table({"x": draw(rng, 2000)}))
        assert detector.check(pa.table({"x": draw(rng, 600)})).faults == {}
