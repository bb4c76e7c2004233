"""Curves over one axis, drawn by plotext: what they are called stands above them, never on them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rich.console import RenderableType
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import Static

from mlops_box_tui.look import Look, Tone, number
from mlops_box_tui.text import clean
from mlops_box_tui.widgets.ticks import Ticks, number_ticks, time_ticks

if TYPE_CHECKING:
    from mlops_box_tui.app import BoxApp

Axis = Literal["number", "count", "time"]

_TONES: tuple[Tone, ...] = ("busy", "warn", "good", "accent")
# Without colours each curve has a character of its own.
_MARKERS, _ASCII_MARKERS = ("braille", "•", "+", "×"), ("*", "o", "+", "x")
_THRESHOLD, _ASCII_THRESHOLD = "╌", "-"
_FRAME = str.maketrans("┌┐└┘─│┤├┬┴┼", "++++-|+++++")


@dataclass(frozen=True)
class Series:
    """Named points, joined or not.

    Attributes:
        name: Empty: the legend leaves it out.
        xs: Ascending where they are joined.
        joined: A line through the points, or the points alone.
        tone: ``None``: one of its own.
        marker: (character, character in ASCII); ``None``: one of its own.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    joined: bool = True
    tone: Tone | None = None
    marker: tuple[str, str] | None = None


@dataclass(frozen=True)
class Chart:
    """Curves over one axis; later ones are drawn over earlier ones.

    Attributes:
        axis: What x is: a number, a count of something, or seconds since 1970.
        threshold: A horizontal line (value, name).
        x_range: Ends of the x axis; ``None``: as the points need.
        y_range: As ``x_range``.
    """

    title: str
    series: Sequence[Series]
    axis: Axis = "number"
    threshold: tuple[float, str] | None = None
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None


class ChartPane(Vertical):
    """One chart with its title and legend; drawn again only when something changed."""

    app: BoxApp

    def __init__(self) -> None:
        super().__init__()
        self._head = Static(markup=False, classes="chart-head")
        self._canvas = _Canvas()

    def compose(self) -> ComposeResult:
        yield self._head
        yield self._canvas

    def show(self, chart: Chart) -> None:
        """Draw it."""
        drawn = (chart, self.app.look.tones, self.app.look.ascii_only)
        if drawn != self._canvas.drawn:
            self._canvas.drawn = drawn
            self._head.update(legend(chart, self.app.look, plain=self.app.no_color))
            self._canvas.refresh()


class _Canvas(Widget):
    """The curves and their frame."""

    app: BoxApp

    def __init__(self) -> None:
        super().__init__(classes="chart-canvas")
        self.drawn: tuple[Chart, Any, bool] | None = None

    def render(self) -> RenderableType:
        if self.drawn is None:
            return Text()
        width, height = self.size
        return draw(self.drawn[0], width, height, self.app.look, plain=self.app.no_color)


def legend(chart: Chart, look: Look, *, plain: bool = False) -> Text:
    """The title, then a sample of each curve before its name."""
    line = Text(look.fit(clean(chart.title)), style="bold")
    entries = [
        (marker, tone, series.name)
        for series, marker, tone in _drawn(chart, look, plain=plain)
        if series.name and (len(chart.series) > 1 or chart.threshold is not None)
    ]
    if chart.threshold is not None:
        value, name = chart.threshold
        entries.append((_THRESHOLD, "bad", f"{name} {number(value)}"))
    for marker, tone, name in entries:
        sample = {"braille": "⠤", _THRESHOLD: _ASCII_THRESHOLD if look.ascii_only else _THRESHOLD}.get(
            marker, marker
        )
        line.append("   ").append(sample * 2, style=f"not bold {look.style(tone)}".strip())
        line.append(f" {look.fit(clean(name))}", style="not bold")
    return line


def draw(chart: Chart, width: int, height: int, look: Look, *, plain: bool = False) -> Text:
    """The curves in a frame with round ticks; nothing where there is no room or no point."""
    points = [(x, y) for series in chart.series for x, y in _points(series)]
    if not points or width < 20 or height < 5:
        return Text()
    levels = [y for _, y in points] + ([chart.threshold[0]] if chart.threshold is not None else [])
    left, right = chart.x_range or _range([x for x, _ in points], 0.02)
    low, high = chart.y_range or _range(levels, 0.06)
    # Imported with the first curve that is drawn.
    from textual_plotext.plot import Plot

    plot = Plot()
    plot.theme("clear")
    plot.plotsize(width, height)
    plot._set_size(width, height)
    plot.xlim(left, right)
    plot.ylim(low, high)
    plot.yticks(*number_ticks(low, high, max(2, height // 3)))
    plot.xticks(*_x_ticks(chart.axis, left, right, max(2, width // 14)))
    if chart.threshold is not None:
        marker = _ASCII_THRESHOLD if look.ascii_only else _THRESHOLD
        plot.plot([left, right], [chart.threshold[0]] * 2, marker=marker, color=_colour(look, "bad"))
    for series, marker, tone in _drawn(chart, look, plain=plain):
        held = _points(series)
        if not held:
            continue
        put = plot.plot if series.joined and len(held) > 1 else plot.scatter
        put([x for x, _ in held], [y for _, y in held], marker=marker, color=_colour(look, tone))
    built = plot.build()
    text = Text.from_ansi(built.translate(_FRAME) if look.ascii_only else built)
    text.no_wrap = True
    return text


def _drawn(chart: Chart, look: Look, *, plain: bool) -> Iterable[tuple[Series, str, Tone]]:
    """Each curve with its character and its tone; its own where it names one."""
    place = 0
    for series in chart.series:
        markers = _ASCII_MARKERS if look.ascii_only else _MARKERS
        own = markers[place % len(markers)] if plain or look.ascii_only else "braille"
        if series.marker is not None:
            own = series.marker[1 if look.ascii_only else 0]
        tone = series.tone or _TONES[place % len(_TONES)]
        place += series.marker is None
        yield series, own, tone


def _points(series: Series) -> list[tuple[float, float]]:
    return [
        (x, y) for x, y in zip(series.xs, series.ys, strict=True) if math.isfinite(x) and math.isfinite(y)
    ]


def _range(values: Sequence[float], margin: float) -> tuple[float, float]:
    """Ends with a margin; around a lone value there is room as well."""
    low, high = min(values), max(values)
    pad = (high - low) * margin or abs(high) * 0.05 or 1.0
    return low - pad, high + pad


def _x_ticks(axis: Axis, left: float, right: float, most: int) -> Ticks:
    if axis == "time":
        return time_ticks(left, right, most)
    return number_ticks(left, right, most, whole=axis == "count")


def _colour(look: Look, tone: Tone) -> Any:
    """As plotext takes it: (red, green, blue), or the terminal's own colour where the theme leaves it to that."""
    style = look.style(tone)
    if len(style) != 7 or not style.startswith("#"):
        return "default"
    return tuple(int(style[place : place + 2], 16) for place in (1, 3, 5))
