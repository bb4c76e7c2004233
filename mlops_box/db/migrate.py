"""Numbered, forward-only migrations; each is committed together with its record."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as sqlite

from mlops_box.clock import Clock, isoformat
from mlops_box.errors import IntegrityError


def migrations() -> list[tuple[int, str, str]]:
    """(number, name, SQL) in order, from the files ``schema/NNNN_name.sql``."""
    found = []
    for entry in resources.files("mlops_box.db.schema").iterdir():
        if entry.name.endswith(".sql"):
            number, _, name = entry.name.removesuffix(".sql").partition("_")
            found.append((int(number), name, entry.read_text(encoding="utf-8")))
    return sorted(found)


def migrate(connection: Any, *, path: Path, clock: Clock, read_only: bool) -> None:
    """Bring the database up to this program's schema.

    Raises:
        IntegrityError: A newer mlops-box made it, or it is read-only and older than this program.
    """
    known = migrations()
    newest = known[-1][0]
    present = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if present > newest:
        raise IntegrityError(
            f"{path} was made by a newer mlops-box (schema {present}, this one knows {newest})",
            hint="upgrade mlops-box, or use another home",
        )
    if present == newest:
        return
    if read_only:
        raise IntegrityError(
            f"{path} has schema {present}, this mlops-box needs {newest}",
            hint="run any writing command once to migrate it",
        )
    connection.execute("BEGIN IMMEDIATE")
    try:
        present = int(connection.execute("PRAGMA user_version").fetchone()[0])
        for number, name, sql in known:
            if number <= present:
                continue
            for statement in statements(sql):
                connection.execute(statement)
            connection.execute(
                "INSERT INTO migrations (number, name, applied_at) VALUES (?, ?, ?)",
                (number, name, isoformat(clock.now())),
            )
            connection.execute(f"PRAGMA user_version={number}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def statements(script: str) -> list[str]:
    """Split a script: ``executescript`` would commit behind our back."""
    statements, pending = [], ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite.complete_statement(pending):
            statements.append(pending)
            pending = ""
    if any(line.strip() and not line.lstrip().startswith("--") for line in pending.splitlines()):
        raise ValueError(f"the script ends inside a statement: {pending.strip()[:60]}")
    return statements
