"""Ground truth is counted for the version and the stage that gave the answer, whoever was told of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlops_box.box import Box
from mlops_box.clock import FixedClock
from mlops_box.models.values import Feature, Signature, VersionDraft
from mlops_box.serving.prediction_log import PredictionLog
from mlops_box.serving.records import PredictionIds, PredictionRecord, Truth, TruthRecord
from mlops_box.serving.rollout.evidence import Counts, Variant
from mlops_box.serving.rollout.plan import LiveState, Plan
from mlops_box.serving.rollout.states import Transition
from mlops_box.serving.rollout.truths import TruthFollower
from mlops_box.serving.rollout.yardstick import yardstick_for
from mlops_box.serving.segment_lines import record_line, truth_line

SIGNATURE = Signature("binary", "y", (Feature("x", "numeric", "double"),), (False, True))
PLAN = Plan(shadow=timedelta(minutes=5), canary=[10], step=timedelta(minutes=5))


class Scene:
    """A rollout in its shadow, and two server processes that log."""

    def __init__(self, folder: Path):
        self.clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
        self.box = Box.open(folder, clock=self.clock, actor="tester")
        for number in (1, 2):
            digest = self.box.objects.put_bytes(b"model %d" % number, kind="model")
            draft = VersionDraft(
                "m", "m", "binary", True, SIGNATURE, {"model": digest}, {}, (), "s", f"run {number}"
            )
            version = self.box.models.register(draft)
            if number == 1:
                self.box.models.set_champion(version, reason="first")
        self.rollout = self.box.rollouts.propose(
            version, base=1, plan=PLAN, yardstick=yardstick_for(SIGNATURE, []), reason="test"
        )
        self.go("shadow")
        self.logs = [PredictionLog(self.box.home.predictions, self.box.db, self.clock) for _ in range(2)]

    def go(self, state: LiveState) -> None:
        self.clock.advance(timedelta(seconds=1))
        moved = self.box.rollouts.move(self.rollout, Transition(state, 0, "test"))
        assert moved is not None
        self.rollout = moved
        self.clock.advance(timedelta(seconds=1))

    def follower(self, process: str = "a") -> TruthFollower:
        box = self.box
        return TruthFollower(box.home.predictions, box.db, box.rollouts, self.clock, process=process)

    def answer(
        self, variant: str, answers: list[bool], *, log: int = 0, copy_of: str | None = None
    ) -> list[str]:
        """Log one request's answers; the ids."""
        ids: list[str] = []

        def build(take: object) -> bytes:
            given: PredictionIds = take(len(answers))  # type: ignore[operator]
            ids.extend(given)
            return record_line(
                PredictionRecord(
                    model="m", number=1 if variant == "champion" else 2, variant=variant, at_us=self.now_us(), ids=given,
                    rows=[{"x": 1.0}] * len(answers), predictions=[0.9 if answer else 0.1 for answer in answers],
                    labels=["true" if answer else "false" for answer in answers],
                    probabilities=[[0.5, 0.5]] * len(answers), latency_ms=1.0, copy_of=copy_of,
                )
            )  # fmt: skip

        self.logs[log].write(build)
        return ids

    def tell(self, truths: dict[str, bool], *, log: int = 0) -> None:
        found = [Truth(id_, str(value).lower(), float(value)) for id_, value in truths.items()]
        self.logs[log].write(lambda _: truth_line(TruthRecord("m", self.now_us(), found)))

    def now_us(self) -> int:
        return int(self.clock.now().timestamp() * 1e6)

    def counted(self, state: LiveState, variant: Variant) -> tuple[int, float]:
        stage = self.box.rollouts.evidence(self.rollout.id).get((state, 0))
        counts: Counts = getattr(stage, variant) if stage else Counts()
        return counts.truths, counts.loss


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    for log in made.logs:
        log.close()
    made.box.close()


def test_a_truth_told_to_another_process_judges_who_answered(scene: Scene) -> None:
    follower = scene.follower()
    scene.go("canary")
    theirs = scene.answer("champion", [True, True, False], log=0)
    mine = scene.answer("canary", [False, True], log=1)
    follower.follow()
    scene.tell(dict.fromkeys(theirs, True) | dict.fromkeys(mine, True), log=1)
    follower.follow()
    assert scene.counted("canary", "champion") == (3, 1.0)
    assert scene.counted("canary", "candidate") == (2, 1.0)
    follower.follow()
    assert scene.counted("canary", "champion") == (3, 1.0)


def test_in_the_shadow_one_truth_judges_both(scene: Scene) -> None:
    follower = scene.follower()
    ids = scene.answer("champion", [True, False])
    scene.answer("shadow", [False, False], copy_of=ids[0])
    scene.tell({ids[0]: True, ids[1]: True})
    follower.follow()
    assert scene.counted("shadow", "champion") == (2, 1.0)
    assert scene.counted("shadow", "candidate") == (2, 2.0)


def test_a_truth_that_comes_a_stage_later_counts_where_the_answer_was_given(scene: Scene) -> None:
    follower = scene.follower()
    ids = scene.answer("champion", [True])
    scene.go("canary")
    scene.tell({ids[0]: False})
    follower.follow()
    assert scene.counted("shadow", "champion") == (1, 1.0)
    assert scene.counted("canary", "champion") == (0, 0.0)


def test_a_corrected_truth_replaces_the_first(scene: Scene) -> None:
    follower = scene.follower()
    ids = scene.answer("champion", [True])
    scene.tell({ids[0]: False})
    follower.follow()
    scene.tell({ids[0]: True})
    follower.follow()
    assert scene.counted("shadow", "champion") == (1, 0.0)


def test_who_takes_over_counts_what_comes_from_then_on_and_nothing_twice(scene: Scene) -> None:
    first = scene.follower()
    ids = scene.answer("champion", [True, True])
    scene.tell({ids[0]: True})
    first.follow()
    scene.clock.advance(timedelta(seconds=1))
    second = scene.follower("b")
    second.follow()
    scene.tell({ids[1]: False})
    second.follow()
    assert scene.counted("shadow", "champion") == (2, 1.0)


def test_half_a_line_is_read_when_it_is_whole(scene: Scene) -> None:
    follower = scene.follower()
    ids = scene.answer("champion", [True])
    line = truth_line(TruthRecord("m", scene.now_us(), [Truth(ids[0], "false", 0.0)]))
    path = scene.box.home.predictions / f"{scene.logs[0].segment_id}.log"
    with path.open("ab") as file:
        file.write(line[:20])
        file.flush()
        follower.follow()
        assert scene.counted("shadow", "champion") == (0, 0.0)
        file.write(line[20:])
    follower.follow()
    assert scene.counted("shadow", "champion") == (1, 1.0)


def test_other_models_and_versions_asked_for_by_number_do_not_count(scene: Scene) -> None:
    follower = scene.follower()
    ids = scene.answer("direct", [True])
    scene.tell({ids[0]: False})
    follower.follow()
    assert scene.counted("shadow", "candidate") == (0, 0.0)
