"""Cancel a run, decline a suggestion, delete a version: what ends, and what is never lost by it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest
from click.testing import CliRunner

from mlops_box.box import Box
from mlops_box.cli.main import command
from mlops_box.errors import BusyError, NotFoundError, UsageError
from mlops_box.models.values import Feature, GateResult, Signature, VersionDraft
from mlops_box.monitoring.policy import DecisionDraft, Trigger
from mlops_box.operations.cancel import cancel
from mlops_box.operations.decide import decline
from mlops_box.operations.delete_version import delete_version
from mlops_box.operations.verify import verify
from mlops_box.runs import Owner, boot_id

WORKER = """
import sys, time
from mlops_box.box import Box
from mlops_box.operations.steps import recorded_run

with Box.open(__import__("pathlib").Path(sys.argv[1])) as box:
    try:
        with recorded_run(box, "train", "bikes", trigger="manual") as (run, steps):
            print(run.id, flush=True)
            if sys.argv[2] == "deaf":
                # Deep in a fit: it hears nothing, and would publish what it has made.
                sys.stdin.readline()
                box.runs.end(run.id, "completed", result={"version": "bikes@9"})
            # Not one long sleep: a signal just before the call would be noticed behind it only.
            for _ in range(6000):
                time.sleep(0.1)
    except BaseException as error:
        print(type(error).__name__, error, flush=True)
"""


def worker(box: Box, kind: str) -> subprocess.Popen[str]:
    # A shell may have left interrupts ignored for us; a person's terminal does not.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n" + WORKER
    if kind == "deaf":
        code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + WORKER
    return subprocess.Popen(
        [sys.executable, "-c", code, str(box.home.root), kind],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["listening", "deaf"])
def test_a_cancelled_run_ends_and_publishes_nothing(box: Box, kind: str) -> None:
    process = worker(box, kind)
    try:
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        outcome = cancel(box, run_id[:-2], reason=" wrong   data ")
        assert (outcome.told, outcome.run.state) == (True, "cancelled")
        assert outcome.run.error == "cancelled by tester: wrong data"
        said, _ = process.communicate("go on\n", timeout=120)
        assert said.startswith("KeyboardInterrupt" if kind == "listening" else "BusyError"), said
    finally:
        process.kill()
        process.wait()
    assert box.runs.get(run_id).state == "cancelled"
    assert box.runs.get(run_id).result is None
    assert [entry.act for entry in box.ledger.walk() if entry.subject == f"run:{run_id}"] == [
        "train.begin", "train.cancelled",
    ]  # fmt: skip


def test_a_run_whose_process_is_gone_is_cancelled_all_the_same(box: Box) -> None:
    run = box.runs.begin("train", "bikes", trigger="manual")
    with box.db.write() as tx:
        tx.execute("UPDATE runs SET pid_started = pid_started - 1 WHERE id = ?", (run.id,))
    assert cancel(box, run.id, reason="gone").told is False
    assert box.runs.get(run.id).state == "cancelled"


def test_what_has_ended_and_what_runs_right_here_are_not_cancelled(box: Box) -> None:
    run = box.runs.begin("train", "bikes", trigger="manual")
    with pytest.raises(UsageError, match="by this very process"):
        cancel(box, run.id, reason="why not")
    with pytest.raises(UsageError, match="a reason is needed"):
        cancel(box, run.id, reason=" ")
    box.runs.end(run.id, "completed")
    with pytest.raises(UsageError, match="is completed"):
        cancel(box, run.id, reason="too late")
    assert Owner(1, -1.0, boot_id()).is_alive() is False


def suggestion(evidence: str) -> DecisionDraft:
    trigger = Trigger("drift", "bikes", "bikes", evidence, "drift in temp")
    return DecisionDraft(trigger, "suggest", "suggested", "drift in temp", {"otherwise": ""})


def test_a_declined_suggestion_does_not_come_back_on_the_same_evidence(box: Box) -> None:
    made = box.decisions.record(suggestion("1:a"))
    declined = decline(box, made.id, reason="it is summer")
    assert (declined.state, declined.reason) == ("withheld", "declined by tester: it is summer")
    assert decline(box, made.id, reason="again") == declined
    assert box.decisions.record(suggestion("1:a")) == declined
    assert box.decisions.record(suggestion("1:b")).state == "suggested"
    with pytest.raises(UsageError, match="only a suggestion can be accepted"):
        box.decisions.accept(made.id)


def register(box: Box, *, own: str, accepted: bool = True) -> str:
    shared = box.objects.put_bytes(b"a reference that versions share", kind="reference")
    model = box.objects.put_bytes(own.encode(), kind="model")
    version = box.models.register(VersionDraft(
        model="bikes", project="bikes", task="regression", accepted=accepted,
        signature=Signature("regression", "y", (Feature("x", "numeric", "double"),)),
        files={"model.onnx": model, "reference.json": shared}, metrics={"mae": 60.0},
        gates=(GateResult("mae", accepted, "mae", 60.0, 70.0),), snapshot_id="s" * 64, run_id=None, lineage={},
    ))  # fmt: skip
    return version.ref


def test_a_deleted_version_takes_only_its_own_files_and_stays_in_the_ledger(box: Box) -> None:
    first, second = register(box, own="one", accepted=False), register(box, own="two")
    version = box.models.get(first)
    gone = delete_version(box, first, reason="it failed its gates")
    assert (len(gone.digests), gone.size_bytes) == (1, 3)
    assert not box.objects.exists(version.files["model.onnx"])
    assert box.objects.exists(version.files["reference.json"])
    with pytest.raises(NotFoundError, match="tester deleted it on"):
        box.models.get(first)
    entry = list(box.ledger.walk())[-1]
    assert (entry.act, entry.facts["digest"]) == ("model.delete", version.digest)
    assert verify(box).problems == ()
    # Its number is not given again, and its bytes may come back.
    assert register(box, own="one") == "bikes@3"
    assert box.models.file(box.models.get("bikes@3"), "model.onnx") == b"one"
    assert box.models.get(second).number == 2


def test_what_has_a_history_or_is_the_newest_is_never_deleted(box: Box) -> None:
    served, approved, watched, newest = (register(box, own=str(place)) for place in range(4))
    box.models.set_champion(box.models.get(served), reason="first")
    box.approvals.approve(
        replace(box.models.get(approved), created_by="ana"), reason="looked", lifetime=timedelta(days=7)
    )
    with box.db.write() as tx:
        tx.insert("alerts", {
            "id": "a", "dedupe": "d", "project": "bikes", "model": "bikes", "number": 3, "kind": "drift",
            "severity": "info", "state": "open", "title": "t", "finding": "{}", "count": 1, "opened_at": "2026",
            "updated_at": "2026",
        })  # fmt: skip
    head = box.ledger.head()
    for ref, why in (
        (served, r"model\.promote"),
        (approved, r"approval\.approved"),
        (watched, "alerts refer to it"),
        (newest, "newest version"),
    ):
        with pytest.raises(UsageError, match=why):
            delete_version(box, ref, reason="tidy")
    run = box.runs.begin("train", "bikes", trigger="manual")
    with pytest.raises(BusyError, match=run.id):
        delete_version(box, newest, reason="tidy")
    assert [version.ref for version in box.models.list("bikes")] == [newest, watched, approved, served]
    assert box.ledger.head()[0] == head[0] + 1


def test_the_command_deletes_only_what_is_named_twice(box: Box) -> None:
    ref, _ = register(box, own="one"), register(box, own="two")
    home = ["--home", str(box.home.root)]
    wrong = CliRunner().invoke(
        command, ["models", "delete", ref, "--reason", "r", "--confirm", "bikes", *home]
    )
    assert isinstance(wrong.exception, UsageError)
    right = CliRunner().invoke(command, ["models", "delete", ref, "--reason", "r", "--confirm", ref, *home])
    assert right.exit_code == 0, right.output
    assert "bikes@1 is gone, and 3 B that only it had" in right.output
