"""The online door: the same contract that guarded training, for rows and for columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_box.data.arrays import ArrayContract, MatrixContract, plain_value
from mlops_box.data.rows import RowContract
from mlops_box.data.times import parse_date_text, parse_time_text
from mlops_box.errors import UsageError
from mlops_box.models.signature import Signature
from mlops_box.serving.columns import Columns
from mlops_box.serving.door_rules import DoorRules
from mlops_box.serving.json_body import load_json, parse_json, refuse_duplicate_keys
from mlops_box.serving.problems import MAX_PROBLEMS, ContractViolation
from mlops_box.serving.records import ParsedRows
from mlops_box.serving.row_block import RowBlock

Row = dict[str, Any]
DEFAULT_MAX_ROWS = 1024
_UNKNOWN = "unknown_column"
_SHOWN = 100


class Door:
    """Checks the rows of one request before they join a batch.

    A row holds the model's features and may hold other columns of the data (time, key, target, anything with a rule); a
    key that is none of these is a mistake and refused. A feature that is absent counts as null.

    Args:
        rules: What is declared of the data; ``None`` knows the signature only.

    Attributes:
        features: Of the model, in order.
    """

    def __init__(self, signature: Signature, rules: DoorRules | None = None):
        features = [feature.name for feature in signature.features]
        self.features = features
        self._known = frozenset(features) | {signature.target}
        self._all_numeric = not signature.categorical
        self._contract: RowContract | None = None
        self._time_contract: RowContract | None = None
        self.time_column: str | None = None
        self.max_rows = DEFAULT_MAX_ROWS
        if rules is not None:
            self._contract = RowContract(rules.columns, features)
            self.time_column = rules.time_column
            self.max_rows = rules.max_rows
            self._known |= rules.known
            if self.time_column and self.time_column in rules.columns:
                self._time_contract = RowContract(rules.columns, [self.time_column])
        contract = self._contract or RowContract({}, features)
        self._array_contract = ArrayContract(contract)
        self._matrix_contract = MatrixContract(contract, features)
        self._block = RowBlock(contract, features) if self._all_numeric else None

    def parse(self, body: bytes) -> list[Row]:
        """The rows of ``{"rows": [{...}]}``, checked.

        Raises:
            MalformedBody: The body is no JSON, or a key stands twice.
            UsageError: It has another form.
            ContractViolation: See :meth:`check`.
        """
        found = _object(parse_json(body), ("rows",))["rows"]
        if not isinstance(found, list):
            raise UsageError("`rows` is no list", hint='send {"rows": [{...}]}')
        rows = ParsedRows(found)
        self.check_count(len(rows))
        if self._block is not None:
            rows.matrix = self._block.matrix(rows, body)
        if rows.matrix is None:
            self.check(rows)
        refuse_duplicate_keys(body, 1 + sum(map(len, rows)))
        if b"\n" not in body:
            rows.body = body
        return rows

    def parse_matrix(self, body: bytes) -> Columns:
        """The rows of raw little-endian float32 [rows, features in the order of the signature], checked.

        Raises:
            ContractViolation: See :meth:`check_columns`.
            UsageError: The model has a feature that is no number, or the size is no multiple of a row's.
        """
        width = len(self.features)
        if self._all_numeric and len(body) % (4 * width):
            raise UsageError(
                f"{len(body)} bytes are no rows of {width} float32",
                hint=f"send little-endian float32, row after row: {', '.join(self.features[:30])}",
            )
        rows = len(body) // (4 * width)
        matrix = np.frombuffer(body, dtype="<f4", count=rows * width).reshape(rows, width)
        columns = Columns(rows, {}, matrix)
        self.check_columns(columns)
        return columns

    def checked(self, rows: object) -> list[Row]:
        """``rows`` if it is a list of good rows; raises as :meth:`check`."""
        if not isinstance(rows, list):
            raise UsageError("`rows` is no list", hint='send {"rows": [{...}]}')
        self.check(rows)
        return rows

    def check(self, rows: Sequence[Row]) -> None:
        """Pass, or name row, column and rule of everything that is wrong.

        Raises:
            ContractViolation: A row breaks the contract or has a key that is no column.
            UsageError: No rows, or too many.
        """
        self.check_count(len(rows))
        problems: list[dict[str, Any]] = []
        total = 0
        for index, row in enumerate(rows):
            found = self._problems(row)
            if found:
                total += len(found)
                problems.extend(
                    {"row": index, **problem} for problem in found[: MAX_PROBLEMS - len(problems)]
                )
        if total:
            raise ContractViolation(list(map(self._hinted, problems)), total=total)

    def check_columns(self, columns: Columns) -> None:
        """The same for rows that come as columns: the same rules, rule ids and messages; NaN and NaT are null.

        Raises:
            ContractViolation: A value breaks the contract or is infinite, or a column is none of the data's.
            UsageError: No rows, too many, columns of other lengths, or no matrix of this model's features.
        """
        self.check_count(columns.rows)
        if columns.matrix is not None:
            self._check_matrix(columns, columns.matrix)
            return
        for name, values in columns.values.items():
            if values.shape != (columns.rows,):
                raise UsageError(
                    f"column {name[:60]!r} has the shape {list(values.shape)}, expected [{columns.rows}]",
                    hint="send one value a row in every column",
                )
        unknown = [self._unknown(name) for name in columns.values if name not in self._known]
        found = [(0, problem) for problem in unknown] + self._column_time_problems(columns)
        found += [
            (row, problem.to_dict())
            for row, problem in self._array_contract.check(self._features_of(columns), columns.rows)
        ]
        found.sort(key=lambda item: item[0])
        told = [(row, self._hinted(problem)) for row, problem in found[:MAX_PROBLEMS]]
        _refuse(told, total=len(found))

    def _check_matrix(self, columns: Columns, matrix: npt.NDArray[np.float32]) -> None:
        if not self._all_numeric or columns.values:
            raise UsageError(
                "a matrix cannot carry this request: not all of the model's features are numbers",
                hint="send named columns, or rows as JSON",
            )
        if matrix.shape != (columns.rows, len(self.features)) or matrix.dtype != np.float32:
            raise UsageError(
                f"a matrix of {matrix.dtype} {list(matrix.shape)} is none of float32 {[columns.rows, len(self.features)]}",
                hint=f"one row holds {', '.join(self.features[:30])}",
            )
        _refuse([(row, problem.to_dict()) for row, problem in self._matrix_contract.check(matrix)])

    def _features_of(self, columns: Columns) -> dict[str, npt.NDArray[Any]]:
        return {name: columns.values[name] for name in self.features if name in columns.values}

    def _column_time_problems(self, columns: Columns) -> list[tuple[int, dict[str, Any]]]:
        times = columns.values.get(self.time_column) if self.time_column is not None else None
        if times is None or self.time_column is None:
            return []
        if times.dtype.kind == "M":
            if self._time_contract is None:
                return []
            times = times.astype("datetime64[us]").astype(object)
        return [
            (row, problem)
            for row, value in enumerate(times.tolist())
            for problem in self._time_problems({self.time_column: plain_value(value)})
        ]

    def check_count(self, rows: int) -> None:
        """Raise :class:`UsageError` for no rows, or too many."""
        if rows < 1:
            raise UsageError(
                "there is no row to predict", hint='send {"rows": [{...}]} with at least one row'
            )
        if rows > self.max_rows:
            raise UsageError(
                f"{rows} rows are more than the {self.max_rows} one request may carry",
                hint="send fewer at a time, score a file (mlops-box score), or raise max_rows under [serve]",
            )

    def _problems(self, row: Any) -> list[dict[str, Any]]:
        if type(row) is not dict:
            message = f"it is no object but {type(row).__name__}"
            return [{"column": None, "rule": "row.type", "message": message}]
        found: list[dict[str, Any]] = []
        if not row.keys() <= self._known:
            found.extend(self._unknown(name) for name in row if name not in self._known)
        if self.time_column is not None and self.time_column in row:
            found.extend(self._time_problems(row))
        if self._contract is not None:
            found.extend(problem.to_dict() for problem in self._contract.check(row))
        return found

    def _unknown(self, name: str) -> dict[str, Any]:
        name = name[:_SHOWN]
        message = f"{name!r} is no column of this model's data"
        return {"column": name, "rule": _UNKNOWN, "message": message}

    def _hinted(self, problem: dict[str, Any]) -> dict[str, Any]:
        """With what an unknown name may have meant. Looking that up is slow: only for what is told, by its beginning."""
        if problem["rule"] != _UNKNOWN:
            return problem
        import difflib

        near = difflib.get_close_matches(problem["column"], self._known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it reads {', '.join(self.features[:30])}"
        return {**problem, "hint": hint}

    def _time_problems(self, row: Row) -> list[dict[str, Any]]:
        column = self.time_column
        value = row[column] if column is not None else None
        if self._time_contract is not None:
            return [problem.to_dict() for problem in self._time_contract.check(row)]
        if value is None or (isinstance(value, str) and _is_time(value)):
            return []
        message = f"{column}: {str(value)[:60]!r} is no ISO 8601 time"
        return [{"column": column, "rule": f"{column}.type", "message": message}]


def _refuse(found: Sequence[tuple[int, dict[str, Any]]], *, total: int | None = None) -> None:
    if found:
        problems = [{"row": row, **problem} for row, problem in found[:MAX_PROBLEMS]]
        raise ContractViolation(problems, total=len(found) if total is None else total)


def _is_time(text: str) -> bool:
    return parse_time_text(text) is not None or parse_date_text(text) is not None


def parse_object(body: bytes, *, allowed: Sequence[str]) -> dict[str, Any]:
    """A JSON object with exactly the ``allowed`` keys.

    Raises:
        MalformedBody: No JSON (NaN and infinities are none), or a key twice in one object.
        UsageError: No object, a key missing or unknown.
    """
    return _object(load_json(body), allowed)


def _object(value: Any, allowed: Sequence[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError("the body is no JSON object", hint=f"send {_example(allowed)}")
    for key in value:
        if key not in allowed:
            import difflib

            near = difflib.get_close_matches(key[:_SHOWN], allowed, n=1)
            raise UsageError(
                f"the body has an unknown key {key[:60]!r}",
                hint=f"did you mean {near[0]!r}?" if near else f"send {_example(allowed)}",
            )
    for key in allowed:
        if key not in value:
            raise UsageError(f"the body lacks {key!r}", hint=f"send {_example(allowed)}")
    return value


def _example(keys: Sequence[str]) -> str:
    values = {"rows": "[{...}]", "truth": '[{"id": "...", "value": ...}]', "model": '"name"'}
    return "{" + ", ".join(f'"{key}": {values.get(key, "...")}' for key in keys) + "}"
