"""How the model is learnt. The box has already imputed, scaled and one-hot encoded the features."""

from typing import Any

from sklearn.ensemble import HistGradientBoostingRegressor


def build(params: dict[str, Any]) -> HistGradientBoostingRegressor:
    """An unfitted estimator; ``params`` is ``[model.params]`` of mlops.toml."""
    return HistGradientBoostingRegressor(**params)
