"""How far a version's predictions mean what they say: the numbers that its model card draws."""

from __future__ import annotations

from rich.text import Text

from mlops_box.evaluation.calibration import QUANTILES, Reliability, Residuals
from mlops_box.operations.calibration import Calibration
from mlops_box_tui.look import Look
from mlops_box_tui.screens.detail import Body
from mlops_box_tui.widgets.chart import Chart, Series
from mlops_box_tui.widgets.grids import facts, rows

_MEDIAN = len(QUANTILES) // 2


def calibration_body(found: Calibration, look: Look) -> Body:
    """A classifier's reliability diagram, or a regression's errors."""
    if found.reliability is not None:
        return _reliability(found.reliability, look)
    if found.residuals is not None:
        return _residuals(found.residuals, look)
    line = look.text(found.problem, "quiet")
    line.no_wrap, line.overflow = False, "fold"
    return Body([line])


def _reliability(found: Reliability, look: Look) -> Body:
    said, seen = [one.said for one in found.bins], [one.seen for one in found.bins]
    chart = Chart(
        "observed share by predicted probability",
        (
            Series("as said", [0.0, 1.0], [0.0, 1.0], tone="quiet", marker=("·", ".")),
            Series("observed", said, seen),
            Series("", said, seen, joined=False, tone="busy", marker=("•", "o")),
        ),
        x_range=(0.0, 1.0),
        y_range=(0.0, 1.0),
    )
    numbers = Text.assemble(
        ("Brier score ", "dim"), look.number(found.brier), ("  expected calibration error ", "dim"),
        look.number(found.ece), ("  held-out rows ", "dim"), look.count(found.rows),
    )  # fmt: skip
    lines = [
        (one.said, one.seen, _apart(one.seen - one.said), one.rows, look.bars([one.rows, most]).plain[:1])
        for most in [max(one.rows for one in found.bins)]
        for one in found.bins
    ]
    table = rows(
        (">predicted", ">observed", ">difference", ">rows", ""), lines, look, empty="no bin has rows"
    )
    return Body([look.text(f"predicted: {found.event}"), numbers], [chart], below=[Text(), table])


def _residuals(found: Residuals, look: Look) -> Body:
    said = [one.said for one in found.bins]
    ends = [said[0], said[-1]] if said[0] < said[-1] else [said[0] - 1, said[0] + 1]

    def quantile(place: int) -> list[float]:
        return [one.errors[place] for one in found.bins]

    chart = Chart(
        f"true minus predicted, by predicted {found.target}",
        (
            Series("no error", ends, [0.0, 0.0], tone="quiet", marker=("·", ".")),
            Series("middle 90%", said, quantile(0), tone="warn", marker=("╌", "-")),
            Series("", said, quantile(len(QUANTILES) - 1), tone="warn", marker=("╌", "-")),
            Series("median", said, quantile(_MEDIAN), tone="busy"),
        ),
    )
    shares = [f">{share:.0%}" for share in QUANTILES]
    numbers = facts(
        [
            ("mean error", found.mean),
            ("middle 90%", f"{look.number(found.errors[0]).plain} to {look.number(found.errors[-1]).plain}"),
            ("held-out rows", found.rows),
        ],
        look,
    )
    lines = [(one.said, one.seen, one.rows, *one.errors) for one in found.bins]
    table = rows((">predicted", ">true", ">rows", *shares), lines, look, empty="no bin has rows")
    return Body(
        [numbers],
        [chart],
        below=[Text("\nerrors by predicted value, at these shares of the rows", style="dim"), table],
    )


def _apart(difference: float) -> str:
    return f"{difference:+.3f}"
