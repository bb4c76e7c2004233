"""What two versions answer on the same rows: rows tell more than two metrics of which model does what."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mlops_box.box import Box
from mlops_box.errors import BoxError
from mlops_box.models.values import GOLDEN_FILE, PACKED_FILE, ROWS_FILE, ModelVersion

if TYPE_CHECKING:
    from mlops_box.models.encode import Tensors
    from mlops_box.models.runtime import Output
    from mlops_box.models.signature import Signature

BINS = 12


@dataclass(frozen=True)
class AnswersDiff:
    """The answers of two versions to the same rows.

    Attributes:
        rows: How many rows both answered; ``None`` where one could not be run.
        source: Where the rows come from.
        problem: Why the answers could not be compared; ``None`` when they were.
        flipped: Rows with another label; ``None`` for regression.
        not_finite: Rows to which one of the two gave no finite number.
        mean_abs: Mean absolute difference: of the prediction in the target's unit, or of the class probability that
            differs most; ``None`` where no row has both numbers, or the classes are others.
        max_abs: The largest one.
        histogram: Rows in each of 12 equal bins from 0 to ``max_abs``.
    """

    rows: int | None
    source: str
    problem: str | None = None
    flipped: int | None = None
    not_finite: int | None = None
    mean_abs: float | None = None
    max_abs: float | None = None
    histogram: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Rows:
    """Rows of a version, to be encoded for any model."""

    source: str
    held: Any

    def encoded(self, signature: Signature) -> Tensors:
        from mlops_box.models.encode import encode_rows
        from mlops_box.models.encode_tables import encode_table

        return (
            encode_rows(self.held, signature)
            if isinstance(self.held, tuple)
            else encode_table(self.held, signature)
        )


def compare_answers(box: Box, a: ModelVersion, b: ModelVersion) -> AnswersDiff:
    """Run both versions over the reference rows of the newer one, or over its golden rows where it carries no others.

    What cannot be run or read is said in ``problem``, never raised.
    """
    newer = max((a, b), key=lambda version: (version.created_at, version.number))
    source = f"rows of {newer.ref}"
    problem = _incomparable(a.signature, b.signature)
    if problem is not None:
        return AnswersDiff(None, source, problem)
    try:
        rows = _rows(box, newer)
        source = rows.source
        answers = [_answer(box, version, rows) for version in (a, b)]
    except BoxError as error:
        return AnswersDiff(None, source, error.message)
    return differences(source, a.signature, answers[0], b.signature, answers[1])


def differences(source: str, a: Signature, of_a: Output, b: Signature, of_b: Output) -> AnswersDiff:
    """Hold the answers of two models to the same rows side by side; classes are told apart by their spelling."""
    import numpy as np

    flipped: int | None = None
    if a.task == "regression":
        one, other = _column(of_a.prediction), _column(of_b.prediction)
    else:
        names_a, names_b = _class_names(a), _class_names(b)
        pairs = zip(np.asarray(of_a.label).tolist(), np.asarray(of_b.label).tolist(), strict=True)
        flipped = sum(names_a[first] != names_b[second] for first, second in pairs)
        if set(names_a) != set(names_b):
            return AnswersDiff(of_a.rows, source, flipped=flipped)
        one = np.asarray(of_a.probability, dtype=np.float64)
        other = np.asarray(of_b.probability, dtype=np.float64)[:, [names_b.index(name) for name in names_a]]
    finite = (np.isfinite(one) & np.isfinite(other)).all(axis=1)
    apart = np.abs(one[finite] - other[finite]).max(axis=1)
    found = AnswersDiff(of_a.rows, source, None, flipped, int((~finite).sum()))
    if len(apart) == 0:
        return found
    largest = float(apart.max())
    counts = np.histogram(apart, BINS, (0.0, largest))[0] if largest > 0 else ()
    return AnswersDiff(
        found.rows, source, None, flipped, found.not_finite, float(apart.mean()), largest,
        tuple(int(count) for count in counts),
    )  # fmt: skip


def _incomparable(a: Signature, b: Signature) -> str | None:
    if a.task != b.task:
        return f"one is a {a.task} model, the other {b.task}"
    if a.target != b.target:
        return f"one predicts {a.target!r}, the other {b.target!r}"
    return None


def _rows(box: Box, version: ModelVersion) -> _Rows:
    from mlops_box.models.golden import Golden
    from mlops_box.monitoring.reservoir import rows_from_bytes

    if ROWS_FILE in version.files:
        held = rows_from_bytes(box.models.file(version, ROWS_FILE))
        return _Rows(f"reference rows of {version.ref}", held)
    if GOLDEN_FILE in version.files:
        golden = Golden.from_json(box.models.file(version, GOLDEN_FILE))
        return _Rows(f"golden rows of {version.ref}", golden.rows)
    raise BoxError(f"{version.ref} carries neither {ROWS_FILE} nor {GOLDEN_FILE}: there are no rows to run")


def _answer(box: Box, version: ModelVersion, rows: _Rows) -> Output:
    from mlops_box.models.runtime import OnnxModel

    if PACKED_FILE not in version.files:
        raise BoxError(f"{version.ref} cannot be run: it has no {PACKED_FILE}")
    try:
        model = OnnxModel(box.models.file(version, PACKED_FILE), version.signature)
        return model.predict(rows.encoded(version.signature))
    except BoxError as error:
        raise BoxError(f"{version.ref} cannot be run on the {rows.source}: {error.message}") from error


def _class_names(signature: Signature) -> tuple[str | None, ...]:
    from mlops_box.models.encode import category_text

    return tuple(category_text(value) for value in signature.classes or ())


def _column(values: Any) -> Any:
    import numpy as np

    return np.asarray(values, dtype=np.float64).reshape(-1, 1)
