"""Fits a scikit-learn estimator on the feature matrix and turns it into a graph."""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlops_box.errors import TrainingError
from mlops_box.models.encode import Float32
from mlops_box.models.runtime import Output
from mlops_box.project import Task
from mlops_box.training.graph import ML_OPSET, OPSET, Core
from mlops_box.training.inputs import Target
from mlops_box.training.lint import final_step, needs_exponential, parts_of
from mlops_box.training.threads import limited_threads, thread_count

Predict = Callable[[Float32], Output]


@dataclass(frozen=True)
class FittedCore:
    """A trained model, twice: as the library runs it and as a graph.

    Attributes:
        core: The graph from the feature matrix on.
        predict: The library's own answer for a feature matrix: the truth that the graph is held against.
        notes: What the library warned of, each once.
        facts: What training did, for the record (epochs, device, estimator ...).
    """

    core: Core
    predict: Predict
    notes: tuple[str, ...]
    facts: dict[str, Any]


def fit_sklearn(estimator: Any, matrix: Float32, target: Target, task: Task, *, seed: int) -> FittedCore:
    """Fit a clone of ``estimator``; every ``random_state`` that is ``None`` becomes ``seed``.

    Raises:
        TrainingError: The estimator refuses the data, or its conversion fails.
    """
    from sklearn.base import clone

    fresh = clone(estimator)
    _settle(fresh, seed)
    with global_seeds(seed), limited_threads(matrix.size), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fresh.fit(matrix, target.values)
        except Exception as error:
            raise TrainingError(
                f"{type(fresh).__name__} cannot be trained: {_first_lines(error)}", hint=_class_hint(target)
            ) from error
    _round_thresholds(final_step(fresh))
    notes = tuple(dict.fromkeys(_first_lines(item.message) for item in caught if _tells_user(item.category)))
    predict = (
        _regression(fresh) if task == "regression" else _classification(fresh, len(target.classes or ()))
    )
    facts = {
        "trainer": "scikit-learn",
        "estimator": " ".join(str(fresh).split())[:2000],
        "threads": thread_count(matrix.size),
    }
    return FittedCore(convert(fresh, matrix.shape[1], task), predict, notes, facts)


def convert(fitted: Any, width: int, task: Task) -> Core:
    """The graph of a fitted estimator over a float32 matrix of ``width`` columns.

    Raises:
        TrainingError: skl2onnx cannot convert it.
    """
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType

    options = {} if task == "regression" else {id(fitted): {"zipmap": False}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = convert_sklearn(
                fitted,
                name="core",
                initial_types=[("features", FloatTensorType([None, width]))],
                target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
                options=options,
            )
    except Exception as error:
        raise TrainingError(
            f"{type(final_step(fitted)).__name__} cannot be exported to ONNX: {_first_lines(error)}",
            hint="use another estimator or other parameters: a version that cannot be exported cannot be served",
        ) from error
    outputs = [item.name for item in model.graph.output]
    output = outputs[0] if task == "regression" else outputs[-1]
    return Core(model, output, "exp" if needs_exponential(fitted) else "identity")


@contextlib.contextmanager
def global_seeds(seed: int) -> Iterator[None]:
    """Python's and numpy's global generators, seeded within the block and put back afterwards."""
    # The legacy generator is meant: it is the one that code without a random_state draws from.
    python, legacy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)


def _settle(estimator: Any, seed: int) -> None:
    unset = {
        name: seed
        for name, value in estimator.get_params(deep=True).items()
        if (name == "random_state" or name.endswith("__random_state")) and value is None
    }
    estimator.set_params(**unset)
    for part in parts_of(estimator):
        # It shapes transform() only, which is never called here; the converter refuses any other value.
        if type(part).__name__ == "VotingClassifier":
            part.set_params(flatten_transform=False)


def _round_thresholds(estimator: Any) -> None:
    """Histogram trees: thresholds become the largest float32 that is not above them.

    The exporter rounds them to the nearest, which may be the very value that has to fall on the other side. For float32
    rows ``x <= threshold`` says the same before and after, so the trained model's answers do not change.
    """
    for trees in getattr(estimator, "_predictors", ()):
        for tree in trees:
            exact = tree.nodes["num_threshold"]
            rounded = exact.astype(np.float32)
            below = np.nextafter(rounded, np.float32(-np.inf))
            tree.nodes["num_threshold"] = np.where(rounded > exact, below, rounded)


def _regression(estimator: Any) -> Predict:
    def predict(matrix: Float32) -> Output:
        with limited_threads(matrix.size):
            answer = np.asarray(estimator.predict(matrix))
        return Output(prediction=answer.reshape(-1).astype(np.float32))

    return predict


def _classification(estimator: Any, classes: int) -> Predict:
    def predict(matrix: Float32) -> Output:
        with limited_threads(matrix.size):
            probability = np.asarray(estimator.predict_proba(matrix)).astype(np.float32)
        if probability.shape[1] != classes:
            raise TrainingError(
                f"{type(estimator).__name__} gives {probability.shape[1]} probabilities for {classes} classes"
            )
        return Output(label=probability.argmax(axis=1).astype(np.int64), probability=probability)

    return predict


def _class_hint(target: Target) -> str | None:
    if target.classes is None:
        return None
    numbered = ", ".join(f"{value!r} = {index}" for index, value in enumerate(target.classes[:10]))
    return f"the estimator sees classes as numbers: {numbered}"


def _tells_user(category: type[Warning]) -> bool:
    return not issubclass(category, DeprecationWarning | FutureWarning | PendingDeprecationWarning)


def _first_lines(error: object) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
