"""The projects a box knows: the scheduler and the server read the declaration here, never the user's folder."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mlops_box.clock import Clock, isoformat, parse_time
from mlops_box.db import Database, Row, Transaction
from mlops_box.errors import NotFoundError, UsageError
from mlops_box.ledger import Ledger
from mlops_box.project.declaration import Project
from mlops_box.project.load import LoadedProject


@dataclass(frozen=True)
class RegisteredProject:
    """A project as it was when last used."""

    folder: Path
    declaration: Project
    digest: str
    registered_at: datetime

    @property
    def name(self) -> str:
        return self.declaration.name

    @property
    def model_name(self) -> str:
        return self.declaration.model_name


class ProjectRegistry:
    """Register by use: every operation on a project records its declaration."""

    def __init__(self, db: Database, ledger: Ledger, clock: Clock):
        self._db = db
        self._ledger = ledger
        self._clock = clock

    def check_unrivalled(self, project: LoadedProject) -> None:
        """Raises :class:`UsageError` when :meth:`register` would, before anything is made for the project."""
        _refuse_rival(self._db, project)

    def register(self, project: LoadedProject) -> None:
        """Remember the declaration; unchanged, nothing is written.

        Raises:
            UsageError: Another project of this box trains a model of the same name.
        """
        digest = project.digest
        with self._db.write() as tx:
            _refuse_rival(tx, project)
            known = tx.one("SELECT digest, folder FROM projects WHERE name = ?", (project.name,))
            if known and known["digest"] == digest and known["folder"] == str(project.folder):
                return
            row: Row = {
                "name": project.name, "folder": str(project.folder), "model": project.model_name, "digest": digest,
                "declaration": project.declaration.model_dump_json(by_alias=True),
                "registered_at": isoformat(self._clock.now()),
            }  # fmt: skip
            tx.insert("projects", row, replace=True)
            self._ledger.append(tx, "project.register", f"project:{project.name}", {"digest": digest})

    def get(self, name: str) -> RegisteredProject:
        """Raises :class:`NotFoundError` when no such project was ever used in this box."""
        row = self._db.one("SELECT * FROM projects WHERE name = ?", (name,))
        if row is None:
            raise NotFoundError(
                f"this box knows no project {name!r}", hint="run mlops-box check in its folder once"
            )
        return _registered(row)

    def for_model(self, model: str) -> RegisteredProject | None:
        row = self._db.one("SELECT * FROM projects WHERE model = ?", (model,))
        return _registered(row) if row else None

    def redacted(self, model: str) -> frozenset[str]:
        """The columns whose values the prediction log of a model does not hold, by what is declared now."""
        project = self.for_model(model)
        return frozenset(project.declaration.serve.redact) if project is not None else frozenset()

    def list(self) -> list[RegisteredProject]:
        return [_registered(row) for row in self._db.read("SELECT * FROM projects ORDER BY name")]


def _registered(row: Row) -> RegisteredProject:
    return RegisteredProject(
        folder=Path(row["folder"]),
        declaration=Project.model_validate_json(row["declaration"]),
        digest=row["digest"],
        registered_at=parse_time(row["registered_at"]),
    )


def _refuse_rival(db: Database | Transaction, project: LoadedProject) -> None:
    rival = db.one(
        "SELECT name, folder FROM projects WHERE model = ? AND name <> ?", (project.model_name, project.name)
    )
    if rival:
        raise UsageError(
            f"model {project.model_name!r} belongs to project {rival['name']!r} ({rival['folder']})",
            hint="give this one another name under [model]",
        )
