"""A curve of values over steps, drawn by plotext."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual_plotext import PlotextPlot

from mlops_box_tui.text import clean

if TYPE_CHECKING:
    from mlops_box_tui.app import BoxApp

_COLOURS = ("blue+", "orange+", "green+", "magenta+", "cyan+")


@dataclass(frozen=True)
class Series:
    """A named curve; ``xs`` ascends."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]


@dataclass(frozen=True)
class Chart:
    """Curves over one axis.

    Attributes:
        threshold: A horizontal line (value, name).
        ticks: Labels for some places of the x axis.
    """

    title: str
    series: Sequence[Series]
    threshold: tuple[float, str] | None = None
    ticks: tuple[Sequence[float], Sequence[str]] | None = None


class ChartPane(PlotextPlot):  # type: ignore[misc]
    """Draws one chart; redrawn only when it changed."""

    app: BoxApp

    def __init__(self) -> None:
        super().__init__()
        self._chart: Chart | None = None

    def show(self, chart: Chart) -> None:
        """Draw it."""
        if chart == self._chart:
            return
        self._chart = chart
        plot, ascii_only = self.plt, self.app.look.ascii_only
        plot.clear_data()
        plot.clear_figure()
        fit = self.app.look.fit
        plot.title(fit(clean(chart.title)))
        if ascii_only:
            # The frame is drawn with box characters, in every theme.
            plot.frame(False)
            plot.yaxes(False, False)
            plot.xaxes(False, False)
        for series, colour in zip(chart.series, itertools.cycle(_COLOURS)):
            label = fit(clean(series.name)) if len(chart.series) > 1 else None
            marker = "*" if ascii_only else "braille"
            drawn = {"marker": marker, "color": colour, "label": label}
            if len(series.xs) == 1:
                plot.scatter(list(series.xs), list(series.ys), **drawn)
            else:
                plot.plot(list(series.xs), list(series.ys), **drawn)
        if chart.threshold is not None:
            xs = sorted({x for series in chart.series for x in series.xs})
            if xs:
                ends, level = [xs[0], xs[-1]], [chart.threshold[0]] * 2
                plot.plot(
                    ends, level, marker="-" if ascii_only else "╌", color="red", label=chart.threshold[1]
                )
        if chart.ticks is not None:
            plot.xticks(list(chart.ticks[0]), [fit(label) for label in chart.ticks[1]])
        self.refresh()
