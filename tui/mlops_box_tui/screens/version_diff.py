"""Two versions of a model side by side."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from mlops_box.box import Box
from mlops_box.operations.compare_answers import AnswersDiff
from mlops_box.operations.compare_data import DataDiff
from mlops_box.operations.compare_versions import (
    Change,
    GatePair,
    VersionDiff,
    better_side,
    compare_versions,
    margin,
)
from mlops_box.operations.views import FindingView
from mlops_box_tui.look import Look
from mlops_box_tui.screens.detail import Body, DetailScreen, Link
from mlops_box_tui.screens.evidence import evidence, share
from mlops_box_tui.widgets.grids import change, facts, heading, rows, shown


class VersionDiffScreen(DetailScreen[VersionDiff]):
    """Two versions by their references, ``name@7`` or ``name@champion``."""

    TABS = ("metrics", "gates", "slices", "data", "answers", "recorded")

    def __init__(self, one: str, other: str):
        super().__init__(f"{one} {other}")
        self._pair = (one, other)
        self._found: VersionDiff | None = None

    def fetch(self, box: Box) -> VersionDiff:
        # Versions never change: both models are run once, however often the box does.
        if self._found is None:
            self._found = compare_versions(box, *self._pair)
        return self._found

    def heading(self, detail: VersionDiff, look: Look) -> Text:
        line = Text.assemble(
            " ", look.text(detail.a, "accent"), (" against ", "dim"), look.text(detail.b, "accent")
        )
        if not detail.same_rows:
            line.append_text(Text.assemble("  ", look.text("measured on different held-out rows", "warn")))
        return line

    def body(self, tab: str, detail: VersionDiff, look: Look) -> Body:
        match tab:
            case "metrics":
                return Body([_metrics(detail, look)])
            case "gates":
                return Body([_gates(detail, look)])
            case "slices":
                return Body([_slices(detail, look)])
            case "data":
                return Body(_data(detail.data, look))
            case "answers":
                return Body(_answers(detail.answers, look))
        return Body(_recorded(detail, look))

    def links(self, detail: VersionDiff) -> Sequence[Link]:
        return [Link("version", ref, "compared here") for ref in (detail.a, detail.b)]


def _better(metric: str, a: float | None, b: float | None, detail: VersionDiff, look: Look) -> Text:
    side = better_side(metric, a, b)
    if side is None:
        return look.text("not known", "quiet")
    return look.text(
        {"a": detail.a, "b": detail.b, "same": "same"}[side], "quiet" if side == "same" else "good"
    )


def _metrics(detail: VersionDiff, look: Look) -> RenderableType:
    lines = [
        (item.what, look.number(item.a), look.number(item.b), change(item.b, item.a) or "",
         _better(item.what, item.a, item.b, detail, look))
        for item in detail.metrics
    ]  # fmt: skip
    columns = ("metric", f">{look.fit(detail.a)}", f">{look.fit(detail.b)}", ">difference", "better")
    return rows(columns, lines, look, empty="no metric recorded")


def _gates(detail: VersionDiff, look: Look) -> RenderableType:
    lines = [line for pair in detail.gate_values for line in _gate_lines(pair, detail, look)]
    columns = ("gate", "version", "verdict", ">value", ">limit", ">margin")
    return rows(columns, lines, look, empty="neither version has gates")


def _gate_lines(pair: GatePair, detail: VersionDiff, look: Look) -> list[tuple[object, ...]]:
    words = {True: "passed", False: "failed", None: "unjudged"}
    return [
        (pair.name, ref, look.text("does not have it", "quiet"), "", "", "")
        if gate is None
        else (pair.name, ref, look.state(words[gate.passed]), gate.value, gate.limit, margin(gate))
        for ref, gate in ((detail.a, pair.a), (detail.b, pair.b))
    ]


def _slices(detail: VersionDiff, look: Look) -> RenderableType:
    lines = [
        (part.by, part.value, part.metric, look.count(part.rows_a), look.count(part.rows_b),
         look.number(part.a), look.number(part.b), change(part.b, part.a) or "",
         _better(part.metric, part.a, part.b, detail, look))
        for part in detail.slices
    ]  # fmt: skip
    a, b = look.fit(detail.a), look.fit(detail.b)
    columns = ("by", "value", "metric", f">rows {a}", f">rows {b}", f">{a}", f">{b}", ">difference", "better")
    return rows(columns, lines, look, empty="neither version was measured on slices")


def _data(found: DataDiff, look: Look) -> list[RenderableType]:
    if found.finding is None:
        return [shown(f"the data cannot be compared: {found.problem}", look)]
    return evidence(FindingView(found.finding, None, None, {}), look)


def _answers(found: AnswersDiff, look: Look) -> list[RenderableType]:
    if found.problem is not None or found.rows is None:
        return [shown(f"the answers cannot be compared: {found.problem}", look)]
    pairs: list[tuple[str, object]] = [("the same rows", look.count(found.rows)), ("from", found.source)]
    if found.flipped is not None:
        part = share(found.flipped / found.rows) if found.rows else None
        pairs.append(("other label", f"{found.flipped} ({part or '?'})"))
    pairs += [
        ("mean absolute difference", look.number(found.mean_abs)),
        ("largest difference", look.number(found.max_abs)),
        ("no finite answer", look.count(found.not_finite)),
    ]
    parts: list[RenderableType] = [facts(pairs, look)]
    if found.histogram:
        parts += [
            heading("rows by absolute difference"),
            Text.assemble("0 ", look.bars(found.histogram), " ", look.number(found.max_abs)),
        ]
    return parts


def _recorded(detail: VersionDiff, look: Look) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for title, changes in (("features", detail.features), ("environment", detail.environment),
                           ("code, parameters, lineage", detail.lineage)):  # fmt: skip
        parts += [heading(title), _changes(changes, detail, look)]
    return parts


def _changes(changes: Sequence[Change], detail: VersionDiff, look: Look) -> RenderableType:
    columns = ("what", look.fit(detail.a), look.fit(detail.b))
    return rows(columns, [(item.what, item.a, item.b) for item in changes], look, empty="no difference")
