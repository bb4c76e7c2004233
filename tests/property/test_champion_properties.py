"""Whatever is registered, promoted and rolled back, in whatever order: one accepted champion that can be loaded."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mlops_box.box import Box
from mlops_box.errors import GateError, NotFoundError
from mlops_box.models.values import Feature, Signature, VersionDraft


class Champions(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.box = Box.open(Path(self.folder.name), actor="tester")
        self.accepted: list[bool] = []
        self.champion: int | None = None

    def teardown(self) -> None:
        self.box.close()
        self.folder.cleanup()

    @rule(accepted=st.booleans())
    def register(self, accepted: bool) -> None:
        number = len(self.accepted) + 1
        digest = self.box.objects.put_bytes(f"model {number}".encode(), kind="model")
        made = self.box.models.register(
            VersionDraft(
                model="m",
                project="m",
                task="regression",
                accepted=accepted,
                signature=Signature("regression", "y", (Feature("x", "numeric", "double"),)),
                files={"model.onnx": digest},
                metrics={},
                gates=(),
                snapshot_id="s",
                run_id=f"r{number}",
            )
        )
        assert made.number == number
        self.accepted.append(accepted)

    @precondition(lambda self: self.accepted)
    @rule(data=st.data())
    def promote(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, len(self.accepted)))
        version = self.box.models.get(f"m@{number}")
        try:
            self.box.models.set_champion(version, reason="test")
        except GateError:
            assert not self.accepted[number - 1]
        else:
            assert self.accepted[number - 1]
            self.champion = number

    @rule()
    def roll_back(self) -> None:
        aliases = self.box.models.aliases("m")
        try:
            version = self.box.models.roll_back("m", reason="test")
        except NotFoundError:
            assert aliases.get("last_good") in (None, aliases.get("champion"))
        else:
            assert version.number == aliases["last_good"] != aliases["champion"]
            self.champion = version.number

    @invariant()
    def one_accepted_champion_that_loads(self) -> None:
        aliases = self.box.models.aliases("m")
        assert aliases.get("champion") == self.champion
        for number in aliases.values():
            version = self.box.models.get(f"m@{number}")
            assert version.state == "accepted"
            assert self.box.models.file(version, "model.onnx") == f"model {number}".encode()
        assert len(self.box.models.champions()) == (self.champion is not None)

    @invariant()
    def the_ledger_is_whole(self) -> None:
        assert self.box.ledger.first_broken() is None


TestChampions = Champions.TestCase
TestChampions.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
