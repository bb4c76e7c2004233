"""Whatever the clock did: an estimate is never negative, and more epochs never take less time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mlops_box.epochs import EpochPlan, Epochs, seconds_an_epoch, seconds_left

START = datetime(2026, 3, 1, tzinfo=UTC)
SPANS = st.lists(st.floats(-1e5, 1e5, allow_nan=False), max_size=30)


def marks(spans: list[float]) -> tuple[datetime, ...]:
    found = [START]
    for span in spans:
        found.append(found[-1] + timedelta(seconds=span))
    return tuple(found)


@given(SPANS, st.integers(0, 10_000), st.floats(0, 1e6))
def test_an_estimate_is_never_negative_and_grows_with_the_epochs_left(
    spans: list[float], left: int, since: float
) -> None:
    each = seconds_an_epoch(marks(spans))
    assert each is None or each >= 0
    one, more = seconds_left(each, left, since), seconds_left(each, left + 1, since)
    if each is None:
        assert more is None
    else:
        assert one is not None
        assert more is not None
        assert 0 <= one <= more


@given(SPANS, st.integers(1, 500), st.integers(0, 600), st.floats(-1e5, 1e5), st.floats(0, 1e5))
def test_what_is_left_only_shrinks_while_nothing_happens(
    spans: list[float], total: int, done: int, at: float, later: float
) -> None:
    held = Epochs(EpochPlan(total, may_stop=True), done, marks(spans), ended=False)
    now = held.marks[-1] + timedelta(seconds=at)
    first, then = held.progress(now).left_s, held.progress(now + timedelta(seconds=later)).left_s
    if first is None:
        assert then is None
    else:
        assert then is not None
        assert 0 <= then <= first
