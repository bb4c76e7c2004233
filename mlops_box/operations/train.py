"""Train: contract, snapshot, split, fit, evaluate, explain, register, promote."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_box.box import Box
from mlops_box.canonical import digest_of, sha256_hex
from mlops_box.errors import BusyError, GateError, TrainingError, UsageError
from mlops_box.models.values import GateResult, ModelVersion, VersionDraft
from mlops_box.monitoring.decisions import Decision
from mlops_box.operations.approval import lacks_approval
from mlops_box.operations.check import admit, register
from mlops_box.operations.features.prepare import Prepared, prepared, prepared_from
from mlops_box.operations.locks import held
from mlops_box.operations.rollout import kept_out, let_in
from mlops_box.operations.steps import RecordedSteps, Steps, recorded_run
from mlops_box.operations.train_epochs import RecordedEpochs
from mlops_box.operations.train_files import Found, stored_comparison, version_files
from mlops_box.operations.training_window import TrainingWindow, choose_rows
from mlops_box.progress import Progress, SilentProgress
from mlops_box.project import LoadedProject
from mlops_box.runs import Run

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_box.data.splits import SplitIndices
    from mlops_box.data.values import Snapshot
    from mlops_box.evaluation.compare import Comparison
    from mlops_box.evaluation.evaluate import Answers
    from mlops_box.training.trainer import Trained


@dataclass(frozen=True)
class TrainOutcome:
    """A registered version. ``promoted``: it is the champion now. ``champion``: what it was compared with."""

    run_id: str
    version: ModelVersion
    promoted: bool
    gates: tuple[GateResult, ...]
    champion: Comparison | None = None
    notes: tuple[str, ...] = field(default_factory=tuple)

    def to_dict(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "version": self.version.ref,
            "model": self.version.model,
            "number": self.version.number,
            "state": self.version.state,
            "promoted": self.promoted,
            "snapshot_id": self.version.snapshot_id,
            "metrics": self.version.metrics,
            "champion": asdict(self.champion) if self.champion else None,
            "gates": [asdict(gate) for gate in self.gates],
            "notes": list(self.notes),
        }


def train(
    box: Box,
    project: LoadedProject,
    *,
    steps: Steps | None = None,
    progress: Progress | None = None,
    trigger: str = "manual",
    idempotency_key: str | None = None,
    flow_run_id: str | None = None,
    snapshot_id: str | None = None,
) -> TrainOutcome:
    """Train a project's model and register the result; an accepted version becomes champion at once.

    Args:
        box: Where everything is kept.
        project: What to train.
        steps: How steps are run; in this process when ``None``.
        progress: Told of each step.
        trigger: Who asked.
        idempotency_key: At most one training under a key comes to an end; asked again, its outcome is returned.
            One that was killed or cancelled starts over under the same key.
        flow_run_id: The orchestrator's name for it.
        snapshot_id: Train on this snapshot (or an unambiguous beginning of its id); ``None`` reads the source anew.

    Raises:
        ProjectError: A gate names a metric or a column that does not exist, or a feature view is wrong; nothing was
            started.
        RefusedError: The data broke their contract.
        TrainingError: The training function and the data do not fit together.
        GateError: The version failed its gates; it is kept as rejected and the champion stays.
        BusyError: A training under this key is running, or failed for a reason that stays.
    """
    from mlops_box.evaluation.gates import check_gates

    check_gates(project.declaration.gates, project.declaration.model.task)
    snapshot = _named_snapshot(box, project, snapshot_id) if snapshot_id else None
    box.projects.check_unrivalled(project)
    progress = progress or SilentProgress()

    def waiting() -> None:
        progress.begin("waiting for another training")
        progress.end()

    # The checkpoints of one project belong to one training at a time.
    with held(box.home.run / f"train-{project.name}.lock", waiting=waiting):
        key, done = _attempt(box, idempotency_key)
        if done is not None:
            return _outcome_of(box, done)
        with (
            _ready(box, project, snapshot) as ready,
            recorded_run(
                box,
                "train",
                project.name,
                trigger=trigger,
                params={"snapshot_id": snapshot.id if snapshot else None, "project_digest": project.digest},
                idempotency_key=key,
                flow_run_id=flow_run_id,
                steps=steps,
                progress=progress,
            ) as (run, recorded),
        ):
            decision = box.decisions.by_key(idempotency_key) if idempotency_key else None
            return _Training(box, ready, run, recorded, decision).work(snapshot)


def _named_snapshot(box: Box, project: LoadedProject, snapshot_id: str) -> Snapshot:
    snapshot = box.snapshots.get(snapshot_id)
    if snapshot.project != project.name:
        raise UsageError(
            f"snapshot {snapshot.id[:12]} is of project {snapshot.project!r}, not of {project.name!r}",
            hint=f"mlops-box data list --project {project.name}",
        )
    return snapshot


def _ready(
    box: Box, project: LoadedProject, snapshot: Snapshot | None
) -> contextlib.AbstractContextManager[Prepared]:
    """The project's features: by what is declared now, or as the named snapshot was made."""
    if snapshot is None:
        return prepared(box, project)
    return contextlib.nullcontext(prepared_from(box, project, snapshot))


def _attempt(box: Box, key: str | None) -> tuple[str | None, Run | None]:
    """(the key to start under, the run that is done already under it)."""
    if key is None:
        return None, None
    attempt, number = key, 1
    while (run := box.runs.by_key(attempt)) is not None:
        if run.state == "running" and not run.owner.is_alive():
            box.runs.close_dead()
            run = box.runs.get(run.id)
        if run.state in ("completed", "rejected"):
            return attempt, run
        if run.state not in ("crashed", "cancelled"):
            raise BusyError(
                f"this was started already as run {run.id} ({run.state})",
                hint=f"mlops-box runs show {run.id}",
                details={"run_id": run.id, "state": run.state},
            )
        number += 1
        attempt = f"{key}~{number}"
    return attempt, None


def _outcome_of(box: Box, run: Run) -> TrainOutcome:
    version = box.models.for_run(run.id)
    if version is None:
        raise UsageError(
            f"run {run.id} ended as {run.state} without a version", hint="start it under another key"
        )
    promoted = bool((run.result or {}).get("promoted"))
    outcome = TrainOutcome(run.id, version, promoted, version.gates, stored_comparison(box, version))
    if version.state == "rejected":
        raise _rejected(outcome)
    return outcome


def _rejected(outcome: TrainOutcome) -> GateError:
    from mlops_box.evaluation.gates import failed

    ref = outcome.version.ref
    reasons = "; ".join(gate.message for gate in failed(outcome.gates))
    return GateError(
        f"{ref} was rejected and does not serve: {reasons}",
        hint=f"mlops-box why {ref}, or look at its card: mlops-box models card {ref} --out card.html",
        details=outcome.to_dict(),
    )


@dataclass(frozen=True)
class _Training:
    """One training under way."""

    box: Box
    ready: Prepared
    run: Run
    steps: RecordedSteps
    decision: Decision | None

    @property
    def project(self) -> LoadedProject:
        return self.ready.project

    def work(self, named: Snapshot | None) -> TrainOutcome:
        snapshot = self.steps.run("snapshot", self._snapshot, named, retries=2)
        window, indices = self.steps.run("split", self._split, snapshot)
        table = window.table
        # Not before: a server takes up a registered contract at once, and this one might fit no data.
        register(self.box, self.ready)
        scratch = self._scratch(snapshot)
        trained = self.steps.run("fit", self._fit, table, indices, snapshot, scratch)
        found = self.steps.run("evaluate", self._evaluate, window, trained, snapshot)
        found, files = self.steps.run("explain", self._explain, found)
        version = self.steps.run("register", self._register, found, files, retries=2)
        promoted = self.steps.run("promote", self._promote, version, found.evaluation.comparison, retries=2)
        shutil.rmtree(scratch, ignore_errors=True)
        return self._finish(version, promoted=promoted, found=found)

    def _snapshot(self, named: Snapshot | None) -> Snapshot:
        return named if named is not None else admit(self.box, self.ready, door="training").snapshot

    def _split(self, snapshot: Snapshot) -> tuple[TrainingWindow, SplitIndices]:
        from mlops_box.data.splits import split
        from mlops_box.evaluation.gates import check_slice_columns

        declared = self.project.declaration
        check_slice_columns(declared.gates, [column.name for column in snapshot.schema])
        window = choose_rows(self.box.snapshots.table(snapshot), declared, self.decision)
        return window, split(
            window.table, declared.model.split, time=declared.data.time, seed=declared.model.seed
        )

    def _fit(self, table: pa.Table, indices: SplitIndices, snapshot: Snapshot, scratch: Path) -> Trained:
        from mlops_box.training.trainer import train_model

        trained = train_model(
            table,
            indices,
            self.project.declaration.model,
            self.project.folder,
            types={column.name: column.type for column in snapshot.schema},
            progress=self.steps.progress,
            watch=RecordedEpochs(self.box, self.run.id),
            checkpoints=scratch,
            gpu_lock=self.box.home.run / "gpu.lock",
        )
        if len(trained.test) == 0:
            raise TrainingError(
                "no held-out row has a target: the version could not be judged",
                hint="more data, or a larger [model.split].test",
            )
        return trained

    def _evaluate(self, window: TrainingWindow, trained: Trained, snapshot: Snapshot) -> Found:
        import pyarrow as pa

        from mlops_box.evaluation import evaluate, gates
        from mlops_box.models.runtime import OnnxModel
        from mlops_box.training.parity import ROWS_OVER_ALLOWED

        declared, table = self.project.declaration, window.table
        model = OnnxModel(trained.packed_onnx, trained.signature, threads=2)
        answers = evaluate.answer(model, table.take(pa.array(trained.test)))
        by = evaluate.slice_columns(declared.gates, trained.signature)
        metrics, slices = evaluate.measure(answers, trained.signature, by=by)
        reliability, residuals = evaluate.calibrate(answers, trained.signature)
        comparison = self._compare(answers, trained)
        parity = gates.parity_gate(
            passed=trained.parity.passed,
            message=trained.parity.message(),
            value=max(part.rows_over / max(part.rows, 1) for part in trained.parity.variants),
            limit=ROWS_OVER_ALLOWED,
        )
        results = gates.judge(
            declared.gates, metrics=metrics, slices=slices, comparison=comparison, parity=parity
        )
        evaluation = evaluate.Evaluation(
            task=declared.model.task,
            rows_train=len(trained.train),
            rows_test=len(trained.test),
            metrics=metrics,
            slices=slices,
            comparison=comparison,
            reliability=reliability,
            residuals=residuals,
        )
        return Found(
            project=self.project,
            snapshot=snapshot,
            window=window.to_dict(declared.retrain.window),
            train=table.take(pa.array(trained.train)),
            trained=trained,
            answers=answers,
            evaluation=evaluation,
            gates=results,
            accepted=gates.accepted(results),
            run_id=self.run.id,
            trigger=self.run.trigger,
            features=self.ready.pins,
            at=self.box.clock.now(),
        )

    def _compare(self, answers: Answers, trained: Trained) -> Comparison | None:
        from mlops_box.evaluation.compare import compare_with
        from mlops_box.models.values import PACKED_FILE

        champion = self.box.models.champions().get(self.project.model_name)
        if champion is None:
            return None
        packed = self.box.models.file(champion, PACKED_FILE)
        return compare_with(champion, packed, answers.table, truth=answers.truth, candidate=trained.signature)

    def _explain(self, found: Found) -> tuple[Found, dict[str, bytes]]:
        from mlops_box.evaluation.evaluate import leading_metric
        from mlops_box.evaluation.importance import permutation_importance
        from mlops_box.models.runtime import OnnxModel

        declared, signature = self.project.declaration, found.trained.signature
        importance = permutation_importance(
            OnnxModel(found.trained.packed_onnx, signature, threads=2).predict,
            found.answers.tensors,
            truth=found.answers.truth,
            signature=signature,
            metric=leading_metric(declared.gates, declared.model.task),
            seed=declared.model.seed,
        )
        found = replace(found, evaluation=replace(found.evaluation, importance=importance))
        return found, version_files(found)

    def _register(self, found: Found, files: dict[str, bytes]) -> ModelVersion:
        digests = {name: self.box.objects.put_bytes(data, kind=name) for name, data in sorted(files.items())}
        draft = VersionDraft(
            model=self.project.model_name,
            project=self.project.name,
            task=found.evaluation.task,
            accepted=found.accepted,
            signature=found.trained.signature,
            files=digests,
            metrics=found.evaluation.metrics,
            gates=found.gates,
            snapshot_id=found.snapshot.id,
            run_id=self.run.id,
            lineage=found.lineage(),
        )
        with self.box.db.write() as tx:
            self.box.runs.assert_running(tx, self.run.id)
            return self.box.models.register(draft)

    def _promote(self, version: ModelVersion, comparison: Comparison | None) -> bool:
        """Only over the champion it was compared with: another may have come in the meantime."""
        if version.state == "rejected" or lacks_approval(self.box, version) or kept_out(self.box, version):
            return False
        with self.box.db.write() as tx:
            self.box.runs.assert_running(tx, self.run.id)
            now = self.box.models.champion_ref(version.model)
            if now != (comparison.champion if comparison else None):
                return now == version.ref
            return let_in(self.box, version, reason=f"passed its gates ({self.run.trigger})") is None

    def _finish(self, version: ModelVersion, *, promoted: bool, found: Found) -> TrainOutcome:
        notes = found.trained.notes
        if version.state == "accepted" and not promoted:
            notes = (*notes, self._why_not_promoted(version))
        if found.window["note"]:
            notes = (*notes, found.window["note"])
        notes = (*notes, *self._caveats(version, found.evaluation.comparison))
        outcome = TrainOutcome(
            self.run.id, version, promoted, version.gates, found.evaluation.comparison, notes
        )
        if version.state == "rejected":
            error = _rejected(outcome)
            self.box.runs.end(self.run.id, "rejected", result=outcome.to_dict(), error=error.message)
            raise error
        self.box.runs.end(self.run.id, "completed", result=outcome.to_dict())
        return outcome

    def _why_not_promoted(self, version: ModelVersion) -> str:
        if lacks_approval(self.box, version):
            return f'it waits for an approval: mlops-box models approve {version.ref} --reason "..."'
        if any(rollout.number == version.number for rollout in self.box.rollouts.open(version.model)):
            return "it takes over by a rollout, with live requests as evidence: mlops-box rollout status"
        blocked = kept_out(self.box, version)
        if blocked is not None:
            return blocked
        return "it was not promoted: the champion changed while it was being judged"

    def _caveats(self, version: ModelVersion, comparison: Comparison | None) -> tuple[str, ...]:
        """What makes the comparison with the champion less than fair."""
        if comparison is None or comparison.problem is not None:
            return ()
        champion = self.box.models.get(comparison.champion)
        held_out = [(one.lineage.get("split"), one.lineage.get("seed")) for one in (version, champion)]
        if held_out[0] == held_out[1]:
            return ()
        return (
            f"{champion.ref} held out other rows (another split or seed): it may have learnt rows it was compared on, "
            "which flatters it",
        )

    def _scratch(self, snapshot: Snapshot) -> Path:
        """Checkpoints lie under all that they depend on: a killed training goes on, a changed one starts anew."""
        model = self.project.declaration.model
        code = {path.name: sha256_hex(path.read_bytes()) for path in sorted(self.project.folder.glob("*.py"))}
        fingerprint = digest_of(
            {
                "model": model.model_dump(mode="json"),
                "snapshot": snapshot.id,
                "code": code,
                "window": self.project.declaration.retrain.window,
                "since": self.decision.facts.get("since") if self.decision else None,
            }
        )
        folder = self.box.home.scratch / fingerprint[:32]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder
