"""From a checked table and a declaration to what a trainer reads: kinds of features, and the target as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mlops_box.errors import TrainingError
from mlops_box.models.signature import Feature, Kind
from mlops_box.project import Model, Task

MIN_ROWS = 10
MAX_CLASSES = 1000
# Names that the exported graph gives its outputs.
RESERVED = ("prediction", "probability", "label")

Indices = npt.NDArray[np.int64]
ClassLabel = str | int | bool


@dataclass(frozen=True)
class Target:
    """The answers to learn, and the rows that have one.

    Attributes:
        values: [train rows]: float64 for regression, int64 indices into ``classes`` otherwise.
        classes: Sorted; ``None`` for regression.
        train: Indices into the table: the training rows that have an answer.
        test: Indices into the table: the held-out rows that have an answer.
    """

    values: npt.NDArray[np.float64] | npt.NDArray[np.int64]
    classes: tuple[ClassLabel, ...] | None
    train: Indices
    test: Indices


def declared_features(table: pa.Table, model: Model, types: dict[str, str]) -> tuple[Feature, ...]:
    """The model's inputs with their kinds, in the declared order; ``values`` are not known yet.

    Raises:
        TrainingError: A feature is absent, is a time, or has the name of an output.
    """
    return tuple(_feature(table, model, name, types.get(name)) for name in model.features)


def read_target(table: pa.Table, model: Model, train: Indices, test: Indices) -> Target:
    """The target of the training rows; rows without one are left out.

    Raises:
        TrainingError: The target is absent, empty, of one class only, or does not fit the task.
    """
    if model.target not in table.column_names:
        raise TrainingError(f"the data have no column {model.target!r}, the target")
    column = table.column(model.target)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    known = pc.is_valid(column).to_numpy(zero_copy_only=False)
    if pa.types.is_floating(column.type):
        known &= ~np.isnan(column.to_numpy(zero_copy_only=False))
    if not known.any():
        raise TrainingError(f"the target {model.target!r} has no value in any row")
    train, test = train[known[train]], test[known[test]]
    if len(train) < MIN_ROWS:
        raise TrainingError(
            f"only {len(train)} training rows have a target; at least {MIN_ROWS} are needed",
            hint="more data, or a smaller [model.split].test",
        )
    answers = column.take(pa.array(train))
    if model.task == "regression":
        return Target(_numbers(answers, model.target), None, train, test)
    values = _class_values(answers, model.target)
    classes = tuple(sorted(set(values)))
    _check_classes(classes, model.task, model.target)
    index = {value: position for position, value in enumerate(classes)}
    return Target(np.array([index[value] for value in values], dtype=np.int64), classes, train, test)


def _feature(table: pa.Table, model: Model, name: str, declared: str | None) -> Feature:
    if name not in table.column_names:
        raise TrainingError(
            f"the data have no column {name!r}, a feature",
            hint=f"they have: {', '.join(table.column_names[:20])}",
        )
    if name in RESERVED:
        raise TrainingError(
            f"a feature may not be called {name!r}: an output of the exported model is",
            hint="give it another name in [data].query",
        )
    kind_of_column = declared or _contract_type(table.schema.field(name).type)
    if kind_of_column in ("timestamp", "date"):
        raise TrainingError(
            f"feature {name!r} is a {kind_of_column}; models read numbers and categories",
            hint=f"derive numbers in [data].query, for example: select hour({name}) as hour, * from source",
        )
    kind: Kind = "categorical" if kind_of_column == "varchar" or name in model.categorical else "numeric"
    return Feature(name, kind, kind_of_column)


def _contract_type(arrow: Any) -> str:
    if pa.types.is_boolean(arrow):
        return "boolean"
    if pa.types.is_integer(arrow):
        return "bigint"
    if pa.types.is_timestamp(arrow):
        return "timestamp"
    if pa.types.is_date(arrow):
        return "date"
    return "double" if pa.types.is_floating(arrow) or pa.types.is_decimal(arrow) else "varchar"


def _numbers(answers: Any, target: str) -> npt.NDArray[np.float64]:
    kind = answers.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise TrainingError(
            f"the target {target!r} is {kind}; regression learns numbers",
            hint='cast it in [data].query, or set task = "binary" or "multiclass"',
        )
    values: npt.NDArray[np.float64] = pc.cast(answers, pa.float64(), safe=False).to_numpy(
        zero_copy_only=False
    )
    if not np.isfinite(values).all():
        raise TrainingError(
            f"the target {target!r} has infinite values in {int((~np.isfinite(values)).sum())} rows"
        )
    return values


def _class_values(answers: Any, target: str) -> list[ClassLabel]:
    values = answers.to_pylist()
    if pa.types.is_floating(answers.type) or pa.types.is_decimal(answers.type):
        # A column of whole numbers with gaps is often read as double.
        fractions = [value for value in values if value != int(value)] if _finite(values) else values
        if fractions:
            raise TrainingError(
                f"the target {target!r} has values like {fractions[0]:g}, which name no class",
                hint='set task = "regression", or derive classes in [data].query',
            )
        return [int(value) for value in values]
    if not all(isinstance(value, str | int | bool) for value in values):
        raise TrainingError(
            f"the target {target!r} is {answers.type}, which names no class", hint="cast it in [data].query"
        )
    return values  # type: ignore[no-any-return]


def _finite(values: list[Any]) -> bool:
    return bool(np.isfinite(np.asarray(values, dtype=np.float64)).all())


def _check_classes(classes: tuple[ClassLabel, ...], task: Task, target: str) -> None:
    if len(classes) == 1:
        raise TrainingError(
            f"the target {target!r} is {classes[0]!r} in every training row: there is nothing to tell apart",
            hint="more data; where split by time, the other class may lie in the test rows only",
        )
    if task == "binary" and len(classes) > 2:
        shown = ", ".join(repr(value) for value in classes[:5])
        raise TrainingError(
            f"the target {target!r} has {len(classes)} classes ({shown} ...), a binary task has two",
            hint='set task = "multiclass", or derive two classes in [data].query',
        )
    if len(classes) > MAX_CLASSES:
        raise TrainingError(
            f"the target {target!r} has {len(classes)} classes; at most {MAX_CLASSES} can be learnt",
            hint='is it an identifier, or a number (task = "regression")?',
        )
