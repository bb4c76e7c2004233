"""Gradient boosting over the payment at hand and what its card did before."""

from typing import Any

from sklearn.ensemble import HistGradientBoostingClassifier


def build(params: dict[str, Any]) -> HistGradientBoostingClassifier:
    """An unfitted estimator; ``params`` is ``[model.params]`` of mlops.toml."""
    return HistGradientBoostingClassifier(
        **{"max_iter": 100, "learning_rate": 0.08, "l2_regularization": 1.0, **params}
    )
