"""One feature of one model: reference against now, and how it went over the windows."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from mlops_box.box import Box
from mlops_box.operations.views import FeatureDetail, WindowRow, feature_detail
from mlops_box_tui.look import Look, number
from mlops_box_tui.screens.detail import Body, DetailScreen, Link
from mlops_box_tui.screens.evidence import evidence, finding_state, share, test_lines
from mlops_box_tui.widgets.chart import Chart, Series
from mlops_box_tui.widgets.grids import facts, heading, rows


class FeatureScreen(DetailScreen[FeatureDetail]):
    """``subject`` is ``model/feature``."""

    TABS = ("now", "history", "window")

    def fetch(self, box: Box) -> FeatureDetail:
        model, _, feature = self.subject.partition("/")
        return feature_detail(box, model, feature)

    def heading(self, detail: FeatureDetail, look: Look) -> Text:
        outcome = detail.history[-1].outcome
        return Text.assemble(
            " ", look.text(detail.model, "accent"), "  ", look.text(detail.feature or "all columns"), "  ",
            finding_state(outcome, look), ("  windows ", "dim"), look.count(len(detail.history)),
        )  # fmt: skip

    def body(self, tab: str, detail: FeatureDetail, look: Look) -> Body:
        match tab:
            case "now":
                return Body(_now(detail, look))
            case "history":
                return _history(detail, look)
        return Body(evidence(detail.window, look))

    def links(self, detail: FeatureDetail) -> Sequence[Link]:
        found = [
            Link("version", f"{detail.model}@{detail.history[-1].number}", "answered in the newest window")
        ]
        return [*found, *(Link("alert", alert, "of this model") for alert in detail.alerts)]


def _now(detail: FeatureDetail, look: Look) -> list[RenderableType]:
    found, shape = detail.finding, detail.shape
    if found is None:
        drift = detail.window.drift
        reason = drift.reason if drift else "the newest window does not speak of this column"
        return [Text.assemble(look.state("cannot_tell"), "  ", look.text(reason))]
    parts: list[RenderableType] = [test_lines(found, look)]
    if shape is not None:
        parts += [heading("shape of the values"), _shape(detail, look)]
    parts += [
        heading("sizes of the difference"),
        facts(
            [
                ("PSI", found.psi), ("JS distance", found.js), ("Wasserstein", found.wasserstein),
                ("missing", f"{share(found.missing_reference)} in the reference, {share(found.missing)} now"),
                ("outside range", share(found.outside)), ("new values", share(found.new)),
                ("examples", ", ".join(found.new_examples) or None),
            ],
            look,
        ),
    ]  # fmt: skip
    return parts


def _shape(detail: FeatureDetail, look: Look) -> RenderableType:
    shape = detail.shape
    assert shape is not None
    if shape.labels:
        lines = [
            (
                label,
                share(before),
                look.bars([before, top], tone="quiet").plain[:1],
                share(now) if shape.window else "?",
            )
            for label, before, now in zip(
                shape.labels, shape.reference, shape.window or [0.0] * len(shape.labels), strict=True
            )
            for top in [max([*shape.reference, *shape.window])]
        ]
        return rows(("value", ">reference", "", ">now"), lines, look, empty="no values")
    span = f"from {number(shape.low)} to {number(shape.high)}"
    return facts(
        [
            ("reference", look.bars(shape.reference, tone="quiet")),
            ("now", look.bars(shape.window) if shape.window else None),
            ("span", span),
        ],
        look,
    )


def _history(detail: FeatureDetail, look: Look) -> Body:
    judged = [(place, row) for place, row in enumerate(detail.history) if _effect(row) is not None]
    table = rows(
        ("window", ">rows", "version", "verdict", ">PSI", ">effect"),
        [
            (look.when(row.starts_at), row.rows, f"v{row.number}", finding_state(row.outcome, look),
             row.finding.psi if row.finding else None, _effect(row))
            for row in reversed(detail.history)
        ],
        look, empty="no window",
    )  # fmt: skip
    if not judged:
        return Body([table])
    limit = max(test.effect_limit for _, row in judged if row.finding for test in row.finding.tests)
    xs = [float(place) for place, _ in judged]
    some = judged[:: max(1, len(judged) // 5)]
    ticks = ([float(place) for place, _ in some],
             [f"{row.starts_at:%m-%d %H:%M}" if row.starts_at else "?" for _, row in some])  # fmt: skip
    chart = Chart(
        f"effect of {detail.feature} by window",
        [Series("effect", xs, [_effect(row) or 0.0 for _, row in judged])],
        threshold=(limit, "limit"),
        ticks=ticks,
    )
    return Body([table], [chart])


def _effect(row: WindowRow) -> float | None:
    if row.finding is None:
        return None
    return next((test.effect for test in row.finding.tests if test.test in ("ks", "chi2")), None)
