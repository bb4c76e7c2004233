"""Far fewer or far more rows than usual are noticed, as that; what is usual is learnt from earlier windows of the season."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from mlops_box.monitoring.budget import limits_for
from mlops_box.monitoring.rate import RateFinding, judge_rate
from mlops_box.units import parse_rate

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BUDGET = parse_rate("1/month")
Traffic = list[tuple[datetime, int]]


def traffic(
    windows: int, width: timedelta = DAY, *, wobble: float = 0.1, level: float = 400, seed: int = 0
) -> Traffic:
    """Less at weekends, hardly anything at night, and a chance of its own in each window."""
    rng = np.random.default_rng(seed)
    starts = [MONDAY + place * width for place in range(windows)]
    usual = [
        level * (0.4 if start.weekday() >= 5 else 1) * (0.05 if width < DAY and start.hour < 6 else 1)
        for start in starts
    ]
    return [
        (start, int(rng.poisson(rows * np.exp(rng.normal(0, wobble)))))
        for start, rows in zip(starts, usual, strict=True)
    ]


def judged(known: Traffic, *then: int, width: timedelta = DAY) -> RateFinding:
    """The finding once windows with these rows have followed."""
    start = known[-1][0] + width
    following = [(start + place * width, rows) for place, rows in enumerate(then)]
    return judge_rate([*known, *following], width, limits_for(BUDGET, width))


def test_as_many_rows_as_ever_are_fine_and_the_finding_says_what_it_was_held_against() -> None:
    found = judged(traffic(56), 390)
    assert (found.outcome, found.season, found.uncalibrated) == ("fine", "weekdays", "")
    assert found.low is not None
    assert found.high is not None
    assert found.low < 390 < found.high
    assert "390 rows came" in found.reason


@pytest.mark.parametrize(("rows", "outcome"), [(0, "few"), (90, "few"), (1600, "many")])
def test_far_fewer_and_far_more_are_noticed_and_the_second_of_three_pages(rows: int, outcome: str) -> None:
    known = traffic(56)
    first, second = judged(known, rows), judged(known, rows, rows)
    assert (first.outcome, first.pages) == (outcome, False)
    assert (second.outcome, second.pages, second.unusual) == (outcome, True, 2)
    assert first.p is not None
    assert first.limit is not None
    assert first.p < first.limit
    assert first.reason.startswith(f"too {outcome} rows: {rows or 'no'} rows came")


def test_a_quiet_weekend_is_no_lack_of_rows() -> None:
    known = traffic(7 * 16 + 5)
    assert known[-1][0].weekday() == 4
    assert judged(known, 165).outcome == "fine"
    assert judged(known[:-1], 165).outcome == "few", "on a Friday it is"


def test_an_hour_of_the_night_is_held_against_nights() -> None:
    known = traffic(24 * 28, HOUR)
    assert known[-1][0].hour == 23
    assert judged(known, 20, width=HOUR).outcome == "fine"
    assert judged(known, 400, width=HOUR).outcome == "many"


def test_less_than_half_as_much_again_is_nobodys_business() -> None:
    known = [(start, 1000) for start, _ in traffic(40)]
    assert judged(known, 550).outcome == judged(known, 1900).outcome == "fine"


@pytest.mark.parametrize("windows", [1, 5, 14])
def test_with_fewer_than_fifteen_windows_it_cannot_tell_and_says_uncalibrated(windows: int) -> None:
    found = judged(traffic(windows), 0)
    assert found.outcome == "cannot_tell"
    assert found.uncalibrated == f"{windows} earlier windows of traffic, 15 are needed"
    assert "no rows" in found.reason or "0 rows came" in found.reason


def test_no_window_at_all_is_not_fine() -> None:
    assert judge_rate([], DAY, limits_for(BUDGET, DAY)).outcome == "cannot_tell"


def test_silence_that_lasts_is_never_called_fine() -> None:
    found = judged(traffic(40), *[0] * 60)
    assert found.outcome != "fine"


def test_an_outage_in_the_past_does_not_make_the_next_one_usual() -> None:
    known = traffic(56)
    known[30:32] = [(start, 0) for start, _ in known[30:32]]
    assert judged(known, 0).outcome == "few"
    assert judged(known, 90).outcome == "few"


@pytest.mark.parametrize("wobble", [0.05, 0.3])
def test_traffic_that_merely_wobbles_keeps_the_budget(wobble: float) -> None:
    """Half a year of days of each of four worlds: one false page a month is allowed, hardly any is sent."""
    limits = limits_for(BUDGET, DAY)
    pages = 0
    for seed in range(4):
        days = traffic(240, wobble=wobble, seed=seed)
        pages += sum(judge_rate(days[:place], DAY, limits).pages for place in range(60, 240))
    assert pages <= 4 * 6


def test_rows_of_a_handful_scatter_by_themselves() -> None:
    assert judged(traffic(56, level=1.5), 0).outcome != "few"


def test_a_finding_survives_being_stored() -> None:
    found = judged(traffic(56), 0, 0)
    assert RateFinding(**found.to_dict()) == found
