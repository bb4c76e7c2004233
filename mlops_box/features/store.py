"""Feature definitions in box.db: every version beside the others, found by name, number or digest."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlops_box.canonical import canonical_json
from mlops_box.clock import Clock, isoformat
from mlops_box.db import Database, Row, Transaction
from mlops_box.errors import IntegrityError, NotFoundError, UsageError
from mlops_box.features.definition import (
    Definition,
    definition_from_dict,
    definition_to_dict,
    digest_of_view,
)
from mlops_box.ledger import Ledger


class DefinitionStore:
    """Registers definitions and hands them out."""

    def __init__(self, db: Database, ledger: Ledger, clock: Clock):
        self._db = db
        self._ledger = ledger
        self._clock = clock

    def register(self, definition: Definition) -> Definition:
        """Give a definition the next version of its name; a digest that is known keeps its version.

        Owner, description and rules of a known digest are brought up to date.

        Raises:
            UsageError: Another project of this box has a view of this name.
        """
        with self._db.write() as tx:
            self._refuse_rival(tx, definition)
            known = tx.one("SELECT * FROM feature_definitions WHERE digest = ?", (definition.digest,))
            if known is not None:
                return self._described(tx, _definition(known), definition)
            last = tx.one(
                "SELECT coalesce(max(version), 0) AS version FROM feature_definitions WHERE name = ?",
                (definition.name,),
            )
            numbered = replace(definition, version=int(last["version"] if last else 0) + 1)
            row: Row = {
                "digest": numbered.digest, "name": numbered.name, "version": numbered.version,
                "project": numbered.project, "definition": canonical_json(definition_to_dict(numbered)),
                "created_at": isoformat(self._clock.now()), "created_by": self._ledger.actor,
            }  # fmt: skip
            tx.insert("feature_definitions", row)
            facts = {
                "digest": numbered.digest,
                "project": numbered.project,
                "features": list(numbered.features),
            }
            self._ledger.append(tx, "feature.define", f"feature:{numbered.ref}", facts)
        return numbered

    def check_unrivalled(self, definition: Definition) -> None:
        """Raises :class:`UsageError` when :meth:`register` would."""
        self._refuse_rival(self._db, definition)

    def get(self, name: str, *, version: int | None = None, digest: str | None = None) -> Definition:
        """One definition: the newest of a name, or the one of a version or digest.

        Raises:
            NotFoundError: There is none.
        """
        row = self._db.one(
            "SELECT * FROM feature_definitions WHERE name = :name AND (:version IS NULL OR version = :version) "
            "AND (:digest IS NULL OR digest = :digest) ORDER BY version DESC LIMIT 1",
            {"name": name, "version": version, "digest": digest},
        )
        if row is None:
            raise self._not_found(name, version, digest)
        return _definition(row)

    def pinned(self, lineage: Mapping[str, Any]) -> dict[str, Definition]:
        """The definitions that a model version was trained on, by view; ``lineage`` is the version's.

        Raises:
            NotFoundError: One is not in this box.
        """
        pins: Mapping[str, str] = lineage.get("features") or {}
        return {name: self.get(name, digest=digest) for name, digest in pins.items()}

    def list(
        self, *, project: str | None = None, name: str | None = None, every: bool = False
    ) -> list[Definition]:
        """Definitions by name and version; without ``every`` only the newest of each name."""
        rows = self._db.read(
            "SELECT * FROM feature_definitions AS d WHERE (:project IS NULL OR project = :project) "
            "AND (:name IS NULL OR name = :name) AND (:every OR version = "
            "(SELECT max(version) FROM feature_definitions WHERE name = d.name)) ORDER BY name, version",
            {"project": project, "name": name, "every": int(every)},
        )
        return [_definition(row) for row in rows]

    def _described(self, tx: Transaction, known: Definition, given: Definition) -> Definition:
        current = replace(given, version=known.version)
        if definition_to_dict(current) != definition_to_dict(known):
            tx.execute(
                "UPDATE feature_definitions SET definition = ? WHERE digest = ?",
                (canonical_json(definition_to_dict(current)), known.digest),
            )
            self._ledger.append(tx, "feature.describe", f"feature:{known.ref}", {"owner": current.owner})
        return current

    def _refuse_rival(self, db: Database | Transaction, definition: Definition) -> None:
        rival = db.one(
            "SELECT project FROM feature_definitions WHERE name = ? AND project <> ? LIMIT 1",
            (definition.name, definition.project),
        )
        if rival:
            raise UsageError(
                f"feature view {definition.name!r} belongs to project {rival['project']!r}",
                hint="give this one another name",
            )

    def _not_found(self, name: str, version: int | None, digest: str | None) -> NotFoundError:
        names = [str(row["name"]) for row in self._db.read("SELECT DISTINCT name FROM feature_definitions")]
        if name in names:
            what = f"version {version}" if version is not None else f"definition {str(digest)[:12]}"
            return NotFoundError(
                f"feature view {name!r} has no {what}", hint=f"mlops-box features show {name}"
            )
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "mlops-box check registers what mlops.toml declares"
        return NotFoundError(f"there is no feature view {name!r}", hint=hint)


def _definition(row: Row) -> Definition:
    definition = definition_from_dict(json.loads(row["definition"]))
    if digest_of_view(definition) != row["digest"]:
        raise IntegrityError(
            f"the definition of {row['name']}@{row['version']} was altered",
            hint="restore box.db from a backup",
        )
    return definition
