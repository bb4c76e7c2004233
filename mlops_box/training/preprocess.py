"""Impute, scale and one-hot encode: fitted on the training rows, computed alike by numpy and by the exported graph.

All arithmetic is float32 with one operation a step (select, subtract, multiply), so that numpy and onnxruntime give the
same bits: trees, whose thresholds a last bit can cross, then answer alike.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_box.errors import TrainingError
from mlops_box.models.encode import MISSING_TEXT, Float32, Tensors, Text
from mlops_box.models.values import Feature
from mlops_box.project.declaration import Categorical, Numeric, Preprocess


@dataclass(frozen=True)
class Preprocessor:
    """A fitted transformation of [rows, features] into float32 [rows, width]: numbers first, then one-hot columns.

    Attributes:
        numeric: Names of the numeric features.
        fill: float32 [numeric features]: what stands for a missing number.
        mean: float32 [numeric features]; ``None`` where numbers are not scaled.
        inverse_scale: float32 [numeric features]: 1 / standard deviation; ``None`` where numbers are not scaled.
        categorical: Names of the categorical features.
        values: For each of them the values that have a column, most frequent first.
    """

    numeric: tuple[str, ...]
    fill: Float32
    mean: Float32 | None
    inverse_scale: Float32 | None
    categorical: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of the matrix."""
        hot = (
            f"{name}={value}"
            for name, values in zip(self.categorical, self.values, strict=True)
            for value in values
        )
        return (*self.numeric, *hot)

    def transform(self, tensors: Tensors) -> Float32:
        """float32 [rows, width]; unseen and missing categories are all zeros."""
        parts: list[Float32] = []
        if tensors.numeric is not None:
            parts.append(self._numbers(tensors.numeric))
        if tensors.text is not None:
            parts += [_one_hot(tensors.text[:, index], values) for index, values in enumerate(self.values)]
        return np.concatenate(parts, axis=1)

    def name_values(self, features: tuple[Feature, ...]) -> tuple[Feature, ...]:
        """``features`` with the values that their one-hot columns stand for."""
        values = dict(zip(self.categorical, self.values, strict=True))
        return tuple(replace(feature, values=values.get(feature.name)) for feature in features)

    def _numbers(self, numeric: Float32) -> Float32:
        filled: Float32 = np.where(np.isnan(numeric), self.fill, numeric)
        if self.mean is None or self.inverse_scale is None:
            return filled
        with np.errstate(over="ignore", invalid="ignore"):
            scaled: Float32 = (filled - self.mean) * self.inverse_scale
        return scaled


def fit_preprocessor(tensors: Tensors, features: tuple[Feature, ...], declared: Preprocess) -> Preprocessor:
    """Learn fill values, scales and categories from the training rows.

    Raises:
        TrainingError: A feature has no value in any row, is infinite, or (all together) no column remains.
    """
    numeric = tuple(feature.name for feature in features if feature.kind == "numeric")
    categorical = tuple(feature.name for feature in features if feature.kind == "categorical")
    fill, mean, inverse_scale = np.empty(0, dtype=np.float32), None, None
    if tensors.numeric is not None:
        _check_numbers(tensors.numeric, numeric)
        fill, mean, inverse_scale = _fit_numbers(tensors.numeric, declared.numeric)
    values = tuple(
        _fit_category(tensors.text[:, index], name, declared.categorical)
        for index, name in enumerate(categorical)
        if tensors.text is not None
    )
    fitted = Preprocessor(numeric, fill, mean, inverse_scale, categorical, values)
    if not fitted.columns:
        raise TrainingError(
            "no category is frequent enough to be a feature",
            hint="lower [model.preprocess.categorical].min_count",
        )
    return fitted


def _check_numbers(numeric: Float32, names: tuple[str, ...]) -> None:
    for index, name in enumerate(names):
        column = numeric[:, index]
        if np.isnan(column).all():
            raise TrainingError(
                f"feature {name!r} has no value in any training row", hint="take it out of [model].features"
            )
        infinite = int(np.isinf(column).sum())
        if infinite:
            raise TrainingError(
                f"feature {name!r} is infinite, or beyond the range of float32, in {infinite} training rows",
                hint=f"bound it in [data.contract]: {name} = {{ min = ..., max = ... }}",
            )


def _fit_numbers(numeric: Float32, declared: Numeric) -> tuple[Float32, Float32 | None, Float32 | None]:
    wide = numeric.astype(np.float64)
    if declared.impute == "median":
        centre = np.nanmedian(wide, axis=0)
    elif declared.impute == "mean":
        centre = np.nanmean(wide, axis=0)
    else:
        centre = np.zeros(wide.shape[1])
    fill = centre.astype(np.float32)
    if declared.scale == "none":
        return fill, None, None
    filled = np.where(np.isnan(wide), fill.astype(np.float64), wide)
    mean = filled.mean(axis=0)
    deviation = filled.std(axis=0)
    # A constant column has nothing to scale; its deviation may be rounding noise rather than zero.
    constant = deviation <= np.abs(mean) * 1e-7 + np.finfo(np.float32).tiny
    inverse = 1.0 / np.where(constant, 1.0, deviation)
    return fill, mean.astype(np.float32), inverse.astype(np.float32)


def _fit_category(column: Text, name: str, declared: Categorical) -> tuple[str, ...]:
    counts = Counter(column.tolist())
    counts.pop(MISSING_TEXT, None)
    if not counts:
        raise TrainingError(
            f"feature {name!r} has no value in any training row", hint="take it out of [model].features"
        )
    frequent = [(value, count) for value, count in counts.items() if count >= declared.min_count]
    frequent.sort(key=lambda item: (-item[1], item[0]))
    return tuple(value for value, _ in frequent[: declared.max_values])


def _one_hot(column: npt.NDArray[Any], values: tuple[str, ...]) -> Float32:
    # Slot len(values) takes what has no column, and is cut off.
    place = {value: index for index, value in enumerate(values)}
    indices = [place.get(value, len(values)) for value in column]
    matrix = np.zeros((len(column), len(values) + 1), dtype=np.float32)
    matrix[np.arange(len(column)), indices] = 1.0
    return matrix[:, :-1]
