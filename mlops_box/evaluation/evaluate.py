"""How well an exported model does on the held-out rows: overall, on slices, and beside the champion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mlops_box.canonical import canonical_json
from mlops_box.evaluation.calibration import Reliability, Residuals, reliability, residuals
from mlops_box.evaluation.compare import Comparison
from mlops_box.evaluation.importance import Importance
from mlops_box.evaluation.metrics import DEFAULT_METRIC, class_index, compute_metrics
from mlops_box.evaluation.slices import Slice, slice_by
from mlops_box.models.encode import Tensors, category_text
from mlops_box.models.encode_tables import encode_table
from mlops_box.models.runtime import OnnxModel, Output
from mlops_box.models.values import Signature
from mlops_box.project import Gates, Task

MAX_SHOWN_SLICES = 4


@dataclass(frozen=True)
class Answers:
    """The held-out rows as the exported model sees and answers them.

    Attributes:
        table: The rows.
        truth: [n]; their targets.
        tensors: The rows, encoded.
        output: The model's answers.
    """

    table: pa.Table
    truth: npt.NDArray[Any]
    tensors: Tensors
    output: Output


@dataclass(frozen=True)
class Evaluation:
    """What is kept of an evaluation, as ``evaluation.json`` of the version.

    Attributes:
        reliability: Of a classifier; versions trained before it was kept have none.
        residuals: Of a regression; as ``reliability``.
    """

    task: Task
    rows_train: int
    rows_test: int
    metrics: dict[str, float]
    slices: tuple[Slice, ...]
    comparison: Comparison | None
    importance: tuple[Importance, ...] = ()
    reliability: Reliability | None = None
    residuals: Residuals | None = None

    def to_json(self) -> str:
        return canonical_json({"format": 1, **asdict(self)})


def answer(model: OnnxModel, test: pa.Table) -> Answers:
    """Run the exported model, the one that will serve, over the held-out rows."""
    signature = model.signature
    tensors = encode_table(test, signature)
    return Answers(test, truth_of(test, signature), tensors, model.predict(tensors))


def truth_of(table: pa.Table, signature: Signature) -> npt.NDArray[Any]:
    """[n]; the target column: float64 for regression, values as they are otherwise."""
    column = table.column(signature.target)
    if signature.task == "regression":
        numbers: npt.NDArray[Any] = pc.cast(column, pa.float64(), safe=False).to_numpy()
        return numbers
    return np.array(column.to_pylist(), dtype=object)


def measure(
    answers: Answers, signature: Signature, *, by: Sequence[str]
) -> tuple[dict[str, float], tuple[Slice, ...]]:
    """(metrics of all held-out rows, metrics of the slices by each of these columns)."""
    metrics = compute_metrics(
        signature.task, truth=answers.truth, output=answers.output, classes=signature.classes
    )
    slices: list[Slice] = []
    for column in by:
        slices += slice_by(
            answers.table,
            column,
            signature.task,
            truth=answers.truth,
            output=answers.output,
            classes=signature.classes,
        )
    return metrics, tuple(slices)


def calibrate(answers: Answers, signature: Signature) -> tuple[Reliability | None, Residuals | None]:
    """How far the answers mean what they say: of classes the reliability, of a regression the errors."""
    output = answers.output
    if signature.classes is None:
        prediction = np.asarray(output.prediction, dtype=np.float64)
        return None, residuals(answers.truth, prediction, target=signature.target)
    assert output.probability is not None
    index = class_index(answers.truth, signature.classes)
    probability = np.asarray(output.probability, dtype=np.float64)
    if signature.task == "binary":
        event = f"{signature.target} = {category_text(signature.classes[1])}"
        return reliability(probability[:, 1], index == 1, event=event), None
    event = f"its answer for {signature.target} is right"
    return reliability(probability.max(axis=1), index == output.label, event=event), None


def slice_columns(gates: Gates, signature: Signature) -> tuple[str, ...]:
    """The columns of the slice gates; then, to look at, categorical features up to four columns in all."""
    declared = dict.fromkeys(gate.by for gate in gates.slice)
    shown = [name for name in signature.categorical if name not in declared]
    return (*declared, *shown[: max(MAX_SHOWN_SLICES - len(declared), 0)])


def leading_metric(gates: Gates, task: Task) -> str:
    """The metric that this project cares about most: the champion gate's, else the first gate's, else the task's."""
    if gates.champion:
        return gates.champion.metric
    return next(iter(gates.metrics), DEFAULT_METRIC[task])
