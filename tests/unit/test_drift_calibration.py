"""Limits that are learnt from earlier windows: quiet where windows differ anyway, and honest where nothing is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_box.monitoring import DriftDetector, Finding
from mlops_box.monitoring.baseline import Baseline, cut_baseline
from mlops_box.monitoring.budget import limits_for
from mlops_box.monitoring.history import ColumnHistory
from mlops_box.monitoring.reference_tables import reference_of
from mlops_box.monitoring.season import season_of
from mlops_box.monitoring.statistics.calibrated import fit_usual
from mlops_box.units import parse_rate

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)


def day(rng: np.random.Generator, date: datetime, *, rows: int = 400, shift: float = 0.0) -> pa.Table:
    """Days wobble, and weekends are another world."""
    level = rng.normal(0, 0.1, 5) + (1.0 if date.weekday() >= 5 else 0.0)
    values = rng.normal(size=(rows, 5)) + level
    values[:, 0] += shift
    names = [f"x{place}" for place in range(5)]
    at = [date + timedelta(seconds=int(second)) for second in np.linspace(0, 86_399, rows)]
    kind = rng.choice(["a", "b"], rows, p=[0.8, 0.2] if date.weekday() >= 5 else [0.4, 0.6])
    columns: dict[str, Any] = dict(zip(names, values.T, strict=True))
    return pa.table(columns | {"kind": kind, "at": pa.array(at, pa.timestamp("us", "UTC"))})


@pytest.fixture(scope="module")
def eight_weeks() -> pa.Table:
    rng = np.random.default_rng(1)
    return pa.concat_tables([day(rng, MONDAY + DAY * place) for place in range(56)])


def test_days_that_wobble_and_weekends_raise_no_alarm_and_a_shift_does(eight_weeks: pa.Table) -> None:
    rng = np.random.default_rng(2)
    detector = DriftDetector(eight_weeks, time="at", window=DAY)
    dates = [MONDAY + DAY * place for place in range(56, 77)]
    quiet = [detector.check(day(rng, date)) for date in dates]
    assert all(finding.calibrated for finding in quiet)
    assert {finding.season for finding in quiet} == {"weekdays", "weekends"}
    assert sum(finding.outcome == "drift" for finding in quiet) <= 1
    loud = [detector.check(day(rng, date, shift=1.0)) for date in dates]
    assert sum("x0" in finding.drifted for finding in loud) >= 18
    assert all("usual up to" in finding.feature("x0").tests[0].message for finding in loud)


def test_without_earlier_windows_the_same_days_alarm_and_the_finding_says_why(eight_weeks: pa.Table) -> None:
    rng = np.random.default_rng(2)
    blind = DriftDetector(eight_weeks.drop_columns(["at"]))
    finding = blind.check(day(rng, MONDAY + 61 * DAY).drop_columns(["at"]))
    assert finding.outcome == "drift"
    assert not finding.calibrated
    assert "uncalibrated: the reference came without earlier windows" in finding.reason
    assert Finding.from_dict(finding.to_dict()) == finding


def test_fewer_than_fifteen_windows_calibrate_nothing(eight_weeks: pa.Table) -> None:
    first = eight_weeks.slice(0, 14 * 400)
    finding = DriftDetector(first, time="at", window=DAY).check(
        day(np.random.default_rng(3), MONDAY + 14 * DAY)
    )
    assert not finding.calibrated
    assert "14 windows of this length, 15 are needed" in finding.uncalibrated


def test_a_small_window_is_held_against_windows_thinned_to_its_size(eight_weeks: pa.Table) -> None:
    rng = np.random.default_rng(4)
    detector = DriftDetector(eight_weeks, time="at", window=DAY, min_rows=50, fdr=0.05)
    few = [detector.check(day(rng, MONDAY + DAY * place, rows=60)) for place in range(56, 84)]
    assert sum(finding.outcome == "drift" for finding in few) <= 2


def test_the_finest_class_with_enough_windows_is_taken() -> None:
    hour = timedelta(hours=1)
    hours = [MONDAY + hour * place for place in range(24 * 7 * 3)]
    name, places = season_of(MONDAY + timedelta(hours=9), hour, hours) or ("", [])
    assert (name, len(places)) == ("weekdays from 09:00 UTC", 15)
    name, places = season_of(MONDAY + timedelta(days=5, hours=9), hour, hours) or ("", [])
    assert (name, len(places)) == ("from 09:00 UTC", 21)
    name, places = season_of(MONDAY, DAY, [MONDAY + DAY * place for place in range(15)]) or ("", [])
    assert (name, len(places)) == ("all times", 15)
    assert season_of(MONDAY, DAY, hours[:14]) is None


def test_a_baseline_survives_storage_and_its_windows_add_up(eight_weeks: pa.Table) -> None:
    reference = reference_of(eight_weeks.drop_columns(["at"]))
    baseline = cut_baseline(reference, [(eight_weeks, "at")], DAY)
    assert len(baseline) == 56
    again = Baseline.from_bytes(baseline.to_bytes())
    assert again.to_bytes() == baseline.to_bytes()
    assert (again.starts, again.rows, again.width) == (baseline.starts, baseline.rows, baseline.width)
    for column, history in zip(reference.columns, again.columns, strict=True):
        assert history.merged(column).rows == column.rows


def test_thinning_takes_rows_and_adds_none() -> None:
    history = ColumnHistory(np.array([[50, 30, 0], [2, 3, 1]]), np.array([20, 0]))
    thin = history.thinned(10)
    assert (thin.rows + thin.nulls).tolist() == [10, 6]
    assert (thin.counts <= history.counts).all()
    assert thin.counts.tolist() == history.thinned(10).counts.tolist()


def test_the_budget_is_what_windows_may_spend() -> None:
    month = timedelta(days=30)
    for text in ("1/month", "1/week", "3/day", "1/year"):
        rate = parse_rate(text)
        for window in (timedelta(minutes=5), timedelta(hours=1), DAY, 7 * DAY):
            limits = limits_for(rate, window)
            # Every page takes that many drifted windows, and one is called so by chance with fdr at most.
            false_pages = limits.fdr * (month / window) / limits.page_at
            assert false_pages <= rate.count * (month / rate.per) * (1 + 1e-9)
            assert limits.page_at in (1, 2)


@pytest.mark.parametrize("windows", [16, 60])
def test_the_chance_of_an_effect_is_what_it_says(windows: int) -> None:
    rng = np.random.default_rng(5)
    runs = 1500
    effects = 0.05 * np.exp(0.5 * rng.normal(size=(runs, windows + 1)))
    small = [fit_usual(row[:-1].tolist()).p_value(float(row[-1])) <= 0.05 for row in effects]
    assert 0.03 < np.mean(small) < 0.08


def test_columns_that_part_company_are_found_although_each_stays_the_same() -> None:
    rng = np.random.default_rng(6)

    def pair(rows: int, correlation: float) -> pa.Table:
        first, noise = rng.normal(size=(2, rows))
        return pa.table({"a": first, "b": correlation * first + np.sqrt(1 - correlation**2) * noise})

    detector = DriftDetector(pair(4000, 0.9))
    same = [detector.check(pair(500, 0.9)).outcome for _ in range(15)]
    assert same.count("drift") <= 1
    finding = detector.check(pair(500, 0.0))
    assert (finding.outcome, finding.drifted, finding.joint_drift) == ("drift", (), True)
    assert "all columns together" in finding.reason
