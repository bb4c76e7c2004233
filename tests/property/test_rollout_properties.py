"""Whatever happens to a rollout, in whatever order, crashed between any two statements and tried by several processes at once:
one accepted champion, a ``last_good`` that loads, at most one candidate on its way, no flapping, and a ledger that tells it all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mlops_box.box import Box
from mlops_box.clock import FixedClock, parse_time
from mlops_box.db.engine import Transaction
from mlops_box.errors import BusyError, NotFoundError, UsageError
from mlops_box.models.values import Feature, Signature, VersionDraft
from mlops_box.operations import rollout as operations
from mlops_box.operations.promote import roll_back
from mlops_box.serving.rollout.driver import look
from mlops_box.serving.rollout.evidence import Counts, EvidenceRow
from mlops_box.serving.rollout.plan import Plan
from mlops_box.serving.rollout.states import Rollout, Transition
from mlops_box.serving.rollout.yardstick import yardstick_for

SIGNATURE = Signature("binary", "y", (Feature("x", "numeric", "double"),), (False, True))
COOLDOWN = timedelta(hours=1)
PLAN = Plan(shadow=timedelta(minutes=5), canary=[10, 50], step=timedelta(minutes=5), cooldown=COOLDOWN)
FOLLOWS = {
    None: {"proposed"},
    "proposed": {"shadow", "champion", "rejected"},
    "shadow": {"canary", "champion", "rejected"},
    "canary": {"canary", "champion", "rolled_back"},
}


class Crash(BaseException):
    """The process is gone."""


@contextmanager
def crashing(at: int | None) -> Iterator[None]:
    """Ends the process at its ``at``-th statement of a write; ``None`` lets it live."""
    seen = 0
    with pytest.MonkeyPatch.context() as patch:
        for name in ("execute", "insert"):
            call = getattr(Transaction, name)

            def wrapped(
                self: Transaction, *arguments: object, _call: object = call, **options: object
            ) -> object:
                nonlocal seen
                seen += 1
                if seen == at:
                    raise Crash
                return _call(self, *arguments, **options)  # type: ignore[operator]

            patch.setattr(Transaction, name, wrapped)
        yield


def counts(requests: int, failed: int) -> Counts:
    found = Counts()
    for _ in range(requests - failed):
        found.answered(1, 0.002, [3], 20)
        found.compare(0.0)
    for _ in range(failed):
        found.failed_with("raised", 1)
    return found


CHAMPION, GOOD, BAD = counts(3000, 0), counts(700, 0), counts(100, 60)


class Rollouts(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
        self.box = self.opened()
        self.versions = 0
        self.pending: list[tuple[Rollout, Transition]] = []
        self.register()
        self.box.models.set_champion(self.box.models.get("m@1"), reason="first")
        for _ in range(2):
            self.register()

    def opened(self) -> Box:
        return Box.open(Path(self.folder.name), clock=self.clock, actor="tester")

    def teardown(self) -> None:
        self.box.close()
        self.folder.cleanup()

    def serving(self) -> int:
        return self.box.models.aliases("m")["champion"]

    def live(self) -> list[Rollout]:
        return [rollout for rollout in self.box.rollouts.open("m") if rollout.stage is not None]

    @rule()
    def register(self) -> None:
        self.versions += 1
        digest = self.box.objects.put_bytes(f"model {self.versions}".encode(), kind="model")
        files = {"model.onnx": digest}
        draft = VersionDraft("m", "m", "binary", True, SIGNATURE, files, {}, (), "s", f"run {self.versions}")
        self.box.models.register(draft)

    @rule(data=st.data(), at=st.one_of(st.none(), st.integers(1, 5)))
    def propose(self, data: st.DataObject, at: int | None) -> None:
        version = self.box.models.get(f"m@{data.draw(st.integers(1, self.versions))}")
        base = self.serving()
        if version.number != base:
            with self.survived(at):
                self.box.rollouts.propose(
                    version, base=base, plan=PLAN, yardstick=yardstick_for(SIGNATURE, []), reason="test"
                )

    @rule(minutes=st.sampled_from([1, 6, 6, 61, 1500]))
    def wait(self, minutes: int) -> None:
        self.clock.advance(timedelta(minutes=minutes))

    @precondition(lambda self: self.live())
    @rule(found=st.sampled_from([GOOD, GOOD, GOOD, GOOD, BAD]), process=st.sampled_from("ab"))
    def answer(self, found: Counts, process: str) -> None:
        self.put(found, process)

    def put(self, found: Counts, process: str) -> None:
        rollout = self.live()[0]
        assert rollout.stage is not None
        state, step = rollout.stage.state, rollout.stage.step
        rows = [EvidenceRow(state, step, "candidate", found), EvidenceRow(state, step, "champion", CHAMPION)]
        self.box.rollouts.put_evidence(rollout.id, process, rows)

    @precondition(lambda self: self.live())
    @rule(at=st.one_of(st.none(), st.none(), st.integers(1, 8)), process=st.sampled_from("ab"))
    def a_stage_goes_well(self, at: int | None, process: str) -> None:
        """Random steps alone would seldom come past the first stage."""
        self.put(GOOD, process)
        self.clock.advance(timedelta(minutes=6))
        self.advance(at)

    @rule(at=st.one_of(st.none(), st.none(), st.integers(1, 8)))
    def tick(self, at: int | None) -> None:
        self.advance(at)

    def advance(self, at: int | None) -> None:
        with self.survived(at):
            operations.advance(self.box)

    @precondition(lambda self: self.box.rollouts.open("m"))
    @rule()
    def another_process_decides_and_stops(self) -> None:
        for rollout in self.box.rollouts.open("m"):
            outcome = look(self.box.rollouts, self.clock, lambda _: None, rollout)
            if isinstance(outcome, Transition):
                self.pending.append((rollout, outcome))

    @precondition(lambda self: self.pending)
    @rule(data=st.data(), at=st.one_of(st.none(), st.integers(1, 8)))
    def it_wakes_up_and_acts(self, data: st.DataObject, at: int | None) -> None:
        rollout, transition = self.pending.pop(data.draw(st.integers(0, len(self.pending) - 1)))
        with self.survived(at):
            self.box.rollouts.move(rollout, transition)

    @precondition(lambda self: len(self.box.rollouts.list("m")) > 1)
    @rule(act=st.sampled_from([operations.pause, operations.resume, operations.abort]))
    def by_hand(self, act: object) -> None:
        try:
            act(self.box, "m", reason="test")  # type: ignore[operator]
        except (NotFoundError, BusyError):
            assert not self.box.rollouts.open("m")

    @precondition(lambda self: len(self.box.rollouts.list("m")) > 2)
    @rule(data=st.data())
    def promote_by_hand(self, data: st.DataObject) -> None:
        self.clock.advance(timedelta(milliseconds=1))
        number = data.draw(st.integers(1, self.versions))
        self.box.models.set_champion(self.box.models.get(f"m@{number}"), reason="by hand")

    @precondition(lambda self: len(self.box.rollouts.list("m")) > 2)
    @rule()
    def roll_back_by_hand(self) -> None:
        self.clock.advance(timedelta(milliseconds=1))
        try:
            roll_back(self.box, "m", reason="test")
        except NotFoundError:
            aliases = self.box.models.aliases("m")
            assert aliases.get("last_good") in (None, aliases["champion"])
        else:
            assert not self.live()

    @rule()
    def restart(self) -> None:
        self.box.close()
        self.box = self.opened()

    @contextmanager
    def survived(self, at: int | None) -> Iterator[None]:
        try:
            with crashing(at):
                yield
        except Crash:
            self.restart()
        except UsageError:
            pass

    @invariant()
    def one_champion_and_a_last_good_that_load(self) -> None:
        for number in self.box.models.aliases("m").values():
            version = self.box.models.get(f"m@{number}")
            assert version.state == "accepted"
            assert self.box.models.file(version, "model.onnx") == f"model {number}".encode()
        rows = self.box.db.read("SELECT * FROM aliases WHERE alias = 'champion'")
        assert len(rows) == 1

    @invariant()
    def at_most_one_is_on_its_way_and_one_waits(self) -> None:
        assert len(self.live()) <= 1
        assert len(self.box.rollouts.open("m")) - len(self.live()) <= 1

    @invariant()
    def the_ledger_is_whole_and_tells_what_the_tables_say(self) -> None:
        assert self.box.ledger.first_broken() is None
        champion: int | None = None
        told: dict[str, str] = {}
        for entry in self.box.ledger.walk():
            kind, _, act = entry.act.partition(".")
            if entry.act in ("model.promote", "model.roll_back"):
                champion = int(entry.subject.partition("@")[2])
            elif kind == "rollout" and act not in ("paused", "resumed"):
                key = entry.subject.partition(":")[2]
                assert act in FOLLOWS[told.get(key)], (told.get(key), act)
                if act == "champion":
                    assert champion == int(str(entry.facts["version"]).partition("@")[2]), (
                        "the alias moved with it"
                    )
                told[key] = act
        assert champion == self.serving()
        assert told == {rollout.id: rollout.state for rollout in self.box.rollouts.list("m", limit=1000)}

    @invariant()
    def a_failure_is_followed_by_the_cooldown(self) -> None:
        rows = self.box.db.read(
            "SELECT started_at, ended_at, state FROM rollouts WHERE started_at IS NOT NULL"
        )
        failures = [
            parse_time(row["ended_at"]) for row in rows if row["state"] in ("rejected", "rolled_back")
        ]
        starts = [parse_time(row["started_at"]) for row in rows]
        # A pause moves a start forward, never back.
        for start in starts:
            assert not any(failure < start < failure + COOLDOWN for failure in failures)


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
