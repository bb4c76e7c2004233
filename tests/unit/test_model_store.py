"""The model store: numbers, aliases, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mlops_box.box import Box
from mlops_box.errors import GateError, IntegrityError, NotFoundError, UsageError
from mlops_box.models.values import Feature, GateResult, Signature, VersionDraft

SIGNATURE = Signature(
    "regression", "y", (Feature("x", "numeric", "double"), Feature("c", "categorical", "varchar", ("a", "b")))
)


def draft(
    box: Box, *, run_id: str | None = None, accepted: bool = True, model: str = "bikes"
) -> VersionDraft:
    digest = box.objects.put_bytes(b"a model", kind="model")
    gate = GateResult("mae", accepted, "mae is 80, above 70" if not accepted else "mae is 60", 60.0, 70.0)
    return VersionDraft(
        model=model,
        project=model,
        task="regression",
        accepted=accepted,
        signature=SIGNATURE,
        files={"model.onnx": digest},
        metrics={"mae": 60.0},
        gates=(gate,),
        snapshot_id="s" * 64,
        run_id=run_id,
        lineage={"seed": 0},
    )


def test_a_version_reads_back_exactly_as_registered(box: Box) -> None:
    made = box.models.register(draft(box, run_id="r1"))
    assert made.ref == "bikes@1"
    again = box.models.get("bikes@1")
    assert again == made
    assert again.signature == SIGNATURE
    assert box.models.file(made, "model.onnx") == b"a model"
    assert box.models.path(made, "model.onnx").read_bytes() == b"a model"
    with pytest.raises(NotFoundError, match=r"no file 'card\.html'"):
        box.models.file(made, "card.html")


def test_a_run_registers_one_version_however_often_it_tries(box: Box) -> None:
    first = box.models.register(draft(box, run_id="r1"))
    assert box.models.register(draft(box, run_id="r1")) == first
    assert box.models.register(draft(box, run_id="r2")).number == 2
    assert box.models.for_run("r2") == box.models.get("bikes@2")
    assert box.models.for_run("r3") is None
    assert len(box.models.list("bikes")) == 2


def test_models_count_for_themselves(box: Box) -> None:
    assert box.models.register(draft(box)).number == 1
    assert box.models.register(draft(box, model="mill")).number == 1
    assert box.models.models() == ["bikes", "mill"]


def test_promotion_moves_champion_and_last_good_together(box: Box) -> None:
    one, two = box.models.register(draft(box)), box.models.register(draft(box))
    box.models.set_champion(one, reason="first")
    assert box.models.aliases("bikes") == {"champion": 1}
    box.models.set_champion(two, reason="better")
    assert box.models.aliases("bikes") == {"champion": 2, "last_good": 1}
    assert box.models.get("bikes") == two
    assert box.models.champions() == {"bikes": two}
    entries = box.ledger.entries(subject="version:bikes@2")
    assert [entry.act for entry in entries] == ["model.promote", "model.register"]
    assert entries[0].facts["before"] == 1


def test_promoting_the_champion_again_changes_nothing(box: Box) -> None:
    one, two = box.models.register(draft(box)), box.models.register(draft(box))
    box.models.set_champion(one, reason="first")
    box.models.set_champion(two, reason="better")
    head = box.ledger.head()
    box.models.set_champion(two, reason="again")
    assert box.models.aliases("bikes") == {"champion": 2, "last_good": 1}
    assert box.ledger.head() == head


def test_roll_back_brings_the_previous_champion_and_never_the_bad_one(box: Box) -> None:
    one, two = box.models.register(draft(box)), box.models.register(draft(box))
    box.models.set_champion(one, reason="first")
    box.models.set_champion(two, reason="better")
    assert box.models.roll_back("bikes", reason="wrong answers") == one
    assert box.models.get("bikes@champion") == one
    with pytest.raises(NotFoundError, match="no earlier champion"):
        box.models.roll_back("bikes", reason="again")
    assert box.models.get("bikes@champion") == one


def test_roll_back_without_a_predecessor_is_refused(box: Box) -> None:
    with pytest.raises(NotFoundError, match="there is no model 'bikes'"):
        box.models.roll_back("bikes", reason="x")
    box.models.set_champion(box.models.register(draft(box)), reason="first")
    with pytest.raises(NotFoundError, match="no earlier champion"):
        box.models.roll_back("bikes", reason="x")


def test_a_rejected_version_cannot_become_champion(box: Box) -> None:
    good = box.models.register(draft(box))
    box.models.set_champion(good, reason="first")
    bad = box.models.register(draft(box, accepted=False))
    # The state is read from the store, not from what the caller claims.
    with pytest.raises(GateError, match=r"bikes@2 was rejected.*mae is 80"):
        box.models.set_champion(replace(bad, state="accepted"), reason="hoping")
    assert box.models.get("bikes") == good


def test_files_that_are_not_stored_are_not_registered(box: Box) -> None:
    lost = replace(draft(box), files={"model.onnx": "0" * 64})
    with pytest.raises(IntegrityError, match=r"model\.onnx"):
        box.models.register(lost)
    assert box.models.list() == []
    whole = draft(box)
    box.objects.path(whole.files["model.onnx"]).unlink()
    with pytest.raises(IntegrityError, match=r"model\.onnx"):
        box.models.register(whole)
    assert box.models.models() == []


def test_an_altered_manifest_is_noticed(box: Box) -> None:
    box.models.register(draft(box))
    with box.db.write() as tx:
        tx.execute("UPDATE versions SET manifest = replace(manifest, '60.0', '10.0')")
    with pytest.raises(IntegrityError, match="manifest of bikes@1 was altered"):
        box.models.get("bikes@1")


def test_what_does_not_exist_is_said_with_the_nearest_name(box: Box) -> None:
    box.models.register(draft(box))
    with pytest.raises(NotFoundError) as caught:
        box.models.get("bike@1")
    assert caught.value.hint == "did you mean 'bikes'?"
    with pytest.raises(NotFoundError, match="no version bikes@9"):
        box.models.get("bikes@9")
    with pytest.raises(NotFoundError, match="no champion yet"):
        box.models.get("bikes")
    with pytest.raises(UsageError):
        box.models.get("../etc")


REGISTER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_model_store import draft
from mlops_box.box import Box
with Box.open(Path(sys.argv[1])) as box:
    for turn in range(5):
        box.models.register(draft(box, run_id=f"{sys.argv[3]}-{turn}"))
"""


def test_two_processes_registering_at_once_get_distinct_numbers(tmp_path: Path) -> None:
    home = tmp_path / "home"
    Box.open(home).close()
    folder = str(Path(__file__).parent)
    processes = [
        subprocess.Popen([sys.executable, "-c", REGISTER, str(home), folder, name]) for name in ("a", "b")
    ]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    with Box.open(home) as box:
        versions = box.models.list("bikes")
        assert sorted(version.number for version in versions) == list(range(1, 11))
        assert len({version.run_id for version in versions}) == 10
        assert box.ledger.first_broken() is None


KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_model_store import draft
from mlops_box.box import Box
box = Box.open(Path(sys.argv[1]))
made = draft(box, run_id="r1")
box.ledger.append = lambda *arguments: os.kill(os.getpid(), 9)
box.models.register(made)
"""


def test_a_crash_between_the_files_and_the_row_leaves_no_version(tmp_path: Path) -> None:
    home = tmp_path / "home"
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(home), str(Path(__file__).parent)], timeout=60, check=False
    )
    assert process.returncode == -9
    with Box.open(home) as box:
        assert box.models.list() == []
        assert box.ledger.first_broken() is None
        assert box.objects.damaged() == []
        assert box.models.register(draft(box, run_id="r1")).number == 1
