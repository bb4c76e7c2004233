"""A version that needs a person's yes does not serve without it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from monitor_case import MODEL, Case

from mlops_box.box import Box
from mlops_box.errors import GateError, UsageError
from mlops_box.operations.approve import approve
from mlops_box.operations.promote import promote, roll_back
from mlops_box.operations.train import TrainOutcome, train


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    made = Case(tmp_path)
    made.train()
    path = made.folder / "mlops.toml"
    path.write_text(path.read_text().replace("[gates]", '[gates]\napproval = "required"'))
    made.box.projects.register(made.project)
    yield made
    made.box.close()


def trained(case: Case, trigger: str = "manual") -> TrainOutcome:
    return train(case.box, case.project, trigger=trigger)


def colleague(case: Case) -> Box:
    return Box.open(case.box.home, clock=case.clock, actor="colleague")


def test_training_holds_and_says_what_it_waits_for(case: Case) -> None:
    outcome = trained(case)
    assert not outcome.promoted
    assert f"mlops-box models approve {outcome.version.ref}" in outcome.notes[0]
    assert case.box.models.get(MODEL).number == 1
    with pytest.raises(GateError, match="needs an approval"):
        promote(case.box, outcome.version.ref, reason="I want it")
    assert case.box.models.get(MODEL).number == 1


def test_the_yes_of_somebody_else_lets_it_serve(case: Case) -> None:
    ref = trained(case).version.ref
    with colleague(case) as other:
        outcome = approve(other, ref, reason="metrics and slices looked at")
        again = approve(other, ref, reason="metrics and slices looked at")
    assert outcome.promoted
    assert again.approval.id == outcome.approval.id
    assert case.box.models.get(MODEL).ref == ref
    entry = case.box.ledger.entries(subject=f"version:{ref}")[1]
    assert (entry.act, entry.actor) == ("approval.approved", "colleague")


def test_the_author_cannot_but_may_break_the_glass_on_record(case: Case) -> None:
    ref = trained(case).version.ref
    with pytest.raises(UsageError, match="somebody else approves"):
        approve(case.box, ref, reason="it is mine")
    assert case.box.approvals.list(case.box.models.get(ref)) == []
    outcome = approve(case.box, ref, reason="the pump fails tonight", break_glass=True)
    assert outcome.approval.kind == "break_glass"
    assert outcome.promoted
    assert "approval.break_glass" in [
        entry.act for entry in case.box.ledger.entries(subject=f"version:{ref}")
    ]


def test_what_the_schedule_trained_any_person_may_approve(case: Case) -> None:
    ref = trained(case, trigger="schedule").version.ref
    assert approve(case.box, ref, reason="looked at").approval.kind == "approved"


def test_an_approval_expires(case: Case) -> None:
    first = trained(case).version.ref
    with colleague(case) as other:
        assert approve(other, first, reason="fine").promoted
    second = trained(case).version.ref
    with colleague(case) as other:
        assert approve(other, second, reason="fine").promoted
    case.pass_time(days=8)
    roll_back(case.box, MODEL, reason="back")
    with pytest.raises(GateError, match="has expired"):
        promote(case.box, second, reason="again")
    with colleague(case) as other:
        approve(other, second, reason="still fine")
    assert promote(case.box, second, reason="again").version.ref == second


def test_an_approval_of_other_bytes_counts_for_nothing(case: Case) -> None:
    version = trained(case).version
    with colleague(case) as other:
        other.approvals.approve(version, reason="fine", lifetime=timedelta(days=7))
    with case.box.db.write() as tx:
        tx.execute("UPDATE approvals SET digest = ?", ("0" * 64,))
    with pytest.raises(GateError, match="needs an approval"):
        promote(case.box, version.ref, reason="mine")


def test_a_rejected_version_is_helped_by_no_approval(case: Case) -> None:
    path = case.folder / "mlops.toml"
    path.write_text(path.read_text().replace("mae = { max = 5.0 }", "mae = { max = 0.0001 }"))
    with pytest.raises(GateError):
        trained(case)
    with colleague(case) as other, pytest.raises(GateError, match="no approval helps"):
        approve(other, f"{MODEL}@2", reason="please")


def test_a_yes_that_comes_after_another_champion_does_not_push_it_out(case: Case) -> None:
    older, newer = trained(case).version.ref, trained(case).version.ref
    with colleague(case) as other:
        assert approve(other, newer, reason="fine").promoted
        late = approve(other, older, reason="fine too")
    assert not late.promoted
    assert "compared with another champion" in str(late.note)
    assert case.box.models.get(MODEL).ref == newer
