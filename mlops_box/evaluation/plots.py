"""The pictures of a model card, as SVG that follows the reader's light or dark theme."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlops_box.evaluation.calibration import QUANTILES, Reliability, Residuals
from mlops_box.evaluation.figure import ACCENT, FAINT, SECOND, figure
from mlops_box.evaluation.importance import Importance

MAX_POINTS = 800
MAX_BARS = 20


def calibration_plot(found: Reliability) -> str:
    """On the diagonal, probabilities mean what they say; a larger point holds more rows."""
    said, seen = [one.said for one in found.bins], [one.seen for one in found.bins]
    rows = np.array([one.rows for one in found.bins], dtype=np.float64)
    with figure(4.6, 3.6) as (axes, finish):
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1.4, linestyle=(0, (4, 3)))
        sizes = 18 + 90 * np.sqrt(rows / rows.max())
        axes.plot(said, seen, color=ACCENT, linewidth=1.6)
        axes.scatter(said, seen, s=sizes, color=ACCENT, zorder=3)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel(f"predicted: {found.event}")
        axes.set_ylabel("observed share")
        return finish("Calibration: predicted probability against observed share")


def residual_plot(
    truth: np.ndarray[Any, Any], prediction: np.ndarray[Any, Any], found: Residuals, *, seed: int
) -> str:
    """Error against prediction, with the median and the middle 90 % by predicted value.

    A band around zero without a pattern is what one hopes for.
    """
    rows = np.arange(len(truth))
    if len(rows) > MAX_POINTS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, size=MAX_POINTS, replace=False))
    error = truth[rows] - prediction[rows]
    said = [one.said for one in found.bins]
    with figure(4.6, 3.6) as (axes, finish):
        axes.axhline(0, color=FAINT, linewidth=1.4)
        axes.scatter(prediction[rows], error, s=9, color=ACCENT, alpha=0.35, linewidths=0)
        for place, style in ((0, (0, (4, 3))), (len(QUANTILES) // 2, "-"), (-1, (0, (4, 3)))):
            axes.plot(
                said, [one.errors[place] for one in found.bins], color=SECOND, linewidth=1.4, linestyle=style
            )
        axes.set_xlabel(f"predicted {found.target}")
        axes.set_ylabel("true minus predicted")
        return finish("Residuals: error against prediction")


def importance_plot(found: Sequence[Importance], *, metric: str) -> str:
    """Bars, the most important feature on top."""
    shown = list(found[:MAX_BARS])[::-1]
    with figure(4.6, 0.7 + 0.27 * max(len(shown), 2)) as (axes, finish):
        names = [_short(item.feature) for item in shown]
        axes.barh(
            range(len(shown)),
            [item.mean for item in shown],
            xerr=[item.spread for item in shown],
            color=ACCENT,
            height=0.66,
            error_kw={"ecolor": SECOND, "elinewidth": 1.2},
        )
        axes.set_yticks(range(len(shown)), names)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"loss of {metric} when shuffled")
        return finish("Permutation importance of the features")


def _short(name: str) -> str:
    return name if len(name) <= 24 else name[:23] + "…"
