"""The gate: the only place where snapshots are minted.

A batch is read, taken apart and judged in a scratch folder; only an accepted one is published, files first, then its
row and the ledger entry in one transaction. A refused one leaves a row in ``refusals``, an entry in the ledger, and
nothing else.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mlops_box import __version__
from mlops_box.canonical import canonical_json
from mlops_box.clock import Clock, isoformat
from mlops_box.data.batch import Summary, batch_checks, previous_nulls, summarise
from mlops_box.data.contract import compile_contract
from mlops_box.data.engine import engine
from mlops_box.data.sift import Sifted, sift
from mlops_box.data.source import Located, locate, open_source, readable_files
from mlops_box.data.store import SnapshotStore
from mlops_box.data.values import Door, RuleHit, Snapshot, Verdict
from mlops_box.db import Database, Row
from mlops_box.errors import ProjectError, RefusedError, StorageError, TrainingError
from mlops_box.features.attach import Attachments, attach
from mlops_box.ids import new_id
from mlops_box.ledger import Ledger
from mlops_box.objects import ObjectStore
from mlops_box.project import LoadedProject


@dataclass(frozen=True)
class Admission:
    """What came of an accepted batch. ``verdict`` is this batch's own; ``new`` is false where the same data had made
    the snapshot before."""

    snapshot: Snapshot
    verdict: Verdict
    new: bool


class Gate:
    """Checks a project's data and mints snapshots."""

    def __init__(
        self,
        *,
        db: Database,
        objects: ObjectStore,
        ledger: Ledger,
        clock: Clock,
        snapshots: SnapshotStore,
        scratch: Path,
    ):
        self._db = db
        self._objects = objects
        self._ledger = ledger
        self._clock = clock
        self._snapshots = snapshots
        self._scratch = scratch

    def admit(
        self,
        project: LoadedProject,
        *,
        door: Door = "ingest",
        features: Attachments | None = None,
        lineage: dict[str, Any] | None = None,
    ) -> Admission:
        """Read the project's source, check it whole, and publish a snapshot. The same data gives the same snapshot.

        Args:
            project: What to read, and its contract.
            door: Who asks.
            features: What is joined to the rows before they are checked.
            lineage: What the snapshot tells beside its source and contract.

        Raises:
            SourceError: The data cannot be read, or lacks a column.
            ProjectError: The contract contradicts itself.
            RefusedError: The batch broke the contract.
            TrainingError: The good rows could not train the declared model: no target, or one class only.
        """
        data, model = project.declaration.data, project.declaration.model
        if data.contract.freshness is not None and data.time is None:
            raise ProjectError(
                "data.contract.freshness needs a time column", hint='add time = "..." under [data]'
            )
        located = locate(data.source, folder=project.folder)
        with self._workplace() as folder:
            sifted = self._sift(project, located, folder, features)
            located.check_unchanged()
            previous = self._snapshots.latest(project.name)
            summary, before = self._summarise(project, sifted, previous, folder)
            checks = batch_checks(sifted, summary, data.contract, before=before, now=self._clock.now())
            verdict = Verdict(
                accepted=all(check.ok for check in checks),
                rows_in=sifted.rows_in,
                rows_good=sifted.rows_good,
                rows_quarantined=sifted.rows_quarantined,
                rows_rejected=sifted.rows_rejected,
                row_rules=sifted.row_rules,
                batch_checks=checks,
            )
            told = _lineage(project, located) | (lineage or {})
            if not verdict.accepted:
                raise self._refused(project, verdict, told, door)
            _check_target(summary, model.target, task=model.task)
            return self._publish(project, sifted, summary, verdict, told)

    def _sift(
        self, project: LoadedProject, located: Located, folder: Path, features: Attachments | None
    ) -> Sifted:
        data, model = project.declaration.data, project.declaration.model
        declared = {column: rule.type for column, rule in data.contract.columns.items()}
        required = {model.target: "the target"} | dict.fromkeys(model.features, "a feature")
        files = (*readable_files(located, folder), *(features.files if features else ()))
        with engine(scratch=folder, files=files) as connection:
            relation = open_source(
                connection, located, declared=declared, query=data.query, table=data.table, scratch=folder
            )
            if features is not None:
                relation = attach(connection, relation, features)
            compiled = compile_contract(
                relation, data.contract, key=data.key, time=data.time, required=required
            )
            return sift(
                connection,
                relation,
                compiled,
                folder=folder,
                key=data.key,
                metadata={"mlops-box.project": project.name},
            )

    def _summarise(
        self, project: LoadedProject, sifted: Sifted, previous: Snapshot | None, folder: Path
    ) -> tuple[Summary, dict[str, float] | None]:
        data = project.declaration.data
        file = self._snapshots.path(previous) if previous else None
        columns = [column.name for column in previous.schema] if previous else []
        summary = summarise(
            sifted.good,
            [column.name for column in sifted.columns],
            contract=data.contract,
            time=data.time,
            target=project.declaration.model.target,
            previous=file,
            previous_columns=columns,
            scratch=folder,
        )
        if file is None:
            return summary, None
        return summary, previous_nulls(file, columns, contract=data.contract, scratch=folder)

    def _publish(
        self,
        project: LoadedProject,
        sifted: Sifted,
        summary: Summary,
        verdict: Verdict,
        lineage: dict[str, Any],
    ) -> Admission:
        snapshot_id = self._objects.put_file(sifted.good, kind="snapshot")
        if self._db.one("SELECT 1 FROM snapshots WHERE id = ?", (snapshot_id,)):
            return Admission(self._snapshots.get(snapshot_id), verdict, new=False)
        quarantine = (
            self._objects.put_file(sifted.quarantine, kind="quarantine") if sifted.quarantine else None
        )
        rejects = self._objects.put_file(sifted.rejects, kind="rejects") if sifted.rejects else None
        row: Row = {
            "id": snapshot_id, "project": project.name, "rows": sifted.rows_good, "rows_in": sifted.rows_in,
            "rows_quarantined": sifted.rows_quarantined, "rows_rejected": sifted.rows_rejected,
            "schema": json.dumps([asdict(column) for column in sifted.columns], ensure_ascii=False),
            "time_column": project.declaration.data.time,
            "time_min": _text(summary.time_min), "time_max": _text(summary.time_max),
            "verdict": canonical_json(asdict(verdict)), "lineage": canonical_json(lineage),
            "quarantine_digest": quarantine, "rejects_digest": rejects, "created_at": isoformat(self._clock.now()),
        }  # fmt: skip
        with self._db.write() as tx:
            # Another process may have published the same data meanwhile.
            new = tx.one("SELECT 1 FROM snapshots WHERE id = ?", (snapshot_id,)) is None
            if new:
                tx.insert("snapshots", row)
                self._ledger.append(
                    tx, "snapshot.mint", f"snapshot:{snapshot_id}", _facts(project, verdict, lineage)
                )
        return Admission(self._snapshots.get(snapshot_id), verdict, new=new)

    def _refused(
        self, project: LoadedProject, verdict: Verdict, lineage: dict[str, Any], door: Door
    ) -> RefusedError:
        refusal_id = new_id(self._clock)
        row: Row = {
            "id": refusal_id, "project": project.name, "door": door, "at": isoformat(self._clock.now()),
            "verdict": canonical_json(asdict(verdict)), "lineage": canonical_json(lineage),
        }  # fmt: skip
        with self._db.write() as tx:
            tx.insert("refusals", row)
            facts = _facts(project, verdict, lineage) | {
                "broken": [check.rule for check in verdict.batch_checks if not check.ok]
            }
            self._ledger.append(tx, "snapshot.refuse", f"refusal:{refusal_id}", facts)
        return RefusedError(
            explain_refusal(verdict, source=project.declaration.data.source),
            hint="mend the data, or the contract if it is wrong; mlops-box data refusals lists what was refused",
            details={"refusal_id": refusal_id, "verdict": asdict(verdict)},
        )

    @contextlib.contextmanager
    def _workplace(self) -> Iterator[Path]:
        try:
            folder = Path(tempfile.mkdtemp(prefix="gate-", dir=self._scratch))
        except OSError as error:
            raise _full(error) from error
        try:
            yield folder
        except OSError as error:
            raise _full(error) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def explain_refusal(verdict: Verdict, *, source: str) -> str:
    """Which rules refused the batch, how many rows broke which row rule, and three examples of each."""
    lines = [f"the batch from {source} was refused:"]
    lines += [f"  {check.rule}: {check.message}" for check in verdict.batch_checks if not check.ok]
    if verdict.row_rules:
        lines.append("rows that broke a rule:")
        lines += [
            f"  {hit.rule}: {hit.rows:,} rows, for example {examples_text(hit)}"
            for hit in verdict.row_rules[:8]
        ]
        if len(verdict.row_rules) > 8:
            lines.append(f"  and {len(verdict.row_rules) - 8} more rules")
    return "\n".join(lines)


def examples_text(hit: RuleHit, *, most: int = 3) -> str:
    """Rows that broke a rule, as people read them: by line where they could not be parsed, else by row and values."""
    shown = []
    for example in hit.examples[:most]:
        if "reason" in example:
            place = f"line {example['line']}: " if example["line"] is not None else ""
            shown.append(place + str(example["reason"]))
        else:
            values = [f"{column} = {value!r}" for column, value in example.items() if column != "row"]
            shown.append(f"row {example['row']}: {', '.join(values)}")
    # Values come from outside: no control character may reach a terminal.
    text = "; ".join(shown)
    return "".join(character if character.isprintable() else "�" for character in text)


def _check_target(summary: Summary, target: str, *, task: str) -> None:
    distinct = summary.distinct[target]
    if distinct == 0:
        raise TrainingError(f"the target {target!r} is missing in every row", hint="is it the right column?")
    if task != "regression" and distinct < 2:
        raise TrainingError(
            f"the target {target!r} has one class only",
            hint=f"{task} needs at least two; is it the right column?",
        )
    if task == "binary" and distinct > 2:
        raise TrainingError(
            f"the target {target!r} has {distinct} classes, task = binary allows two",
            hint='write task = "multiclass"',
        )


def _lineage(project: LoadedProject, located: Located) -> dict[str, Any]:
    data = project.declaration.data
    return {
        "files": [file.to_dict() for file in located.files],
        "source": data.source,
        "table": data.table,
        "query": data.query,
        "contract": data.contract.digest,
        "declaration": project.digest,
        "program": f"mlops-box {__version__}",
    }


def _facts(project: LoadedProject, verdict: Verdict, lineage: dict[str, Any]) -> dict[str, Any]:
    return {
        "project": project.name,
        "rows_in": verdict.rows_in,
        "rows_good": verdict.rows_good,
        "rows_quarantined": verdict.rows_quarantined,
        "rows_rejected": verdict.rows_rejected,
        "contract": lineage["contract"],
        "files": [file["sha256"] for file in lineage["files"]],
    }


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _full(error: OSError) -> StorageError:
    return StorageError(
        f"the scratch folder cannot be used: {error.strerror or error}", hint="free some space"
    )
