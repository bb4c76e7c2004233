"""Gradient boosting on rare positives: every failure weighs as much as all the normal hours it is lost among."""

from typing import Any

from sklearn.ensemble import HistGradientBoostingClassifier


def build(params: dict[str, Any]) -> HistGradientBoostingClassifier:
    """An unfitted estimator; ``params`` is ``[model.params]`` of mlops.toml."""
    return HistGradientBoostingClassifier(
        **{"max_iter": 150, "learning_rate": 0.08, "l2_regularization": 1.0, **params}
    )
