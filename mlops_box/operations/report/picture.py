"""The timeline: realised quality, drift by column and traffic on one axis of event time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from mlops_box.evaluation.figure import ACCENT, BAD, FAINT, INK, SECOND, figure
from mlops_box.monitoring.values import FeatureFinding, Window
from mlops_box.operations.report.facts import ReportFacts

MAX_COLUMNS = 24


def timeline(facts: ReportFacts) -> str:
    """SVG. Quality on top with the held-out level and the limit of the version that answered, then drift, then rows."""
    names = drift_columns(facts.windows)
    heights = (3.0, 0.5 + 0.26 * max(len(names), 2), 1.1)
    with figure(10.5, 1.2 + sum(heights), heights=heights) as (axes, finish):
        quality, drift, rows = axes
        _versions(axes, facts.windows)
        _quality(quality, facts)
        _drift(drift, facts.windows, names)
        _rows(rows, facts.windows)
        return finish(f"{facts.model} over time: {facts.metric}, drift by column, rows")


def drift_columns(windows: Sequence[Window]) -> list[str]:
    """Columns in the order of their largest effect, at most :data:`MAX_COLUMNS`."""
    largest: dict[str, float] = {}
    for window in windows:
        for feature in window.drift.features:
            largest[feature.name] = max(largest.get(feature.name, 0.0), effect(feature) or 0.0)
    return sorted(largest, key=lambda name: (-largest[name], name))[:MAX_COLUMNS]


def effect(feature: FeatureFinding) -> float | None:
    """The largest effect of the tests of its values; ``None`` where none could be made."""
    found = [test.effect for test in feature.tests if test.test != "missing" and test.effect is not None]
    return max(found, default=None)


def terms(windows: Sequence[Window]) -> Iterator[tuple[int, datetime, datetime]]:
    """(version, from, to) of each stretch of windows that one version answered."""
    for index, window in enumerate(windows):
        if index == 0 or windows[index - 1].number != window.number:
            end = next((later for later in windows[index:] if later.number != window.number), None)
            yield window.number, window.starts_at, (end.starts_at if end else windows[-1].ends_at)


def _versions(axes: Any, windows: Sequence[Window]) -> None:
    """A dotted line where another version begins to answer; named where there is room for its name."""
    room = (windows[-1].ends_at - windows[0].starts_at) / 28
    named: datetime | None = None
    for index, (number, start, _) in enumerate(terms(windows)):
        for each in axes:
            if index:
                each.axvline(start, color=INK, linewidth=0.7, linestyle=(0, (2, 3)))
        if named is not None and start - named < room:
            continue
        named = start
        axes[0].annotate(
            f"@{number}", (start, 1.0), xycoords=("data", "axes fraction"), xytext=(1, 3),
            textcoords="offset points", fontsize=8, color=INK,
        )  # fmt: skip


def _quality(axes: Any, facts: ReportFacts) -> None:
    known = [w for w in facts.windows if w.quality is not None and w.quality.realised is not None]
    axes.plot(
        [_middle(w) for w in known],
        [w.quality.realised for w in known if w.quality],
        color=ACCENT, linewidth=1.6, marker="o", markersize=3.5, label=f"realised {facts.metric}",
    )  # fmt: skip
    bad = [w for w in known if w.quality and w.quality.outcome == "loss"]
    axes.plot(
        [_middle(w) for w in bad], [w.quality.realised for w in bad if w.quality],
        color=BAD, linestyle="none", marker="o", markersize=6, label="a loss",
    )  # fmt: skip
    label: str | None = "held out, when it was trained"
    for number, start, end in terms(facts.windows):
        if number in facts.held_out:
            axes.hlines(facts.held_out[number], start, end, color=SECOND, linewidth=1.4, label=label)
            label = None
    axes.set_ylabel(facts.metric)
    if known:
        axes.set_ylim(bottom=min(0.0, *(w.quality.realised or 0.0 for w in known if w.quality)))
        axes.legend(loc="best", fontsize=8)
    else:
        axes.text(0.5, 0.5, "no ground truth yet", transform=axes.transAxes, ha="center", color=INK)


def _drift(axes: Any, windows: Sequence[Window], names: Sequence[str]) -> None:
    """A cell a window and column: the fuller, the larger the effect; framed where it was called drift."""
    from matplotlib.dates import date2num
    from matplotlib.patches import Rectangle

    for window in windows:
        left, right = date2num(window.starts_at), date2num(window.ends_at)
        for feature in window.drift.features:
            if feature.name not in names:
                continue
            strength, drifted = effect(feature), feature.outcome == "drift"
            if strength is None:
                continue
            place = len(names) - 1 - names.index(feature.name)
            axes.add_patch(
                Rectangle(
                    (left, place - 0.42),
                    right - left,
                    0.84,
                    facecolor=BAD if drifted else ACCENT,
                    alpha=float(np.clip(strength / 0.5, 0.06, 0.95)),
                    linewidth=0,
                )
            )
    shown = [name if len(name) <= 22 else name[:21] + "…" for name in names]
    axes.set_yticks(range(len(names)), shown[::-1], fontsize=8)
    axes.set_ylim(-0.6, max(len(names), 1) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.set_ylabel("drift")


def _rows(axes: Any, windows: Sequence[Window]) -> None:
    for window in windows:
        width = window.ends_at - window.starts_at
        axes.bar(
            window.starts_at,
            window.rows,
            width=width,
            align="edge",
            color=FAINT,
            edgecolor=INK,
            linewidth=0.3,
        )
    axes.set_ylabel("rows")
    if windows:
        axes.set_xlim(windows[0].starts_at, windows[-1].ends_at)
    for text in axes.get_xticklabels():
        text.set_fontsize(8)


def _middle(window: Window) -> datetime:
    return window.starts_at + (window.ends_at - window.starts_at) / 2
