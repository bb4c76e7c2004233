"""Champion and candidate side by side in one process: no caller ever meets the candidate's failures."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rollout_kit import Kind, candidate, live_row
from serving_kit import RATE, RATE_PROJECT, register_projects

from mlops_box.box import Box
from mlops_box.models.golden import Golden
from mlops_box.models.values import GOLDEN_FILE, PACKED_FILE, VersionDraft
from mlops_box.serving.metric_table import SHADOW_DROPPED
from mlops_box.serving.metrics import Metrics
from mlops_box.serving.prediction_log import PredictionLog
from mlops_box.serving.predictor import Predictor
from mlops_box.serving.records import PredictionRecord
from mlops_box.serving.rollout.candidate import Candidate
from mlops_box.serving.rollout.challenger import Challenger
from mlops_box.serving.rollout.contest import Answered, Contest
from mlops_box.serving.rollout.recorder import Recorder
from mlops_box.serving.rollout.yardstick import yardstick_for
from mlops_box.serving.segment_lines import SegmentReport, read_segment
from mlops_box.serving.slot import Slot, load_slot

YARDSTICK = yardstick_for(RATE, [float(a) for a in range(50, 100)])


class Ring:
    """A box with two versions, and contests between them."""

    def __init__(self, folder: Path):
        self.box = Box.open(folder, actor="tester")
        register_projects(self.box, rates=RATE_PROJECT)
        self.log = PredictionLog(self.box.home.predictions, self.box.db, self.box.clock)
        self.metrics = Metrics()
        self.predictor = Predictor(self.log, self.box.clock, self.metrics)
        self.alarms = 0
        self.candidates: list[Candidate] = []

    def slot(self, kind: Kind) -> Slot:
        rows = tuple({"a": float(a), "b": 0.0} for a in range(1, 40))
        golden = Golden(rows, prediction=tuple(row["a"] for row in rows))
        files = {
            PACKED_FILE: self.box.objects.put_bytes(candidate(kind), kind="model"),
            GOLDEN_FILE: self.box.objects.put_bytes(golden.to_json().encode(), kind="golden"),
        }
        draft = VersionDraft("rates", "rates", "regression", True, RATE, files, {}, (), "s", None)
        return load_slot(
            self.box.models, self.box.models.register(draft), self.box.projects.for_model("rates")
        )

    def contest(
        self, kind: Kind, *, percent: int = 50, key: str | None = None, max_queued: int = 256
    ) -> Contest:
        state = "canary" if percent else "shadow"
        challenger = Challenger("r1", "rates", 2, 1, state, 0, percent, key, 0.2, YARDSTICK)  # type: ignore[arg-type]
        self.candidates.append(Candidate(self.slot(kind), max_queued=max_queued))
        return Contest(
            challenger,
            self.candidates[-1],
            self.box.clock,
            recorder=Recorder("r1", challenger.state, 0, YARDSTICK),
            alarm=self.alarmed,
        )

    def alarmed(self) -> None:
        self.alarms += 1

    def close(self) -> None:
        for one in self.candidates:
            one.close()
        self.log.close()
        self.box.close()

    async def ask(
        self, contest: Contest, champion: Slot, row: dict[str, Any] | None = None, *, number: int = 0
    ) -> tuple[dict[str, Any], Answered]:
        row = row or live_row(random.Random(number))
        started_s = self.box.clock.monotonic_s()
        request_id = b"request-%d" % number
        found = await contest.answer(
            self.predictor, champion, [row], started_s=started_s, request_id=request_id
        )
        return row, found

    def records(self) -> list[PredictionRecord]:
        path = self.box.home.predictions / f"{self.log.segment_id}.log"
        return [item for item in read_segment(path, SegmentReport()) if isinstance(item, PredictionRecord)]


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Ring]:
    made = Ring(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("kind", "failure"),
    [("raises", "raised"), ("nan", "not_finite"), ("wrong_shape", "wrong_shape"), ("hangs", "timed_out")],
)
async def test_a_broken_candidate_is_out_within_twenty_requests_and_nobody_notices(
    ring: Ring, kind: Kind, failure: str
) -> None:
    champion, contest = ring.slot("good"), ring.contest(kind)
    for number in range(60):
        row, found = await ring.ask(contest, champion, number=number)
        assert found.reply.answers.predictions == pytest.approx([row["a"]])
        assert found.slot is champion
    _, counted = contest.recorder.take()
    assert counted.counts.failures == {failure: counted.counts.requests}
    assert counted.counts.requests <= 20
    assert "failures in a row" in counted.counts.tripped
    assert ring.alarms == 1
    assert {record.variant for record in ring.records()} == {"champion"}, (
        "what nobody was answered is not in the log"
    )


async def test_a_good_candidate_answers_its_share_under_its_own_name(ring: Ring) -> None:
    champion, contest = ring.slot("good"), ring.contest("good")
    by = {"champion": 0, "canary": 0}
    for number in range(200):
        row, found = await ring.ask(contest, champion, number=number)
        assert found.reply.answers.predictions == pytest.approx([row["a"]])
        assert (found.slot is champion) == (found.variant == "champion")
        by[found.variant] += 1
    assert 70 <= by["canary"] <= 130
    theirs, mine = contest.recorder.take()
    assert (theirs.counts.requests, mine.counts.requests) == (by["champion"], by["canary"])
    assert sum(mine.counts.predictions) == pytest.approx(by["canary"])
    assert contest.recorder.take() == []
    logged = [record.variant for record in ring.records()]
    assert (logged.count("canary"), logged.count("champion")) == (by["canary"], by["champion"])


async def test_many_at_once_share_the_candidates_calls_and_all_get_their_own_answer(ring: Ring) -> None:
    champion, contest = ring.slot("good"), ring.contest("good", percent=99)
    answers = await asyncio.gather(*(ring.ask(contest, champion, number=number) for number in range(100)))
    for row, found in answers:
        assert found.reply.answers.predictions == pytest.approx([row["a"]])


async def test_what_the_champion_cannot_answer_either_is_not_the_candidates_fault(ring: Ring) -> None:
    champion, contest = ring.slot("nan"), ring.contest("nan")
    for number in range(60):
        _, found = await ring.ask(contest, champion, number=number)
        assert found.reply.answers.outcome == "not_finite"
    theirs, mine = contest.recorder.take()
    assert mine.counts.failures["not_finite"] > 20
    assert theirs.counts.failures == {"not_finite": theirs.counts.requests}
    assert ring.alarms == 0


async def test_the_same_key_always_meets_the_same_version(ring: Ring) -> None:
    champion, contest = ring.slot("good"), ring.contest("good", key="a")
    for a in range(51, 70):
        variants = set()
        for number in range(4):
            _, found = await ring.ask(contest, champion, {"a": float(a), "b": float(number)}, number=number)
            variants.add(found.variant)
        assert len(variants) == 1


async def test_a_shadow_sees_copies_and_answers_nobody(ring: Ring) -> None:
    champion, contest = ring.slot("good"), ring.contest("constant", percent=0)
    for number in range(80):
        row, found = await ring.ask(contest, champion, number=number)
        assert (found.variant, found.reply.answers.predictions) == ("champion", pytest.approx([row["a"]]))
    for _ in range(500):
        await asyncio.sleep(0.01)
        if len(ring.records()) == 160:
            break
    theirs, mine = contest.recorder.take()
    assert (theirs.counts.requests, mine.counts.requests, mine.counts.compared) == (80, 80, 80)
    assert 40 < mine.counts.disagreement < 80
    logged = [record.variant for record in ring.records()]
    assert (logged.count("shadow"), logged.count("champion")) == (80, 80)


async def test_a_shadow_that_is_too_slow_drops_copies_and_counts_them(ring: Ring) -> None:
    champion, contest = ring.slot("good"), ring.contest("hangs", percent=0, max_queued=4)
    for number in range(40):
        await ring.ask(contest, champion, number=number)
        await asyncio.sleep(0)
    _, mine = contest.recorder.take()
    assert 28 <= mine.counts.dropped <= 36
    assert ring.metrics.snapshot().values[SHADOW_DROPPED.name][("rates",)] == mine.counts.dropped


async def test_a_candidate_that_cannot_be_loaded_is_out_before_its_first_request(ring: Ring) -> None:
    champion = ring.slot("good")
    challenger = Challenger("r1", "rates", 2, 1, "canary", 0, 50, None, 0.2, YARDSTICK)
    recorder = Recorder("r1", "canary", 0, YARDSTICK)
    contest = Contest(
        challenger, None, ring.box.clock, recorder=recorder, alarm=ring.alarmed, problem="its file is damaged"
    )
    for number in range(10):
        _, found = await ring.ask(contest, champion, number=number)
        assert found.variant == "champion"
    _, mine = recorder.take()
    assert mine.counts.tripped == "it cannot be loaded: its file is damaged"


async def test_a_shadow_that_hangs_is_taken_out_and_ends(ring: Ring) -> None:
    champion, contest = ring.slot("good"), ring.contest("hangs", percent=0)
    for number in range(5):
        await ring.ask(contest, champion, number=number)
    for _ in range(500):
        await asyncio.sleep(0.01)
        if ring.alarms:
            break
    _, mine = contest.recorder.take()
    assert mine.counts.failures == {"timed_out": mine.counts.requests}
    ring.candidates[0].close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("candidate")]
