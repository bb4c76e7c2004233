"""One feature of one model: reference against now, and how it went over the windows."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from mlops_box.box import Box
from mlops_box.monitoring.values import TestResult
from mlops_box.operations.views import FeatureDetail, WindowRow, feature_detail
from mlops_box.operations.why_watched import calibration_words
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
        found += [Link("alert", alert, "of this model") for alert in detail.alerts]
        for one in detail.decisions:
            found.append(Link("decision", one.id, f"what an alert triggered: {one.act}, {one.state}"))
            if one.run_id is not None:
                found.append(Link("run", one.run_id, f"came of the decision to {one.act}"))
        return found


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
    table = rows(
        ("window", ">rows", "version", "verdict", ">PSI", ">effect", ">limit"),
        [
            (look.when(row.starts_at), row.rows, f"v{row.number}", finding_state(row.outcome, look),
             row.finding.psi if row.finding else None, _effect(row), test.effect_limit if (test := _test(row)) else None)
            for row in reversed(detail.history)
        ],
        look, empty="no window",
    )  # fmt: skip
    chart = _effect_chart(detail)
    return Body([_said(detail, look)], [chart] if chart else [], below=[Text(), table])


def _said(detail: FeatureDetail, look: Look) -> Text:
    """What the newest limit rests on, and which windows the chart leaves out."""
    newest = detail.window.drift
    parts = [look.text(calibration_words(newest), "quiet")] if newest is not None else []
    silent = sum(_effect(row) is None for row in detail.history)
    if silent:
        parts.append(look.text(f"{silent} of {len(detail.history)} windows could not be judged", "warn"))
    line = Text(look.fit("; ")).join(parts)
    line.no_wrap, line.overflow = False, "fold"
    return line


def _effect_chart(detail: FeatureDetail) -> Chart | None:
    """The size of the difference by the windows' times, held against the limit; ``None`` where nothing was measured."""
    found = [
        (row.starts_at.timestamp(), test.effect, row.outcome, test)
        for row in detail.history
        if (test := _test(row)) is not None and test.effect is not None and row.starts_at is not None
    ]
    if not found:
        return None
    test = found[-1][3]
    name = {"ks": "KS distance", "chi2": "Cramér's V"}[test.test]
    series = [Series(name, [at for at, *_ in found], [effect for _, effect, *_ in found])]
    usual = [(at, test.usual) for at, *_, test in found if test.usual is not None]
    if usual:
        xs, ys = [at for at, _ in usual], [value for _, value in usual]
        series.append(Series("1 in 100 without drift", xs, ys, tone="quiet", marker=("·", ".")))
    drifted = [(at, effect) for at, effect, outcome, _ in found if outcome == "drift"]
    if drifted:
        xs, ys = [at for at, _ in drifted], [effect for _, effect in drifted]
        series.append(Series("drift", xs, ys, joined=False, tone="bad", marker=("✗", "x")))
    limits = {test.effect_limit for *_, test in found}
    threshold = None
    if len(limits) == 1:
        threshold = (test.effect_limit, "limit")
    else:
        xs, ys = [at for at, *_ in found], [test.effect_limit for *_, test in found]
        series.append(Series("limit", xs, ys, tone="bad", marker=("╌", "-")))
    return Chart(f"{detail.feature} by window (UTC)", series, axis="time", threshold=threshold)


def _effect(row: WindowRow) -> float | None:
    test = _test(row)
    return test.effect if test is not None else None


def _test(row: WindowRow) -> TestResult | None:
    """The test that compares the column's values."""
    if row.finding is None:
        return None
    return next((test for test in row.finding.tests if test.test in ("ks", "chi2")), None)
