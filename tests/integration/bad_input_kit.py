"""What a bad input must not change, and the small worlds it is sent into."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_box.box import Box

CONTENT = (
    "projects",
    "snapshots",
    "versions",
    "aliases",
    "sealed",
    "windows",
    "alerts",
    "decisions",
    "objects",
)
EXIT_CODES = Path(__file__).parents[2] / "docs/exit-codes.md"


def footprint(home: Path) -> dict[str, Any]:
    """Every row of the tables that hold content, and every file that holds some; runs, refusals and the ledger may grow."""
    files = [
        path
        for folder in ("objects", "predictions", "scratch", "keys")
        for path in sorted((home / folder).rglob("*"))
        if path.is_file()
    ]
    return {"rows": _rows(home / "box.db"), "files": {str(path): _digest(path) for path in files}}


def outside(folder: Path, home: Path) -> dict[str, str]:
    """The user's own files below ``folder``: a refused command leaves no output and touches no input."""
    return {
        str(path): f"{path.stat().st_size}" if path.stat().st_size > 1 << 26 else _digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and home not in path.parents
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _rows(database: Path) -> dict[str, Any]:
    if not database.is_file():
        return {}
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        try:
            return {
                table: sorted(connection.execute(f"SELECT * FROM {table}"), key=repr) for table in CONTENT
            }
        except sqlite3.DatabaseError:
            return {"unreadable": _digest(database)}


def documented_codes() -> dict[int, set[str]]:
    """exit code -> the values of ``code`` that go with it, as docs/exit-codes.md says."""
    lines = re.findall(r"^\| (\d+) \|[^|]*\|([^|]*)\|$", EXIT_CODES.read_text(), re.MULTILINE)
    return {int(code): set(re.findall(r"`(\w+)`", names)) for code, names in lines}


def assert_one_error(told: tuple[int, str, str], exit_code: int, *, says: str, hint: str = "") -> None:
    """For people: progress may come before, then one error (with its evidence), and last at most one hint."""
    found, out, err = told
    assert found == exit_code, out + err
    assert "Traceback" not in out + err
    lines = err.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    assert len(starts) == 1, err
    shown = lines[starts[0] :]
    hints = [line for line in shown if line.startswith("  try: ")]
    assert hints in ([], shown[-1:]), err
    assert says in "\n".join(line for line in shown if line not in hints)
    assert hint in " ".join(hints)


def assert_one_json_error(told: tuple[int, str, str], exit_code: int, *, says: str) -> None:
    """For programs: the one shape on standard output and nothing else there."""
    found, out, err = told
    assert found == exit_code
    assert "error: " not in err
    assert "Traceback" not in err
    body = json.loads(out)
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "hint", "details"}
    assert body["error"]["code"] in documented_codes()[exit_code]
    assert says in body["error"]["message"]


@dataclass
class World:
    """A trained box, its project and room for files; everything is this case's own."""

    folder: Path
    home: Path
    project: Path

    @classmethod
    def copy(cls, base: World, folder: Path) -> World:
        shutil.copytree(base.folder, folder, dirs_exist_ok=True)
        world = cls(folder, folder / "home", folder / "houses")
        world.sql(f"UPDATE projects SET folder = '{world.project}'")
        return world

    def edit(self, old: str, new: str) -> None:
        """Change the declaration, which need not be valid afterwards."""
        file = self.project / "mlops.toml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))

    def data(self, content: str | bytes, name: str = "houses.csv") -> None:
        raw = content.encode() if isinstance(content, str) else content
        (self.project / name).write_bytes(raw)
        if name != "houses.csv":
            self.edit('"houses.csv"', json.dumps(name))

    def lines(self) -> list[list[str]]:
        """The cells of the good data, header first."""
        return [line.split(",") for line in (self.project / "houses.csv").read_text().splitlines()]

    def damage(self, column: str, value: str, *, every: int = 4) -> None:
        """Write ``value`` into each ``every``-th row of a column."""
        header, *rows = self.lines()
        at = header.index(column)
        for row in rows[::every]:
            row[at] = value
        self.data("\n".join(",".join(row) for row in [header, *rows]) + "\n")

    def sql(self, statement: str) -> None:
        """Tamper with the database behind the box's back."""
        with closing(sqlite3.connect(self.home / "box.db")) as connection, connection:
            connection.execute(statement)

    def stored(self, name: str) -> Path:
        """Where a file of the champion lies."""
        with Box.open(self.home, read_only=True) as box:
            return box.models.path(box.models.get("houses@1"), name)
