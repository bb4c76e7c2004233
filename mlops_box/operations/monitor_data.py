"""Are the live data whole? The contract's rules, broken sensors, missing values, and answers that are no numbers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from mlops_box.monitoring.values import DataFinding, Finding
from mlops_box.project import Project

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

NOT_FINITE_LIMIT = 0.01
_FEATURE = "feature:"


def judge_data(rows: pa.Table, drift: Finding, *, minimum: int, declaration: Project | None) -> DataFinding:
    """Judge a window's rows.

    Every row passed the contract that was declared when it was served; the contract as it stands today may be stricter,
    and rows from a device passed none.

    Args:
        rows: The window's predictions.
        drift: What was found of its columns.
        minimum: A smaller window says *cannot tell*.
        declaration: Where the contract is declared.
    """
    import pyarrow.compute as pc

    count = rows.num_rows
    not_finite = int(pc.sum(pc.equal(rows["outcome"], "not_finite")).as_py() or 0)
    if count < minimum:
        return DataFinding("cannot_tell", count, not_finite, (), f"{count} rows, {minimum} are needed")
    violations, allowed = broken_rules(rows, declaration), _allowed(declaration)
    problems = [f"{name}: {fault.message}" for name, fault in drift.faults.items()]
    problems += [
        f"{name}: {_missing_text(drift, name)}" for name in drift.missing if name not in drift.faults
    ]
    problems += [
        f"{rule} is broken by {broken} of {count} rows"
        for rule, broken in violations.items()
        if broken > allowed * count
    ]
    if not_finite > NOT_FINITE_LIMIT * count:
        problems.append(f"{not_finite} of {count} answers were no finite numbers")
    broken_columns = tuple(drift.faults)
    if problems:
        return DataFinding(
            "bad", count, not_finite, drift.missing, "; ".join(problems), broken_columns, violations
        )
    fine = "no more missing values than in the reference"
    return DataFinding("fine", count, not_finite, (), fine, (), violations)


def broken_rules(rows: pa.Table, declaration: Project | None) -> dict[str, int]:
    """How many rows break each rule of the contract, under the rule ids that every door uses."""
    if declaration is None:
        return {}
    from mlops_box.data.arrays import ArrayContract
    from mlops_box.data.rows import RowContract

    declared = declaration.data.contract.columns
    features = [
        name
        for name in declaration.model.features
        if name in declared and _FEATURE + name in rows.column_names and name not in declaration.serve.redact
    ]
    contract = RowContract(declared, features)
    columns = {name: _as_declared(rows[_FEATURE + name], declared[name].type) for name in features}
    found = ArrayContract(contract).check(columns, rows.num_rows)
    return dict(sorted(Counter(problem.rule for _, problem in found).items()))


def _as_declared(column: pa.ChunkedArray, kind: str) -> np.ndarray[Any, Any]:
    """A logged column in the type the contract declares: the log holds numbers as doubles and categories as texts."""
    import numpy as np
    import pyarrow as pa

    if pa.types.is_floating(column.type) and kind != "boolean":
        values: np.ndarray[Any, Any] = column.to_numpy().astype(np.float64)
        # A client's tensor may have been float32, which cannot hold 0.1; bounds are rounded alike.
        with np.errstate(over="ignore"):
            return values.astype(np.float32) if kind == "double" else values
    encoded = column.combine_chunks().dictionary_encode()
    known = np.array([*(_value(text, kind) for text in encoded.dictionary.to_pylist()), None], dtype=object)
    places = encoded.indices.fill_null(len(known) - 1).to_numpy(zero_copy_only=False)
    typed: np.ndarray[Any, Any] = known[places]
    return typed


def _value(logged: Any, kind: str) -> Any:
    """One logged value in its declared type; what does not fit stays as it is, and breaks the rule."""
    if logged == "" or logged != logged:
        return None
    if kind == "boolean":
        return {"true": True, "false": False, 1.0: True, 0.0: False}.get(logged, logged)
    if isinstance(logged, str) and kind in ("bigint", "double"):
        try:
            return int(logged) if kind == "bigint" else float(logged)
        except ValueError:
            return logged
    return logged


def _allowed(declaration: Project | None) -> float:
    """The share of bad rows that a batch may hold."""
    return declaration.data.contract.quarantine if declaration else 0.0


def _missing_text(drift: Finding, name: str) -> str:
    return next(test.message for test in drift.feature(name).tests if test.test == "missing")
