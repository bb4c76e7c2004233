"""One model version: metrics, gates, signature, lineage, files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual.binding import BindingType

from mlops_box.box import Box
from mlops_box.models.values import GateResult
from mlops_box.operations.views import VersionDetail, VersionRow, version_detail
from mlops_box.units import format_size
from mlops_box_tui.acts.act import act_bindings
from mlops_box_tui.acts.delete import DELETE
from mlops_box_tui.acts.edge import EXPORT
from mlops_box_tui.acts.models import APPROVE, PROMOTE, ROLL_BACK
from mlops_box_tui.acts.rollouts import ROLLOUT_ACTS, START
from mlops_box_tui.acts.serving import TRY
from mlops_box_tui.look import UNKNOWN, Look
from mlops_box_tui.screens.acts import acts_table
from mlops_box_tui.screens.calibration import calibration_body
from mlops_box_tui.screens.detail import Body, DetailScreen, Link
from mlops_box_tui.screens.metric_history import MetricHistoryScreen, metrics_key
from mlops_box_tui.screens.rollout import RolloutScreen
from mlops_box_tui.views.rollout_key import rollout_key
from mlops_box_tui.widgets.grids import change, facts, heading, rows, tree
from mlops_box_tui.widgets.setback import setback_line


class VersionScreen(DetailScreen[VersionDetail]):
    """A version by ``name@7`` or ``name@alias``."""

    TABS = ("metrics", "gates", "calibration", "signature", "lineage", "files", "acts")
    ACTS = (PROMOTE, ROLL_BACK, APPROVE, START, *ROLLOUT_ACTS, TRY, EXPORT, DELETE)
    BINDINGS: ClassVar[list[BindingType]] = [
        metrics_key("version"),
        rollout_key("version"),
        *act_bindings(ACTS),
    ]

    def fetch(self, box: Box) -> VersionDetail:
        return version_detail(box, self.subject)

    def subject_of(self, detail: VersionDetail) -> VersionRow:
        return detail.row

    def heading(self, detail: VersionDetail, look: Look) -> Text:
        row = detail.row
        state = look.state(row.setback.state if row.setback else row.state)
        line = Text.assemble(" ", look.text(row.ref, "accent"), "  ", state, "  ")
        if row.aliases:
            line.append_text(Text.assemble(look.aliases(row.aliases, apart="  "), "  "))
        return Text.assemble(
            line, look.text(row.task, "quiet"), ("  created ", "dim"), look.ago(row.created_at)
        )

    def body(self, tab: str, detail: VersionDetail, look: Look) -> Body:
        match tab:
            case "metrics":
                return Body(
                    [*_setback(detail.row, look), *_torn(detail, look, "metrics"), *_metrics(detail, look)]
                )
            case "gates":
                return Body([*_torn(detail, look, "gates"), _gates(detail, look)])
            case "calibration":
                return calibration_body(detail.calibration, look)
            case "signature":
                return Body(_signature(detail, look))
            case "lineage":
                return Body(_lineage(detail, look))
            case "files":
                return Body(_files(detail, look))
        return Body([acts_table(detail.acts, look)])

    def action_rollout(self) -> None:
        if self.detail is not None:
            self.app.push_screen(RolloutScreen(self.detail.row.model))

    def action_metrics(self) -> None:
        if self.detail is not None:
            self.app.push_screen(MetricHistoryScreen(self.detail.row.model, self.detail.row.number))

    def links(self, detail: VersionDetail) -> Sequence[Link]:
        row = detail.row
        found = [Link("batch", row.snapshot_id, "the data it was trained on")]
        if row.run_id:
            found.insert(0, Link("run", row.run_id, "made it"))
        if row.setback:
            found.insert(0, Link("rollout", row.model, f"the evidence: {row.setback.word}"))
        if detail.baseline:
            number = detail.baseline[0].split()[-1]
            found.append(Link("version", f"{row.model}@{number}", f"compared with: {detail.baseline[0]}"))
        if "champion" in row.aliases:
            found.append(Link("served", row.ref, "its traffic and its newest requests"))
        return [*found, *(Link("alert", alert, "raised on this version") for alert in detail.alerts)]


def _setback(row: VersionRow, look: Look) -> list[RenderableType]:
    if row.setback is None:
        return []
    line = setback_line(row.setback, look)
    line.no_wrap, line.overflow = False, "fold"
    return [line, Text("o shows the evidence, P makes it the champion all the same\n", style="dim")]


def _torn(detail: VersionDetail, look: Look, what: str) -> list[RenderableType]:
    """Nothing recorded, or what was recorded cannot be read: the second is said first."""
    if what not in detail.unreadable:
        return []
    torn = ", ".join(detail.unreadable)
    return [
        look.state("failed", f"box.db holds {torn} that cannot be read; mlops-box verify says more"),
        Text(),
    ]


def _none(detail: VersionDetail, what: str, text: str) -> str:
    return UNKNOWN if what in detail.unreadable else text


def _metrics(detail: VersionDetail, look: Look) -> list[RenderableType]:
    name, before = detail.baseline or ("", {})
    lines = [
        (metric, value, before.get(metric), change(value, before.get(metric)) or "")
        for metric, value in detail.metrics.items()
    ]
    if not detail.baseline:
        table = rows(
            ("metric", ">value"),
            [line[:2] for line in lines],
            look,
            empty=_none(detail, "metrics", "no metric recorded"),
        )
        return [table, Text("\nno other version serves: nothing to compare with", style="dim")]
    alias, _, number = name.partition(" ")
    columns = ("metric", f">v{detail.row.number}", f">{look.fit(alias)} v{number}", ">difference")
    return [rows(columns, lines, look, empty=_none(detail, "metrics", "no metric recorded"))]


def _gates(detail: VersionDetail, look: Look) -> RenderableType:
    lines = [(gate.name, _verdict(gate, look), gate.value, gate.limit, gate.message) for gate in detail.gates]
    return rows(
        ("gate", "verdict", ">value", ">limit", "says"),
        lines,
        look,
        empty=_none(detail, "gates", "no gate declared in mlops.toml"),
    )


def _verdict(gate: GateResult, look: Look) -> Text:
    return look.state({True: "passed", False: "failed", None: "unjudged"}[gate.passed])


def _signature(detail: VersionDetail, look: Look) -> list[RenderableType]:
    signature = detail.signature
    if signature is None:
        return [look.text("the signature cannot be read", "bad")]
    lines = [
        (feature.name, feature.kind, feature.type, ", ".join(feature.values[:12]) if feature.values else "")
        for feature in signature.features
    ]
    return [
        facts(
            [
                ("predicts", signature.target),
                ("task", signature.task),
                ("classes", ", ".join(str(c) for c in signature.classes) if signature.classes else None),
            ],
            look,
        ),
        Text(),
        rows(("input", "kind", "type", "values seen in training"), lines, look, empty="no input"),
    ]


def _lineage(detail: VersionDetail, look: Look) -> list[RenderableType]:
    row = detail.row
    return [
        facts(
            [
                ("digest", detail.digest), ("snapshot", row.snapshot_id), ("run", row.run_id),
                ("created", f"{row.created_at:%Y-%m-%d %H:%M:%S} UTC" if row.created_at else None),
                ("created by", row.created_by),
            ],
            look,
        ),
        heading("recorded at training"),
        tree(detail.lineage, look),
    ]  # fmt: skip


def _files(detail: VersionDetail, look: Look) -> list[RenderableType]:
    lines = [
        (file.name, format_size(file.size_bytes) if file.size_bytes is not None else "?", file.digest[:16])
        for file in detail.files
    ]
    parts: list[RenderableType] = [rows(("file", ">size", "digest"), lines, look, empty="no file")]
    if detail.card:
        parts += [heading("model card, for a browser"), look.text(detail.card, "accent")]
    return parts
