"""The parity gate: the exported graphs against the trained model itself, on rows of the original types.

Wrong exports happen without an error, so each export is tried on training and held-out rows, on the rows where each number
is smallest and largest, and on copies with missing values and categories never seen.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlops_box.models.encode import Tensors
from mlops_box.models.golden import Golden
from mlops_box.models.runtime import LABEL, PREDICTION, PROBABILITY, OnnxModel, Output
from mlops_box.models.values import Signature

# A row differs when its answer is off by more than this: absolutely for probabilities, and for predictions in relation to
# the prediction and the spread of the target.
TOLERANCE = 1e-4
ROWS_OVER_ALLOWED = 0.001
# Labels may differ where the two likeliest classes are this close: there, one bit decides.
TIE_BAND = 2e-6
PLAIN_ROWS = 1000
GOLDEN_ROWS = 64
UNSEEN_TEXT = "\u2205 never seen"

Row = dict[str, Any]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class VariantParity:
    """One graph against the trained model.

    Attributes:
        max_abs_difference: Of a prediction or a probability.
        p99_abs_difference: 99 % of the rows differ by less.
        rows_over: Rows that differ by more than the tolerance.
        label_mismatches: Rows with another label although no tie explains it.
    """

    variant: str
    rows: int
    max_abs_difference: float
    p99_abs_difference: float
    rows_over: int
    label_mismatches: int
    passed: bool


@dataclass(frozen=True)
class ParityReport:
    """The verdict over all graphs, and what it rests on."""

    passed: bool
    rows: int
    max_abs_difference: float
    tolerance: float
    variants: tuple[VariantParity, ...]

    def message(self) -> str:
        """One sentence for people."""
        if self.passed:
            return f"the export equals the trained model on {self.rows} rows (largest difference {self.max_abs_difference:.2g})"
        worst = max(self.variants, key=lambda item: (item.rows_over, item.label_mismatches))
        return (
            f"the {worst.variant} export differs from the trained model on {worst.rows_over} of {worst.rows} rows, by up to "
            f"{worst.max_abs_difference:.3g}, and in {worst.label_mismatches} labels (a scaler or PCA in front of trees "
            "does this, the box scales already; and so do neighbours at equal distance)"
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


def parity_rows(
    table: pa.Table, signature: Signature, train: Any, test: Any, *, seed: int
) -> tuple[Row, ...]:
    """Rows of the original types to compare on; the same for the same data and seed."""
    names = [feature.name for feature in signature.features]
    chosen = [*_spread(train, PLAIN_ROWS), *_spread(test, PLAIN_ROWS), *_extremes(table, signature, train)]
    features = table.select(names)
    plain = features.take(pa.array(chosen, type=pa.int64())).to_pylist()
    generator = np.random.default_rng(seed)
    damaged = [_damage(row, signature, generator) for row in plain[: PLAIN_ROWS // 2]]
    empty: Row = dict.fromkeys(names)
    return tuple(_jsonable(row) for row in (*plain, *damaged, empty))


def compare(
    native: Output, named: bytes, packed: OnnxModel, tensors: Tensors, *, spread: float
) -> ParityReport:
    """Hold both graphs against the trained model's own answers.

    Args:
        native: What the trained model says of ``tensors``.
        named: The graph with one input a feature.
        packed: The graph with two inputs.
        tensors: The rows to compare on.
        spread: Standard deviation of the target; 1 for classification.
    """
    answers = {"named": run_named(named, packed.signature, tensors), "packed": packed.predict(tensors)}
    variants = tuple(_variant(name, native, answer, spread) for name, answer in answers.items())
    return ParityReport(
        passed=all(item.passed for item in variants),
        rows=tensors.rows,
        max_abs_difference=max(item.max_abs_difference for item in variants),
        tolerance=TOLERANCE,
        variants=variants,
    )


def choose_golden(rows: tuple[Row, ...], native: Output, packed: Output, *, spread: float) -> Golden:
    """About 64 rows with the trained model's answers: plain, extreme and damaged ones.

    Rows on which a permitted difference shows are left out, so that every later difference means another model.
    """
    over, mismatched = _wrong_rows(native, packed, spread)
    usable = np.flatnonzero(~(over | mismatched))
    if len(usable) == 0:
        usable = np.arange(len(rows))
    places = _spread(usable, GOLDEN_ROWS - 1)
    if usable[-1] not in places:
        places.append(int(usable[-1]))
    prediction, probability = native.prediction, native.probability
    return Golden(
        rows=tuple(rows[place] for place in places),
        prediction=tuple(float(prediction[place]) for place in places) if prediction is not None else None,
        probability=tuple(tuple(float(value) for value in probability[place]) for place in places)
        if probability is not None
        else None,
        atol=TOLERANCE * spread,
        rtol=TOLERANCE if prediction is not None else 0.0,
    )


def run_named(named: bytes, signature: Signature, tensors: Tensors) -> Output:
    """The answers of the graph with one input a feature."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(named, options, providers=["CPUExecutionProvider"])
    feed: dict[str, Any] = {}
    for names, part in ((signature.numeric, tensors.numeric), (signature.categorical, tensors.text)):
        for index, name in enumerate(names):
            feed[name] = part[:, index : index + 1] if part is not None else None
    if signature.classes is None:
        return Output(prediction=session.run([PREDICTION], feed)[0])
    label, probability = session.run([LABEL, PROBABILITY], feed)
    return Output(label=label, probability=probability)


def _variant(name: str, native: Output, answer: Output, spread: float) -> VariantParity:
    expected, given = _numbers(native), _numbers(answer)
    difference = np.abs(given - expected).max(axis=1)
    # A row that is not a number here and a number there differs without bound.
    difference = np.where(np.isnan(difference), np.inf, difference)
    over, mismatched = _wrong_rows(native, answer, spread)
    rows_over, mismatches = int(over.sum()), int(mismatched.sum())
    return VariantParity(
        variant=name,
        rows=len(expected),
        max_abs_difference=_finite(difference.max()),
        p99_abs_difference=_finite(np.quantile(difference, 0.99, method="higher")),
        rows_over=rows_over,
        label_mismatches=mismatches,
        passed=rows_over <= ROWS_OVER_ALLOWED * len(expected) and mismatches == 0,
    )


def _wrong_rows(
    native: Output, answer: Output, spread: float
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which rows differ by more than the tolerance, and which have another label without a tie."""
    expected, given = _numbers(native), _numbers(answer)
    if native.probability is None:
        limit = TOLERANCE * (np.abs(expected) + spread)
        return _any_over(given - expected, limit), np.zeros(len(expected), dtype=np.bool_)
    over = _any_over(given - expected, np.full((1, 1), TOLERANCE))
    ordered = np.sort(expected, axis=1)
    tie = ordered[:, -1] - ordered[:, -2] <= TIE_BAND
    assert native.label is not None
    assert answer.label is not None
    return over, (native.label != answer.label) & ~tie


def _any_over(difference: Float64, limit: Float64) -> npt.NDArray[np.bool_]:
    """Written so that NaN, which compares false with everything, is over."""
    within: npt.NDArray[np.bool_] = np.abs(difference) <= limit
    return np.asarray(~np.all(within, axis=1), dtype=np.bool_)


def _numbers(output: Output) -> Float64:
    if output.probability is not None:
        return output.probability.astype(np.float64)
    assert output.prediction is not None
    return output.prediction.reshape(-1, 1).astype(np.float64)


def _spread(indices: Any, count: int) -> list[int]:
    """At most ``count`` of ``indices``, evenly over their order."""
    if len(indices) <= count:
        return [int(index) for index in indices]
    places = np.linspace(0, len(indices) - 1, count).astype(np.int64)
    return [int(indices[place]) for place in places]


def _extremes(table: pa.Table, signature: Signature, train: Any) -> list[int]:
    """The training rows where each numeric feature is smallest and largest."""
    import pyarrow.compute as pc

    found: list[int] = []
    for name in signature.numeric:
        column = table.column(name).take(pa.array(train))
        values = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        if not np.isnan(values).all():
            found += [int(train[np.nanargmin(values)]), int(train[np.nanargmax(values)])]
    return found


def _damage(row: Row, signature: Signature, generator: np.random.Generator) -> Row:
    """A copy with about a quarter of its values missing, or of a category never seen."""
    damaged = dict(row)
    hit = generator.random(len(signature.features)) < 0.25
    hit[generator.integers(len(hit))] = True
    unseen = generator.random(len(hit)) < 0.5
    for feature, is_hit, is_unseen in zip(signature.features, hit, unseen, strict=True):
        if is_hit:
            damaged[feature.name] = UNSEEN_TEXT if feature.kind == "categorical" and is_unseen else None
    return damaged


def _jsonable(row: Row) -> Row:
    """Values that JSON can hold: no NaN, no infinity, no decimals."""
    return {name: _json_value(value) for name, value in row.items()}


def _json_value(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    number = float(value)
    return number if math.isfinite(number) else None


def _finite(value: Any) -> float:
    """JSON has no infinity; the largest float stands for it."""
    return float(min(value, np.finfo(np.float64).max))
