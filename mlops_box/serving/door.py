"""The online door: the same contract that guarded training, one row at a time."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import orjson

from mlops_box.data.rows import RowContract, RowProblem
from mlops_box.data.times import parse_date_text, parse_time_text
from mlops_box.errors import UsageError
from mlops_box.models.values import Signature
from mlops_box.project import Project
from mlops_box.serving.problems import MAX_PROBLEMS, ContractViolation

Row = dict[str, Any]
DEFAULT_MAX_ROWS = 1024


class Door:
    """Checks the rows of one request before they join a batch.

    A row holds the model's features and may hold other columns of the data (time, key, target, anything with a rule); a
    key that is none of these is a mistake and refused. A feature that is absent counts as null.

    Args:
        project: The declaration whose contract applies; ``None`` knows the signature only.
    """

    def __init__(self, signature: Signature, project: Project | None):
        features = [feature.name for feature in signature.features]
        self._features = features
        self._known = frozenset(features) | {signature.target}
        self._contract: RowContract | None = None
        self._time_contract: RowContract | None = None
        self.time_column: str | None = None
        self.max_rows = DEFAULT_MAX_ROWS
        if project is not None:
            self._contract = RowContract(project.data.contract, features)
            self.time_column = project.data.time
            self.max_rows = project.serve.max_rows
            self._known |= {*project.data.contract.columns, *project.data.key}
            if self.time_column:
                self._known |= {self.time_column}
                if self.time_column in project.data.contract.columns:
                    self._time_contract = RowContract(project.data.contract, [self.time_column])

    def parse(self, body: bytes) -> list[Row]:
        """The rows of ``{"rows": [{...}]}``, checked.

        Raises:
            UsageError: The body is no JSON of that form.
            ContractViolation: See :meth:`check`.
        """
        return self.checked(parse_object(body, allowed=("rows",))["rows"])

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
        if not rows:
            raise UsageError(
                "there is no row to predict", hint='send {"rows": [{...}]} with at least one row'
            )
        if len(rows) > self.max_rows:
            raise UsageError(
                f"{len(rows)} rows are more than the {self.max_rows} one request may carry",
                hint="send fewer at a time, score a file (mlops-box score), or raise max_rows under [serve]",
            )
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
            raise ContractViolation(problems, total=total)

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
            found.extend(_told(problem) for problem in self._contract.check(row))
        return found

    def _unknown(self, name: str) -> dict[str, Any]:
        near = difflib.get_close_matches(name, self._known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it reads {', '.join(self._features[:30])}"
        return {
            "column": name, "rule": "unknown_column",
            "message": f"{name!r} is no column of this model's data", "hint": hint,
        }  # fmt: skip

    def _time_problems(self, row: Row) -> list[dict[str, Any]]:
        column = self.time_column
        value = row[column] if column is not None else None
        if self._time_contract is not None:
            return [_told(problem) for problem in self._time_contract.check(row)]
        if value is None or (isinstance(value, str) and _is_time(value)):
            return []
        message = f"{column}: {str(value)[:60]!r} is no ISO 8601 time"
        return [{"column": column, "rule": f"{column}.type", "message": message}]


def _told(problem: RowProblem) -> dict[str, Any]:
    return {"column": problem.column, "rule": problem.rule, "message": problem.message}


def _is_time(text: str) -> bool:
    return parse_time_text(text) is not None or parse_date_text(text) is not None


def parse_object(body: bytes, *, allowed: Sequence[str]) -> dict[str, Any]:
    """A JSON object with exactly the ``allowed`` keys.

    Raises:
        UsageError: No JSON (NaN and infinities are none), no object, a key missing or unknown.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"the body is no JSON: {error}", hint=f"send {_example(allowed)}") from None
    if not isinstance(value, dict):
        raise UsageError("the body is no JSON object", hint=f"send {_example(allowed)}")
    for key in value:
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, n=1)
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
