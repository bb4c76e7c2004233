"""The numbers behind a finding, column by column."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from mlops_box.monitoring.values import DataFinding, FeatureFinding, Finding, QualityFinding
from mlops_box.operations.views import FindingView
from mlops_box_tui.look import Look, number
from mlops_box_tui.widgets.grids import facts, heading, rows, tree


def finding_state(outcome: str, look: Look) -> Text:
    """The three-valued verdict."""
    states = {
        "drift": "not_fine",
        "loss": "worse",
        "bad": "failed",
        "fine": "fine",
        "cannot_tell": "cannot_tell",
    }
    return look.state(states.get(outcome, outcome), "bad" if outcome == "bad" else None)


def evidence(view: FindingView, look: Look) -> list[RenderableType]:
    """All parts of a finding."""
    parts: list[RenderableType] = []
    if view.drift is not None:
        parts += _drift(view.drift, look)
    if view.quality is not None:
        parts += _quality(view.quality, look)
    if view.data is not None:
        parts += _data(view.data, look)
    if view.rest:
        parts += [heading("also recorded"), tree(view.rest, look)]
    return parts or [Text("the evidence cannot be read by this version of mlops-box", style="dim")]


def test_lines(feature: FeatureFinding, look: Look) -> RenderableType:
    """Every test of one column, with the limit it was held against."""
    return rows(
        ("test", "verdict", ">effect", ">limit", ">p", ">p adjusted", "says"),
        [
            (test.test, finding_state(test.outcome, look), test.effect, test.effect_limit, _p(test.p),
             _p(test.p_adjusted), test.message)
            for test in feature.tests
        ],
        look,
        empty="no test could be made",
    )  # fmt: skip


def share(value: float | None) -> str | None:
    """A share as per cent."""
    return None if value is None else f"{value * 100:.3g}%"


def _drift(found: Finding, look: Look) -> list[RenderableType]:
    ordered = sorted(found.features, key=lambda feature: (feature.outcome != "drift", -_effect(feature)))
    lines = [
        (feature.name, finding_state(feature.outcome, look), feature.psi, _strongest(feature),
         f"{share(feature.missing_reference)} > {share(feature.missing)}", share(feature.outside) or "",
         _new(feature))
        for feature in ordered
    ]  # fmt: skip
    return [
        Text.assemble(finding_state(found.outcome, look), "  ", look.text(found.reason)),
        Text.assemble(("rows ", "dim"), look.count(found.rows), (" against ", "dim"), look.count(found.rows_reference),
                      (f"  effect limit {number(found.effect)}  false findings {share(found.fdr)}  "
                       f"{'calibrated' if found.calibrated else 'not calibrated'}", "dim")),
        Text(),
        rows(("column", "verdict", ">PSI", "strongest test", "missing", ">outside", "new values"), lines, look,
             empty="no column was compared"),
    ]  # fmt: skip


def _quality(found: QualityFinding, look: Look) -> list[RenderableType]:
    interval = None
    if found.loss_low is not None and found.loss_high is not None:
        interval = f"{share(found.loss_low)} to {share(found.loss_high)}"
    return [
        heading("quality on rows with ground truth"),
        Text.assemble(finding_state(found.outcome, look), "  ", look.text(found.reason)),
        facts(
            [
                ("metric", found.metric), ("realised", found.realised), ("held out", found.held_out),
                ("loss", share(found.loss)), ("95% interval", interval), ("limit", share(found.limit)),
                ("with truth", f"{found.rows_with_truth} of {found.rows} rows, {found.min_rows} are needed"),
            ],
            look,
        ),
    ]  # fmt: skip


def _data(found: DataFinding, look: Look) -> list[RenderableType]:
    return [
        heading("the live data itself"),
        Text.assemble(finding_state(found.outcome, look), "  ", look.text(found.reason)),
        facts(
            [
                ("rows", found.rows),
                ("no finite answer", found.not_finite),
                ("missing changed", ", ".join(found.missing) or None),
            ],
            look,
        ),
    ]


def _effect(feature: FeatureFinding) -> float:
    return max((test.effect or 0.0 for test in feature.tests), default=0.0)


def _strongest(feature: FeatureFinding) -> str:
    known = [test for test in feature.tests if test.effect is not None]
    if not known:
        return "?"
    test = max(known, key=lambda item: (item.outcome == "drift", item.effect or 0.0))
    return f"{test.test} {number(test.effect)} (limit {number(test.effect_limit)})"


def _new(feature: FeatureFinding) -> str:
    if not feature.new:
        return ""
    return f"{share(feature.new)}: {', '.join(feature.new_examples[:3])}"


def _p(value: float | None) -> str:
    if value is None:
        return "?"
    return "< 1e-12" if value < 1e-12 else number(value, digits=2)
