"""What a batch was judged by, and the rows that did not pass: the contract and the quarantine, for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_box.box import Box
from mlops_box.errors import BoxError, NotFoundError

if TYPE_CHECKING:
    from mlops_box.project import ColumnRule, Data

MAX_ROWS = 200
_OWN = frozenset({"_row", "_rules", "_raw"})


@dataclass(frozen=True)
class BadRow:
    """One row of the quarantine.

    Attributes:
        row: Its number as delivered, from 1.
        rules: Those that it broke.
        broken: Values of the columns that these rules are about.
        others: The values of the other columns.
        raw: Values of another type, as they were delivered.
    """

    row: int
    rules: tuple[str, ...]
    broken: tuple[tuple[str, Any], ...]
    others: tuple[tuple[str, Any], ...]
    raw: str | None


@dataclass(frozen=True)
class Quarantine:
    """The first rows of a snapshot's quarantine.

    Attributes:
        total: How many there are; ``None`` when that cannot be read.
        trouble: Why they cannot be shown.
    """

    rows: tuple[BadRow, ...] = ()
    total: int | None = 0
    trouble: str | None = None


@dataclass(frozen=True)
class ColumnTerms:
    """What one column must be: ``terms`` as the declaration writes them."""

    column: str
    type: str
    terms: str


@dataclass(frozen=True)
class Contract:
    """The contract of a project as it is now.

    Attributes:
        same: Whether the batch was judged by just this one; ``None``: the batch does not tell.
    """

    columns: tuple[ColumnTerms, ...]
    rows_min: int | None
    quarantine: float
    same: bool | None


def quarantine_of(box: Box, data: Data | None, digest: str | None, *, limit: int = MAX_ROWS) -> Quarantine:
    """The first rows of a quarantine file, which never changes.

    Args:
        data: What is declared tells which columns a repeated key is about.
        digest: Of the file; ``None``: no row broke a rule, or the batch was refused, which keeps examples only.
    """
    if digest is None:
        return Quarantine()
    try:
        # Verified: bad rows that were changed afterwards would accuse the wrong ones.
        path = box.objects.path(digest, verify=True)
    except BoxError as error:
        return Quarantine(total=None, trouble=error.message)
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mlops_box.data.contract import KEY_RULE

    try:
        with pq.ParquetFile(path) as file:
            total = file.metadata.num_rows
            found = next(file.iter_batches(batch_size=limit), None)
    except (OSError, pa.ArrowException) as error:
        return Quarantine(total=None, trouble=f"the quarantine cannot be read: {error}")
    more = {KEY_RULE: frozenset(data.key if data is not None else ())}
    rows = found.to_pylist() if found is not None else []
    return Quarantine(tuple(_bad_row(row, more) for row in rows), total)


def declared_data(box: Box, project: str) -> Data | None:
    """What a project declares of its data now; ``None`` where the box does not know the project."""
    try:
        return box.projects.get(project).declaration.data
    except NotFoundError:
        return None


def contract_of(data: Data | None, recorded: object) -> Contract | None:
    """A project's contract; ``None`` where it is not known.

    Args:
        recorded: The digest of the contract that the batch was judged by.
    """
    if data is None:
        return None
    contract = data.contract
    columns = tuple(ColumnTerms(name, rule.type, _terms(rule)) for name, rule in contract.columns.items())
    return Contract(
        columns, contract.rows.min, contract.quarantine, contract.digest == recorded if recorded else None
    )


def _bad_row(row: dict[str, Any], more: Mapping[str, frozenset[str]]) -> BadRow:
    rules = tuple(row["_rules"] or ())
    # The rule of a key that stands twice is about the key's columns, not about one of that name.
    about = {rule.rpartition(".")[0] for rule in rules}.union(*(more.get(rule, ()) for rule in rules))
    values = [(name, value) for name, value in row.items() if name not in _OWN]
    return BadRow(
        row["_row"], rules, tuple(item for item in values if item[0] in about),
        tuple(item for item in values if item[0] not in about), row["_raw"],
    )  # fmt: skip


def _terms(rule: ColumnRule) -> str:
    said = ["may be missing"] if rule.null else []
    said += [f"at least {rule.min}"] if rule.min is not None else []
    said += [f"at most {rule.max}"] if rule.max is not None else []
    said += [f"one of {', '.join(map(str, rule.in_))}"] if rule.in_ is not None else []
    said += [f"matches {rule.regex}"] if rule.regex is not None else []
    said += ["no value twice"] if rule.unique else []
    return "; ".join(said) or "must be there"
