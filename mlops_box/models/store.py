"""Model versions and their aliases.

A version is immutable: a manifest in box.db names files in ``objects`` by their digests, and the version's own digest
is the SHA-256 of that manifest. An alias is a movable name for one version of a model; ``champion`` is what serves,
``last_good`` is what served before it.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlops_box.canonical import canonical_json, sha256_hex
from mlops_box.clock import Clock, isoformat, parse_time
from mlops_box.db import Database, Row, Transaction
from mlops_box.errors import GateError, IntegrityError, NotFoundError
from mlops_box.ids import ModelRef, check_name, parse_ref
from mlops_box.ledger import Ledger
from mlops_box.models.values import GateResult, ModelVersion, Signature, VersionDraft
from mlops_box.objects import ObjectStore

CHAMPION = "champion"
LAST_GOOD = "last_good"
MANIFEST_FORMAT = 1


class ModelStore:
    """Registers versions, moves aliases, hands out files."""

    def __init__(self, db: Database, objects: ObjectStore, ledger: Ledger, clock: Clock):
        self._db = db
        self._objects = objects
        self._ledger = ledger
        self._clock = clock

    def register(self, draft: VersionDraft) -> ModelVersion:
        """Give a draft the next number of its model; a run registers at most one version.

        Raises:
            IntegrityError: A file of the draft is not in the object store.
            UsageError: The model's name is not allowed.
        """
        check_name(draft.model, what="model name")
        self._check_files(draft)
        with self._db.write() as tx:
            row = self._registered_by(tx, draft.run_id) or self._insert(tx, draft)
        return _version(row)

    def get(self, ref: str | ModelRef) -> ModelVersion:
        """One version by ``name``, ``name@7`` or ``name@alias``; a bare name means its champion.

        Raises:
            NotFoundError: No such model, version or alias.
            UsageError: The reference is malformed.
            IntegrityError: Its manifest was altered.
        """
        wanted = parse_ref(ref) if isinstance(ref, str) else ref
        number = wanted.number
        if number is None:
            alias = self._db.one(
                "SELECT number FROM aliases WHERE model = ? AND alias = ?", (wanted.name, wanted.alias)
            )
            number = alias["number"] if alias else None
        row = (
            self._db.one("SELECT * FROM versions WHERE model = ? AND number = ?", (wanted.name, number))
            if number is not None
            else None
        )
        if row is None:
            raise self._not_found(wanted)
        return _version(row)

    def models(self) -> list[str]:
        """The names of all models that have a version, in order."""
        return [
            str(row["model"]) for row in self._db.read("SELECT DISTINCT model FROM versions ORDER BY model")
        ]

    def aliases(self, model: str) -> dict[str, int]:
        """Alias to version number."""
        rows = self._db.read("SELECT alias, number FROM aliases WHERE model = ? ORDER BY alias", (model,))
        return {row["alias"]: row["number"] for row in rows}

    def champion_ref(self, model: str) -> str | None:
        """``name@7`` of the version that serves, if one does."""
        number = self.aliases(model).get(CHAMPION)
        return f"{model}@{number}" if number is not None else None

    def champions(self) -> dict[str, ModelVersion]:
        """The serving version of every model that has one."""
        rows = self._db.read(
            "SELECT versions.* FROM versions JOIN aliases USING (model, number) "
            "WHERE aliases.alias = ? ORDER BY model",
            (CHAMPION,),
        )
        return {row["model"]: _version(row) for row in rows}

    def for_run(self, run_id: str) -> ModelVersion | None:
        """The version that a run registered, if it came that far."""
        row = self._db.one("SELECT * FROM versions WHERE run_id = ?", (run_id,))
        return _version(row) if row else None

    def file(self, version: ModelVersion, name: str) -> bytes:
        """The bytes of one file of a version, verified.

        Raises:
            NotFoundError: The version has no such file.
            IntegrityError: The stored bytes are damaged.
        """
        return self._objects.read(self._digest(version, name))

    def path(self, version: ModelVersion, name: str) -> Path:
        """Where a file of a version lies; read-only."""
        return self._objects.path(self._digest(version, name))

    def set_champion(self, version: ModelVersion, *, reason: str) -> ModelVersion:
        """Make a version the champion and the champion before it ``last_good``; again, it changes nothing.

        Raises:
            GateError: The version was rejected by its gates.
            NotFoundError: It is not registered.
        """
        with self._db.write() as tx:
            stored = self._stored(tx, version.model, version.number)
            if stored.state == "rejected":
                failed = "; ".join(gate.message for gate in stored.gates if gate.passed is False)
                raise GateError(
                    f"{stored.ref} was rejected and cannot become champion: {failed or 'see its gates'}",
                    hint=f"mlops-box why {stored.ref}",
                )
            before = self._alias(tx, version.model, CHAMPION)
            if before == version.number:
                return stored
            if before is not None:
                self._point(tx, version.model, LAST_GOOD, before, reason=f"champion before {stored.ref}")
            self._point(tx, version.model, CHAMPION, version.number, reason=reason)
            self._ledger.append(
                tx,
                "model.promote",
                f"version:{stored.ref}",
                {"reason": reason, "before": before, "digest": stored.digest},
            )
        return stored

    def roll_back(self, model: str, *, reason: str) -> ModelVersion:
        """Make ``last_good`` the champion again. It stays ``last_good``, so a second roll-back is refused rather
        than bringing the bad version back.

        Raises:
            NotFoundError: There is no such model, or no champion before the present one.
        """
        with self._db.write() as tx:
            before = self._alias(tx, model, CHAMPION)
            good = self._alias(tx, model, LAST_GOOD)
            if before is None:
                raise self._not_found(ModelRef(model, None, CHAMPION))
            if good is None or good == before:
                raise NotFoundError(
                    f"{model} has no earlier champion to go back to (champion is {model}@{before})",
                    hint=f"mlops-box models list --model {model}, then mlops-box models promote {model}@N --reason ...",
                )
            version = self._stored(tx, model, good)
            self._point(tx, model, CHAMPION, good, reason=reason)
            self._ledger.append(
                tx,
                "model.roll_back",
                f"version:{version.ref}",
                {"reason": reason, "before": before, "digest": version.digest},
            )
        return version

    def _check_files(self, draft: VersionDraft) -> None:
        for name, digest in sorted(draft.files.items()):
            known = self._db.one("SELECT 1 FROM objects WHERE digest = ?", (digest,))
            if not known or not self._objects.exists(digest):
                raise IntegrityError(
                    f"{name} of the new version of {draft.model} is not in the object store ({digest[:12]})",
                    hint="nothing was registered; train again",
                )

    def _registered_by(self, tx: Transaction, run_id: str | None) -> Row | None:
        return tx.one("SELECT * FROM versions WHERE run_id = ?", (run_id,)) if run_id is not None else None

    def _insert(self, tx: Transaction, draft: VersionDraft) -> Row:
        # The number is taken under the write lock: two trainings that end together get two numbers.
        last = tx.read("SELECT COALESCE(MAX(number), 0) AS n FROM versions WHERE model = ?", (draft.model,))
        number = int(last[0]["n"]) + 1
        state = "accepted" if draft.accepted else "rejected"
        manifest = canonical_json(
            {
                "format": MANIFEST_FORMAT, "model": draft.model, "number": number, "project": draft.project,
                "state": state, "task": draft.task, "files": draft.files,
                "signature": asdict(draft.signature), "metrics": draft.metrics,
                "gates": [asdict(gate) for gate in draft.gates], "lineage": draft.lineage,
                "snapshot_id": draft.snapshot_id, "run_id": draft.run_id,
            }
        )  # fmt: skip
        parts = json.loads(manifest)
        row: Row = {
            "model": draft.model, "number": number, "project": draft.project, "state": state, "task": draft.task,
            "digest": sha256_hex(manifest.encode()), "manifest": manifest,
            "signature": canonical_json(parts["signature"]), "metrics": canonical_json(parts["metrics"]),
            "gates": canonical_json(parts["gates"]), "lineage": canonical_json(parts["lineage"]),
            "snapshot_id": draft.snapshot_id, "run_id": draft.run_id,
            "created_at": isoformat(self._clock.now()), "created_by": self._ledger.actor,
        }  # fmt: skip
        tx.insert("versions", row)
        facts = {
            "digest": row["digest"],
            "state": state,
            "run_id": draft.run_id,
            "snapshot_id": draft.snapshot_id,
            "failed_gates": [gate.message for gate in draft.gates if gate.passed is False],
        }
        self._ledger.append(tx, "model.register", f"version:{draft.model}@{number}", facts)
        return row

    def _stored(self, tx: Transaction, model: str, number: int) -> ModelVersion:
        row = tx.one("SELECT * FROM versions WHERE model = ? AND number = ?", (model, number))
        if row is None:
            raise self._not_found(ModelRef(model, number, None))
        return _version(row)

    def _alias(self, tx: Transaction, model: str, alias: str) -> int | None:
        row = tx.one("SELECT number FROM aliases WHERE model = ? AND alias = ?", (model, alias))
        return int(row["number"]) if row else None

    def _point(self, tx: Transaction, model: str, alias: str, number: int, *, reason: str) -> None:
        now = isoformat(self._clock.now())
        tx.execute(
            "INSERT INTO aliases (model, alias, number, since, reason) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (model, alias) DO UPDATE SET "
            "number = excluded.number, since = excluded.since, reason = excluded.reason",
            (model, alias, number, now, reason),
        )

    def _digest(self, version: ModelVersion, name: str) -> str:
        if name not in version.files:
            raise NotFoundError(
                f"{version.ref} has no file {name!r}", hint=f"it has {', '.join(sorted(version.files))}"
            )
        return version.files[name]

    def _not_found(self, ref: ModelRef) -> NotFoundError:
        models = self.models()
        if ref.name not in models:
            near = difflib.get_close_matches(ref.name, models, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "mlops-box models list shows what there is"
            return NotFoundError(f"there is no model {ref.name!r}", hint=hint)
        if ref.alias == CHAMPION:
            return NotFoundError(
                f"{ref.name} has no champion yet",
                hint=f"mlops-box models list --model {ref.name} shows its versions and why they were rejected",
            )
        deleted = self._db.one(
            "SELECT at, actor FROM ledger WHERE subject = ? AND act = 'model.delete'", (f"version:{ref}",)
        )
        return NotFoundError(
            f"there is no version {ref}"
            + (f": {deleted['actor']} deleted it on {deleted['at'][:10]}" if deleted else ""),
            hint=f"mlops-box models list --model {ref.name} shows what there is",
        )

    def list(self, model: str | None = None, *, limit: int = 100) -> list[ModelVersion]:
        """The newest versions, newest first; of one model or of all."""
        rows = self._db.read(
            "SELECT * FROM versions WHERE (:model IS NULL OR model = :model) "
            "ORDER BY created_at DESC, model, number DESC LIMIT :limit",
            {"model": model, "limit": limit},
        )
        return [_version(row) for row in rows]


def _version(row: Row) -> ModelVersion:
    """A version from its manifest, which must be what its digest says."""
    if sha256_hex(row["manifest"].encode()) != row["digest"]:
        raise IntegrityError(
            f"the manifest of {row['model']}@{row['number']} was altered", hint="restore box.db from a backup"
        )
    manifest: dict[str, Any] = json.loads(row["manifest"])
    return ModelVersion(
        model=manifest["model"], number=manifest["number"], project=manifest["project"], state=manifest["state"],
        task=manifest["task"], digest=row["digest"], files=manifest["files"],
        signature=Signature.from_json(json.dumps(manifest["signature"])),
        metrics=manifest["metrics"], gates=tuple(GateResult(**gate) for gate in manifest["gates"]),
        snapshot_id=manifest["snapshot_id"], run_id=manifest["run_id"],
        created_at=parse_time(row["created_at"]), created_by=row["created_by"], lineage=manifest["lineage"],
    )  # fmt: skip
