"""One pass over a batch: good rows here, quarantined rows there, each with the rules it broke."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_box.data.contract import KEY_RULE, RULES_PER_MASK, CompiledContract
from mlops_box.data.engine import translated
from mlops_box.data.relation import Reject, Relation
from mlops_box.data.values import Column, RuleHit
from mlops_box.errors import IntegrityError, SourceError

ROW_GROUP = 1 << 17
BATCH_ROWS = 1 << 16
EXAMPLES = 3
REJECT_RULE = "parse"
EVIDENCE = ("_row", "_rules", "_raw")
RESERVED = (*EVIDENCE, "mlops_box_row")
_ARROW: dict[str, Any] = {
    "boolean": pa.bool_(), "bigint": pa.int64(), "double": pa.float64(), "varchar": pa.string(),
    "timestamp": pa.timestamp("us"), "date": pa.date32(),
}  # fmt: skip
_REJECTS = pa.schema(
    [("file", pa.string()), ("line", pa.int64()), ("column", pa.string()), ("reason", pa.string())]
)


def arrow_schema(columns: tuple[Column, ...]) -> Any:
    """The Arrow schema of columns in the contract's vocabulary."""
    return pa.schema([(column.name, _ARROW[column.type]) for column in columns])


@dataclass(frozen=True)
class Sifted:
    """A batch taken apart into files of a scratch folder; nothing is published yet.

    Always ``rows_in == rows_good + rows_quarantined + rows_rejected``. ``quarantine`` and ``rejects`` are ``None``
    where there is nothing in them.
    """

    good: Path
    quarantine: Path | None
    rejects: Path | None
    columns: tuple[Column, ...]
    rows_in: int
    rows_good: int
    rows_quarantined: int
    rows_rejected: int
    row_rules: tuple[RuleHit, ...]


def sift(
    connection: Any,
    relation: Relation,
    compiled: CompiledContract,
    *,
    folder: Path,
    key: list[str],
    metadata: dict[str, str],
) -> Sifted:
    """Run a compiled contract and write ``good``, ``quarantine`` and ``rejects`` Parquet files.

    The good file is deterministic: rows in the order of ``compiled``, row groups of exactly ``ROW_GROUP`` rows.

    Args:
        connection: The engine that ``relation`` lives in.
        relation: The rows.
        compiled: Its contract.
        folder: Where the files go; must exist.
        key: For the examples of ``key.unique``.
        metadata: Goes into the good file, and so into its digest.

    Raises:
        SourceError: DuckDB cannot read the rows, or a column has a reserved name.
    """
    names = [column.name for column in compiled.columns]
    if taken := [column for column in names if column in RESERVED]:
        raise SourceError(
            f"the column name {taken[0]!r} is reserved", hint="rename it, in the file or in a query"
        )
    schema = arrow_schema(compiled.columns)
    evidence = schema.append(pa.field("_row", pa.int64())).append(pa.field("_rules", pa.list_(pa.string())))
    evidence = evidence.append(pa.field("_raw", pa.string()))
    hits = _Hits(compiled.rules, names, key)
    good_rows = bad_rows = last_row = 0
    with (
        translated(),
        ParquetSink(folder / "good.parquet", schema, metadata) as good,
        ParquetSink(folder / "quarantine.parquet", evidence, {}) as quarantine,
    ):
        for batch in connection.sql(compiled.sql).to_arrow_reader(BATCH_ROWS):
            table = pa.Table.from_batches([batch])
            masks = np.stack([table[f"m{place}"].to_numpy() for place in range(compiled.masks)])
            broken = masks.any(axis=0)
            last_row = max(last_row, int(np.max(table["mlops_box_row"].to_numpy(), initial=0)))
            rows = (
                table.select([f"v{place}" for place in range(len(names))]).rename_columns(names).cast(schema)
            )
            if not broken.any():
                good.write(rows)
                good_rows += len(rows)
                continue
            bad = rows.filter(pa.array(broken))
            numbers, raw = (
                table["mlops_box_row"].filter(pa.array(broken)),
                table["raw"].filter(pa.array(broken)),
            )
            rules = hits.add(bad, numbers, raw, masks[:, broken])
            bad = bad.append_column("_row", numbers).append_column(
                "_rules", pa.array(rules, pa.list_(pa.string()))
            )
            quarantine.write(bad.append_column("_raw", raw).cast(evidence))
            good.write(rows.filter(pa.array(~broken)))
            good_rows += len(rows) - len(bad)
            bad_rows += len(bad)
    rejected, reject_hit = _write_rejects(relation.rejects(), folder / "rejects.parquet")
    if good_rows + bad_rows != last_row:
        raise IntegrityError(f"{last_row} rows came in, {good_rows} good and {bad_rows} bad ones came out")
    return Sifted(
        good=folder / "good.parquet",
        quarantine=folder / "quarantine.parquet" if bad_rows else None,
        rejects=folder / "rejects.parquet" if rejected else None,
        columns=compiled.columns,
        rows_in=last_row + rejected,
        rows_good=good_rows,
        rows_quarantined=bad_rows,
        rows_rejected=rejected,
        row_rules=reject_hit + hits.found(),
    )


class ParquetSink:
    """A Parquet file written in row groups of a fixed size, however the rows arrive: same rows, same bytes."""

    def __init__(self, path: Path, schema: Any, metadata: dict[str, str]):
        self._schema = schema.with_metadata(metadata or None)
        self._writer = pq.ParquetWriter(
            path, self._schema, compression="zstd", compression_level=1, version="2.6"
        )
        self._waiting: list[Any] = []
        self._rows = 0

    def write(self, table: Any) -> None:
        self._waiting.append(table)
        self._rows += len(table)
        while self._rows >= ROW_GROUP:
            self._flush(ROW_GROUP)

    def _flush(self, rows: int) -> None:
        waiting = pa.concat_tables(self._waiting)
        # Pages follow the chunks of what is written: one chunk, whatever the batches were.
        self._writer.write_table(
            waiting.slice(0, rows).combine_chunks().cast(self._schema), row_group_size=ROW_GROUP
        )
        self._waiting = [waiting.slice(rows)]
        self._rows -= rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._rows:
            self._flush(self._rows)
        self._writer.close()


@dataclass
class _Hits:
    """Counts and first examples by rule."""

    rules: tuple[str, ...]
    names: list[str]
    key: list[str]
    _rows: dict[str, int] = field(default_factory=dict)
    _examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, bad: Any, numbers: Any, raw: Any, masks: np.ndarray) -> list[list[str]]:
        """Take in the bad rows of one batch; returns the rules that each row broke."""
        broken: list[list[str]] = [[] for _ in range(masks.shape[1])]
        for place, rule in enumerate(self.rules):
            which = np.flatnonzero((masks[place // RULES_PER_MASK] >> (place % RULES_PER_MASK)) & 1)
            if not len(which):
                continue
            for row in which.tolist():
                broken[row].append(rule)
            self._rows[rule] = self._rows.get(rule, 0) + len(which)
            shown = self._examples.setdefault(rule, [])
            for row in which[: EXAMPLES - len(shown)].tolist():
                shown.append({"row": numbers[row].as_py(), **self._values(rule, bad, raw, row)})
        return broken

    def found(self) -> tuple[RuleHit, ...]:
        """The rules that were broken, most often broken first."""
        order = sorted(self._rows, key=lambda rule: (-self._rows[rule], rule))
        return tuple(RuleHit(rule, self._rows[rule], tuple(self._examples[rule])) for rule in order)

    def _values(self, rule: str, bad: Any, raw: Any, row: int) -> dict[str, Any]:
        if rule == KEY_RULE and self.key:
            return {column: _plain(bad[column][row].as_py()) for column in self.key}
        column = rule.rpartition(".")[0]
        if rule.endswith(".type"):
            prefix = f"{column}="
            texts = [part for part in (raw[row].as_py() or "").split("; ") if part.startswith(prefix)]
            return {column: texts[0].removeprefix(prefix) if texts else None}
        return {column: _plain(bad[column][row].as_py())}


def _plain(value: object) -> object:
    """A value that JSON can hold."""
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return str(value)
    return value if isinstance(value, int | float | str | bool | None) else str(value)


def _write_rejects(rejects: Iterator[Reject], path: Path) -> tuple[int, tuple[RuleHit, ...]]:
    count = 0
    examples: list[dict[str, Any]] = []
    with ParquetSink(path, _REJECTS, {}) as sink:
        while batch := list(itertools.islice(rejects, BATCH_ROWS)):
            count += len(batch)
            rows = [
                {"file": item.file, "line": item.line, "column": item.column, "reason": item.reason}
                for item in batch
            ]
            examples += rows[: EXAMPLES - len(examples)]
            sink.write(pa.Table.from_pylist(rows, schema=_REJECTS))
    return count, (RuleHit(REJECT_RULE, count, tuple(examples)),) if count else ()
