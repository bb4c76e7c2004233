"""Check a project's data against its contract and mint a snapshot."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mlops_box.box import Box
from mlops_box.clock import isoformat
from mlops_box.data.values import Door, Snapshot, Verdict
from mlops_box.operations.features.prepare import Prepared, prepared
from mlops_box.operations.steps import Steps, recorded_run
from mlops_box.progress import Progress
from mlops_box.project import LoadedProject

if TYPE_CHECKING:
    from mlops_box.data.gate import Admission


@dataclass(frozen=True)
class CheckOutcome:
    """A snapshot and how it came about. ``new`` is false where the same data had made it before."""

    run_id: str
    snapshot: Snapshot
    verdict: Verdict
    new: bool

    def to_dict(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "new": self.new,
            "snapshot": snapshot_dict(self.snapshot),
            "verdict": asdict(self.verdict),
        }


def check(
    box: Box,
    project: LoadedProject,
    *,
    steps: Steps | None = None,
    progress: Progress | None = None,
    trigger: str = "manual",
) -> CheckOutcome:
    """Check the project's data; an accepted batch becomes a snapshot, recorded as a run.

    Raises:
        ProjectError: A feature view is wrong; nothing was started.
        SourceError: The data cannot be read, or lacks a column.
        RefusedError: The batch broke the contract.
        TrainingError: The declared model could not be trained on it.
    """
    box.projects.check_unrivalled(project)
    with (
        prepared(box, project) as ready,
        recorded_run(box, "check", project.name, trigger=trigger, steps=steps, progress=progress) as (
            run,
            recorded,
        ),
    ):
        admission = recorded.run("check data", admit, box, ready)
        # Not before: a server takes up a registered contract at once, and this one might fit no data.
        register(box, ready)
        outcome = CheckOutcome(run.id, admission.snapshot, admission.verdict, admission.new)
        box.runs.end(
            run.id,
            "completed",
            result={"snapshot_id": outcome.snapshot.id, "new": outcome.new, "rows": outcome.snapshot.rows},
        )
    return outcome


def admit(box: Box, ready: Prepared, *, door: Door = "ingest") -> Admission:
    """Send the project's data as they are now, with their features, through the gate.

    Raises:
        SourceError: The data cannot be read, or lacks a column.
        RefusedError: The batch broke the contract.
        TrainingError: The declared model could not be trained on it.
    """
    from mlops_box.data.gate import Gate

    gate = Gate(
        db=box.db, objects=box.objects, ledger=box.ledger, clock=box.clock, snapshots=box.snapshots,
        scratch=box.home.scratch,
    )  # fmt: skip
    return gate.admit(ready.project, door=door, features=ready.attachments(box), lineage=ready.lineage())


def take_snapshot(box: Box, project: LoadedProject) -> Snapshot:
    """The snapshot of the project's data as it is now, for an operation that has its own run.

    Raises:
        ProjectError: A feature view is wrong.
        SourceError: The data cannot be read, or lacks a column.
        RefusedError: The batch broke the contract.
        TrainingError: The declared model could not be trained on it.
    """
    with prepared(box, project) as ready:
        return admit(box, ready, door="training").snapshot


def register(box: Box, ready: Prepared) -> None:
    """Remember what a project declares, its feature views with it.

    Raises:
        UsageError: A model or a view of this name belongs to another project.
    """
    with box.db.write():
        ready.register(box)
        box.projects.register(ready.project)


def snapshot_dict(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot as JSON tells it."""
    return {
        "id": snapshot.id,
        "project": snapshot.project,
        "rows": snapshot.rows,
        "schema": [asdict(column) for column in snapshot.schema],
        "time_column": snapshot.time_column,
        "time_min": snapshot.time_min.isoformat() if snapshot.time_min else None,
        "time_max": snapshot.time_max.isoformat() if snapshot.time_max else None,
        "verdict": asdict(snapshot.verdict),
        "lineage": snapshot.lineage,
        "quarantine_digest": snapshot.quarantine_digest,
        "rejects_digest": snapshot.rejects_digest,
        "created_at": isoformat(snapshot.created_at),
    }
