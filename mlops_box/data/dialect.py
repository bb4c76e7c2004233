"""What the beginning of a text file says about it: delimiter, header, and whether it is text at all.

Only the first mebibyte is looked at, so that a file without line ends (or a disk image named ``.csv``) is refused at
once and in bounded memory. The delimiter is read off the header: unlike the rows, it is not expected to be dirty.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from mlops_box.errors import SourceError

HEAD_BYTES = 1 << 20
MAX_COLUMNS = 4096
MAX_NAME = 512
# In this order on a tie: a semicolon file has decimal commas in its rows, not in its header.
_DELIMITERS = (",", ";", "\t", "|", "\x1f", "^", "~")


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written; ``columns`` are the names in its header, as they stand."""

    delimiter: str
    columns: tuple[str, ...]


def read_head(path: Path) -> str:
    """The first line of a text file, without a byte-order mark and the line end.

    Raises:
        SourceError: Empty, binary, not UTF-8, or no line ends within the first mebibyte.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SourceError(f"{path} is UTF-16", hint="convert it to UTF-8: iconv -f UTF-16 -t UTF-8")
    if b"\0" in head:
        raise SourceError(
            f"{path} is no text file: it holds zero bytes",
            hint="the format follows the file's name: .csv, .tsv, .txt, .parquet, .jsonl, .json, .db, .sqlite",
        )
    body = head.removeprefix(b"\xef\xbb\xbf")
    if not body.strip():
        raise SourceError(f"{path} is empty", hint="a data file begins with a line of column names")
    line, end, _ = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").lstrip(b"\n").partition(b"\n")
    if not end and len(head) == HEAD_BYTES:
        raise SourceError(
            f"{path}: the first line does not end within the first {HEAD_BYTES >> 20} MiB",
            hint="is this really a text file with one row a line?",
        )
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path}: the first line is not UTF-8 (byte {error.start})",
            hint="convert it: iconv -f LATIN1 -t UTF-8",
        ) from error


def read_dialect(path: Path) -> Dialect:
    """Delimiter and column names of a CSV file.

    Raises:
        SourceError: See :func:`read_head`; or the header has no, too many, unnamed or repeated columns.
    """
    header = read_head(path)
    best: list[str] = []
    delimiter = ","
    for candidate in _DELIMITERS:
        cells = next(csv.reader([header], delimiter=candidate), [])
        if len(cells) > len(best):
            best, delimiter = cells, candidate
    check_names(best, path)
    if sum(_is_number(cell) for cell in best) * 2 > len(best):
        raise SourceError(
            f"{path} has no header: its first line is {header[:60]!r}",
            hint="put a line with the column names first",
        )
    return Dialect(delimiter, tuple(best))


def check_names(names: list[str], path: Path) -> None:
    """Raise :class:`SourceError` unless the names can name columns: present, short and distinct without case."""
    if len(names) > MAX_COLUMNS:
        raise SourceError(f"{path}: {len(names)} columns; at most {MAX_COLUMNS} are read")
    seen: dict[str, str] = {}
    for place, column in enumerate(names, start=1):
        if not column.strip():
            raise SourceError(f"{path}: column {place} has no name", hint="name it in the header")
        if len(column) > MAX_NAME:
            raise SourceError(f"{path}: the name of column {place} is {len(column)} characters long")
        if twin := seen.get(column.lower()):
            how = "twice" if twin == column else "in two spellings"
            raise SourceError(
                f"{path}: column {column!r} stands there {how}", hint="rename one of them in the file"
            )
        seen[column.lower()] = column


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
