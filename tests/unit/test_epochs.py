"""What is left of a training in epochs: told from its own epochs, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlops_box.box import Box
from mlops_box.clock import FixedClock
from mlops_box.epochs import NEWEST, EpochPlan

START = datetime(2026, 3, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(START)


@pytest.fixture
def box(tmp_path: Path, clock: FixedClock) -> Iterator[Box]:
    with Box.open(tmp_path / "box", clock=clock) as opened:
        yield opened


@pytest.fixture
def run_id(box: Box) -> str:
    return box.runs.begin("train", "digits", trigger="manual").id


def train(box: Box, clock: FixedClock, run_id: str, numbers: range, seconds: float) -> None:
    for number in numbers:
        clock.advance(seconds * SECOND)
        box.runs.point(run_id, number, {"train_loss": 1 / number, "validation_loss": 2 / number})


def test_what_is_left_is_told_from_the_times_of_the_epochs_that_are_done(
    box: Box, clock: FixedClock, run_id: str
) -> None:
    box.epochs.begin(run_id, EpochPlan(40, may_stop=True))
    found = box.epochs.get(run_id)
    assert found is not None
    before = found.progress(clock.now())
    assert (before.done, before.total, before.seconds_each, before.left_s) == (0, 40, None, None)

    train(box, clock, run_id, range(1, 11), 3.0)
    found = box.epochs.get(run_id)
    assert found is not None
    now = found.progress(clock.now())
    assert (now.done, now.total, now.may_stop, now.seconds_each, now.left_s) == (10, 40, True, 3.0, 90.0)
    assert found.progress(clock.now() + 2 * SECOND).left_s == 88.0


def test_an_epoch_that_takes_longer_than_the_others_holds_the_estimate_up(
    box: Box, clock: FixedClock, run_id: str
) -> None:
    box.epochs.begin(run_id, EpochPlan(5, may_stop=False))
    train(box, clock, run_id, range(1, 4), 10.0)
    found = box.epochs.get(run_id)
    assert found is not None
    assert found.progress(clock.now() + 500 * SECOND).left_s == 10.0


def test_a_pause_does_not_spoil_the_estimate(box: Box, clock: FixedClock, run_id: str) -> None:
    box.epochs.begin(run_id, EpochPlan(100, may_stop=False))
    train(box, clock, run_id, range(1, 6), 2.0)
    train(box, clock, run_id, range(6, 7), 8 * 3600.0)
    train(box, clock, run_id, range(7, 10), 2.0)
    found = box.epochs.get(run_id)
    assert found is not None
    assert found.progress(clock.now()).seconds_each == 2.0


def test_the_newest_epochs_count(box: Box, clock: FixedClock, run_id: str) -> None:
    box.epochs.begin(run_id, EpochPlan(200, may_stop=False))
    train(box, clock, run_id, range(1, 100), 1.0)
    train(box, clock, run_id, range(100, 100 + NEWEST), 7.0)
    found = box.epochs.get(run_id)
    assert found is not None
    assert len(found.marks) == NEWEST + 1
    assert found.progress(clock.now()).seconds_each == 7.0


def test_a_resumed_training_counts_only_the_epochs_of_its_own_process(
    box: Box, clock: FixedClock, run_id: str
) -> None:
    for number in range(1, 21):
        box.runs.point(run_id, number, {"train_loss": 1.0}, replayed=True)
    box.epochs.begin(run_id, EpochPlan(30, may_stop=False, resumed_after=20))
    found = box.epochs.get(run_id)
    assert found is not None
    before = found.progress(clock.now())
    assert (before.done, before.resumed_after, before.seconds_each, before.left_s) == (20, 20, None, None)

    train(box, clock, run_id, range(21, 23), 5.0)
    found = box.epochs.get(run_id)
    assert found is not None
    after = found.progress(clock.now())
    assert (after.done, after.seconds_each, after.left_s) == (22, 5.0, 40.0)


def test_a_training_that_stopped_early_has_nothing_left(box: Box, clock: FixedClock, run_id: str) -> None:
    box.epochs.begin(run_id, EpochPlan(40, may_stop=True))
    train(box, clock, run_id, range(1, 8), 1.0)
    box.epochs.end(run_id)
    found = box.epochs.get(run_id)
    assert found is not None
    assert found.ended
    assert found.progress(clock.now()).left_s == 0.0


def test_a_run_without_epochs_has_no_progress(box: Box, run_id: str) -> None:
    box.runs.point(run_id, 1, {"loss": 1.0})
    assert box.epochs.get(run_id) is None
