"""The export linter: refuses, before any training, what cannot be exported or is known to be exported wrongly.

What it cannot know is caught after training by the parity gate. Measured with scikit-learn 1.9 and skl2onnx 1.20:
HistGradientBoosting with ``categorical_features`` is off by up to 11.6, with loss poisson or gamma by 5.8 (the exporter
forgets the exponential; it is appended where the estimator is the last step); probabilities of a binary
LinearDiscriminantAnalysis by 0.15.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlops_box.errors import TrainingError
from mlops_box.project import Task

_LOG_LINKED = ("poisson", "gamma")
_INSTEAD = {
    "LinearSVC": "CalibratedClassifierCV(LinearSVC())",
    "RidgeClassifier": "CalibratedClassifierCV(RidgeClassifier()), or LogisticRegression",
    "Perceptron": "LogisticRegression",
    "SVC": "CalibratedClassifierCV(SVC(), ensemble=False)",
    "VotingClassifier": 'VotingClassifier(..., voting="soft")',
    "SGDClassifier": 'SGDClassifier(loss="log_loss")',
    "TransformedTargetRegressor": "the estimator alone, with the target transformed in [data].query",
    "SplineTransformer": "PolynomialFeatures or KBinsDiscretizer",
    "FunctionTransformer": "an SQL expression in [data].query",
    "XGBClassifier": "HistGradientBoostingClassifier",
    "XGBRegressor": "HistGradientBoostingRegressor",
    "LGBMClassifier": "HistGradientBoostingClassifier",
    "LGBMRegressor": "HistGradientBoostingRegressor",
    "TunedThresholdClassifierCV": "the classifier alone: its label is the likeliest class",
    "FixedThresholdClassifier": "the classifier alone: its label is the likeliest class",
}
_CONTAINERS = ("Pipeline", "ColumnTransformer", "FeatureUnion")


def check_estimator(estimator: Any, task: Task) -> None:
    """Refuse an unfitted estimator that does not fit the task or will not survive export.

    Raises:
        TrainingError: Names the estimator and what to use in its place.
    """
    from sklearn.base import is_classifier, is_regressor

    name = type(estimator).__name__
    if not all(hasattr(estimator, method) for method in ("fit", "get_params")):
        raise TrainingError(
            f"the training function returned {name}, which is no scikit-learn estimator and no TorchRecipe",
            hint="return an unfitted estimator or pipeline, or mlops_box.training.TorchRecipe(...)",
        )
    if task == "regression" and not is_regressor(estimator):
        raise TrainingError(f"the task is regression, but {name} is no regressor", hint="return a regressor")
    if task != "regression" and not is_classifier(estimator):
        raise TrainingError(f"the task is {task}, but {name} is no classifier", hint="return a classifier")
    for part in parts_of(estimator):
        _check_part(part)
    if task != "regression":
        _check_probabilities(estimator, task)
    for part in parts_of(estimator):
        if _has_log_link(part) and part is not final_step(estimator):
            raise TrainingError(
                f"{type(part).__name__}(loss={part.loss!r}) within {name} is exported wrongly (its exponential is lost)",
                hint='return it alone or as the last step of a pipeline, or use loss="squared_error"',
            )


def _check_probabilities(estimator: Any, task: Task) -> None:
    last = final_step(estimator)
    name = type(last).__name__
    # A stack without a final estimator only knows after fitting that it has probabilities.
    if not hasattr(estimator, "predict_proba") and getattr(last, "final_estimator", last) is not None:
        raise TrainingError(
            f"{name} gives no probabilities, which evaluation, gates and serving need",
            hint=f"use {_INSTEAD.get(name, f'CalibratedClassifierCV({name}(...))')}",
        )
    for part in parts_of(estimator):
        if task == "binary" and type(part).__name__ == "LinearDiscriminantAnalysis":
            raise TrainingError(
                "LinearDiscriminantAnalysis of two classes is exported wrongly, without an error",
                hint="use LogisticRegression or QuadraticDiscriminantAnalysis",
            )


def parts_of(estimator: Any) -> Iterator[Any]:
    """The estimator and every estimator in its parameters, each once."""
    seen: set[int] = set()
    for part in (estimator, *estimator.get_params(deep=True).values()):
        if hasattr(part, "get_params") and not isinstance(part, type) and id(part) not in seen:
            seen.add(id(part))
            yield part


def final_step(estimator: Any) -> Any:
    """The estimator that answers: the last step of a pipeline, however nested."""
    while type(estimator).__name__ == "Pipeline":
        estimator = estimator.steps[-1][1]
    return estimator


def needs_exponential(estimator: Any) -> bool:
    """Whether skl2onnx forgets the exponential link of this estimator."""
    return _has_log_link(final_step(estimator))


def _check_part(part: Any) -> None:
    from skl2onnx._supported_operators import sklearn_operator_name_map
    from sklearn.gaussian_process.kernels import Kernel

    name = type(part).__name__
    if isinstance(part, Kernel):
        return
    known = type(part) in sklearn_operator_name_map or (
        name in _CONTAINERS and type(part).__module__.startswith("sklearn.")
    )
    unfit = name in ("TunedThresholdClassifierCV", "FixedThresholdClassifier") or (
        name == "FunctionTransformer" and part.func is not None
    )
    if not known or unfit:
        raise TrainingError(
            f"{name} cannot be exported to ONNX, so it could not be served",
            hint=f"use {_INSTEAD[name]}"
            if name in _INSTEAD
            else "use an estimator of scikit-learn that skl2onnx converts",
        )
    if name.startswith("HistGradientBoosting"):
        given = part.categorical_features
        if given is not None and not (isinstance(given, str) and given == "from_dtype"):
            raise TrainingError(
                f"{name}(categorical_features=...) is exported wrongly, without an error",
                hint="leave it out: the box one-hot encodes text, and numbers named under [model].categorical",
            )


def _has_log_link(part: Any) -> bool:
    return type(part).__name__ == "HistGradientBoostingRegressor" and part.loss in _LOG_LINKED
