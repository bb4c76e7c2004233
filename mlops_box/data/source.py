"""Where rows come from: CSV, Parquet, JSON lines and SQLite files, read through DuckDB.

A source is first located (which files, which format, what bytes) and then opened in a locked engine as the relation
``source``. Rows that cannot even be parsed become :class:`Reject`\\ s with file, line, column and reason.
"""

from __future__ import annotations

import difflib
import glob
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlops_box.data.dialect import read_dialect, read_head
from mlops_box.data.engine import translated
from mlops_box.data.relation import Relation, describe
from mlops_box.data.values import ColumnType
from mlops_box.errors import SourceError

Format = Literal["csv", "parquet", "jsonl", "json", "sqlite"]
_SUFFIXES: dict[str, Format] = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet", ".jsonl": "jsonl",
    ".ndjson": "jsonl", ".json": "json", ".db": "sqlite", ".sqlite": "sqlite", ".sqlite3": "sqlite",
}  # fmt: skip
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class SourceFile:
    """One file, as it was when it was read."""

    path: Path
    size_bytes: int
    sha256: str
    modified_ns: int

    def to_dict(self) -> dict[str, Any]:
        return {"path": str(self.path), "size_bytes": self.size_bytes, "sha256": self.sha256}


@dataclass(frozen=True)
class Located:
    """The files of a source, found and hashed, not yet read."""

    format: Format
    files: tuple[SourceFile, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(file.path for file in self.files)

    def check_unchanged(self) -> None:
        """Raise :class:`SourceError` when a file was written to since it was located."""
        for file in self.files:
            try:
                status = file.path.stat()
            except OSError:
                status = None
            if status is None or (status.st_size, status.st_mtime_ns) != (file.size_bytes, file.modified_ns):
                raise SourceError(f"{file.path} changed while it was read", hint="try again once it is whole")


def locate(source: str, *, folder: Path) -> Located:
    """Find and hash the files of ``source``: a path or a glob, relative to ``folder`` or absolute.

    Raises:
        SourceError: Missing, empty, a directory, of unknown or of mixed format.
    """
    paths = _find(source, folder)
    formats = {_format_of(path) for path in paths}
    if len(formats) > 1:
        raise SourceError(f"{source} matches files of different formats: {', '.join(sorted(formats))}")
    kind = formats.pop()
    for path in paths:
        # Before its bytes are hashed: a huge file that is no data must fail at once.
        if kind == "csv" and _size(path):
            read_dialect(path)
        elif kind in ("json", "jsonl") and _size(path):
            read_head(path)
    return Located(kind, tuple(_hashed(path) for path in paths))


def open_source(
    connection: Any,
    located: Located,
    *,
    declared: dict[str, ColumnType],
    query: str | None,
    table: str | None,
    scratch: Path,
    tolerance: float = 0.0,
) -> Relation:
    """Make the relation ``source`` in ``connection``, whose allowed files are :func:`readable_files`.

    Args:
        connection: An :func:`mlops_box.data.engine.engine`.
        located: The files.
        declared: Types that the contract gives to columns; the others are inferred.
        query: SQL over ``source``; its result is the relation.
        table: The table of a SQLite file.
        scratch: The folder that :func:`readable_files` was given.
        tolerance: Share of odd values that does not keep an undeclared CSV column from being a number or a time.

    Raises:
        SourceError: A file or the query is wrong.
    """
    from mlops_box.data import csv_source, json_source, parquet_source

    typed = query is not None
    if located.format == "csv":
        relation = csv_source.open_csv(
            connection, located.paths, declared=declared, typed=typed, tolerance=tolerance
        )
    elif located.format == "parquet":
        relation = parquet_source.open_parquet(connection, located.paths)
    else:
        relation = json_source.open_json(
            connection,
            located.paths,
            kind=located.format,
            declared=declared,
            typed=typed,
            table=table,
            scratch=scratch,
        )
    return relation if query is None else _queried(connection, relation, query)


def readable_files(located: Located, scratch: Path) -> tuple[Path, ...]:
    """The files an engine must be allowed to read for this source."""
    if located.format != "sqlite":
        return located.paths
    return tuple(scratch / f"sqlite-{number}.jsonl" for number in range(len(located.files)))


def _queried(connection: Any, relation: Relation, query: str) -> Relation:
    with translated(what="the query under [data] is wrong"):
        statements = connection.extract_statements(query)
        if len(statements) != 1 or statements[0].type.name != "SELECT":
            raise SourceError(
                "the query under [data] must be one SELECT",
                hint='for example: query = "select * from source"',
            )
        text = query.strip().rstrip(";")
        # The line end keeps a comment at the end of the query from swallowing the bracket.
        connection.execute(f"CREATE VIEW mlops_box_query AS SELECT * FROM ({text}\n)")
        columns = describe(connection, "mlops_box_query")
    return Relation("mlops_box_query", columns, relation.rejects)


def _find(source: str, folder: Path) -> list[Path]:
    place = Path(os.path.normpath(folder / Path(source).expanduser()))
    if place.is_dir():
        raise SourceError(f"{place} is a folder", hint=f"name a file or a glob, for example {source.rstrip('/')}/*.csv")  # fmt: skip
    if place.exists():
        return [place.resolve()]
    if not glob.has_magic(source):
        near = _nearest_file(place)
        raise SourceError(f"there is no file {place}", hint=f"did you mean {near}?" if near else None)
    found = sorted(Path(path) for path in glob.glob(str(place), recursive=True))
    files = [path.resolve() for path in found if path.is_file()]
    if not files:
        raise SourceError(f"no file matches {place}")
    return files


def _nearest_file(place: Path) -> str | None:
    try:
        names = [entry.name for entry in place.parent.iterdir() if entry.is_file()]
    except OSError:
        return None
    return next(iter(difflib.get_close_matches(place.name, names, n=1)), None)


def _format_of(path: Path) -> Format:
    known = _SUFFIXES.get(path.suffix.lower())
    if known is None:
        raise SourceError(
            f"{path}: the format {path.suffix or '(no suffix)'} is not known",
            hint="known are " + " ".join(_SUFFIXES),
        )
    return known


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error


def _hashed(path: Path) -> SourceFile:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not status.st_size:
                raise SourceError(f"{path} is empty")
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
    return SourceFile(path, status.st_size, digest.hexdigest(), status.st_mtime_ns)
