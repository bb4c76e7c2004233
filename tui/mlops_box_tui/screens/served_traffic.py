"""The traffic of a version as curves: what the log tells, what the server's counters tell, and since when each does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from mlops_box.operations.views import RecentTraffic, ServingStatus
from mlops_box_tui.look import Look, number
from mlops_box_tui.screens.detail import Body
from mlops_box_tui.traffic import Traffic
from mlops_box_tui.widgets.chart import Chart, Series
from mlops_box_tui.widgets.grids import facts

if TYPE_CHECKING:
    from mlops_box.operations.views.requests import LoggedTraffic, TrafficPart

Point = tuple[float, float | None]


def traffic_body(
    logged: LoggedTraffic, known: Traffic | None, server: ServingStatus | None, window: timedelta, look: Look
) -> Body:
    """Requests and latency from the log, where it was read; else, and errors always, from the counters.

    Args:
        known: What the app read of the counters; ``None``: never.
    """
    width = logged.parts[1].at - logged.parts[0].at
    counted = [known.between(part.at, part.at + width) if known else None for part in logged.parts]
    pairs = list(zip(logged.parts, counted, strict=True))
    rate = [
        (_x(part), part.per_minute if part.per_minute is not None else _rate(seen)) for part, seen in pairs
    ]
    p50 = [(_x(part), _latency(part, part.p50_ms, seen, 0.5)) for part, seen in pairs]
    p99 = [(_x(part), _latency(part, part.p99_ms, seen, 0.99)) for part, seen in pairs]
    errors = [(_x(part), seen.errors / seen.seconds * 60 if seen else None) for part, seen in pairs]
    # A quiet part has nothing to time, which is no gap in what is known.
    told = [value is not None for _, value in rate]
    charts = [
        _chart("requests a minute", [("requests", rate)], told, logged),
        _chart("latency, ms", [("p50", p50), ("p99", p99)], told, logged),
        _chart("errors a minute", [("errors", errors)], [seen is not None for seen in counted], logged),
    ]
    return Body(
        [_numbers(logged, known, look), _sources(logged, known, server, window, look)],
        [chart for chart in charts if chart.series],
    )


def _numbers(logged: LoggedTraffic, known: Traffic | None, look: Look) -> RenderableType:
    recent = known.recent(logged.until - logged.since) if known else None
    share = recent.error_share if recent else None
    errors = (
        "? (the server's counters were not read twice)" if recent is None
        else f"{recent.errors:.0f} in the last {_minutes(recent.seconds)}"
        + (f", {share * 100:.2g}% of requests" if share is not None else "")
    )  # fmt: skip
    return facts(
        [
            ("requests", f"{logged.requests:,} with {logged.rows:,} rows".replace(",", " ")),
            ("latency", f"p50 {_ms(logged.p50_ms)}, p99 {_ms(logged.p99_ms)}" if logged.requests else None),
            ("not finite", logged.not_finite),
            ("errors", errors),
        ],
        look,
    )


def _sources(
    logged: LoggedTraffic, known: Traffic | None, server: ServingStatus | None, window: timedelta, look: Look
) -> RenderableType:
    """Where the figures come from, and since when."""
    cut = logged.until - logged.since < window - timedelta(minutes=3)
    lines = [f"requests and latency: the prediction log since {logged.since:%H:%M:%S}"
             + (", where reading ends; older ones by the counters, or unknown" if cut else "")]  # fmt: skip
    lines.append(
        f"errors: the server's counters, read here since {known.since:%H:%M:%S}; the log holds no refused request"
        if known is not None
        else "errors: unknown; the log holds no refused request, and the server told nothing since this was opened"
    )
    if server is not None and server.state != "up":
        lines.append(f"the server is {look.state(server.state).plain[2:]} ({server.detail}): this comes from the log alone")  # fmt: skip
    text = Text(style="dim")
    for line in lines:
        text.append(f"\n{look.fit(line)}")
    return text


def _chart(
    title: str, curves: Sequence[tuple[str, Sequence[Point]]], known: Sequence[bool], logged: LoggedTraffic
) -> Chart:
    """What is known, from zero upwards; points alone where something between them is unknown."""
    places = [place for place, is_known in enumerate(known) if is_known]
    joined = not places or places[-1] - places[0] + 1 == len(places)
    series = []
    for name, points in curves:
        held = [(x, y) for x, y in points if y is not None]
        if held:
            series.append(Series(name, [x for x, _ in held], [y for _, y in held], joined=joined))
    top = max((y for one in series for y in one.ys), default=0.0)
    ends = (_x(logged.parts[0]), logged.until.timestamp())
    return Chart(title, series, "time", x_range=ends, y_range=(0.0, top * 1.1 or 1.0))


def _x(part: TrafficPart) -> float:
    return part.at.timestamp()


def _rate(seen: RecentTraffic | None) -> float | None:
    return seen.per_minute if seen is not None else None


def _latency(
    part: TrafficPart, logged_ms: float | None, seen: RecentTraffic | None, share: float
) -> float | None:
    if part.per_minute is not None:
        return logged_ms
    seconds = seen.quantile_s(share) if seen is not None else None
    return seconds * 1000 if seconds is not None else None


def _ms(value: float | None) -> str:
    return "?" if value is None else f"{number(value, digits=3)} ms"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
