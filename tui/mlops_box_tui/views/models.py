"""Models, and the versions of one model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import BindingType
from textual.screen import Screen

from mlops_box.box import Box
from mlops_box.operations.views import (
    ModelRow,
    Page,
    Query,
    VersionRow,
    list_models,
    list_versions,
    version_detail,
)
from mlops_box.units import format_size
from mlops_box_tui.acts.act import act_bindings
from mlops_box_tui.acts.delete import DELETE
from mlops_box_tui.acts.edge import EXPORT
from mlops_box_tui.acts.models import APPROVE, PROMOTE, ROLL_BACK
from mlops_box_tui.acts.rollouts import ROLLOUT_ACTS, START
from mlops_box_tui.acts.runs import RETRAIN
from mlops_box_tui.look import Look, number
from mlops_box_tui.screens.metric_history import MetricHistoryScreen, metrics_key
from mlops_box_tui.screens.version import VersionScreen
from mlops_box_tui.views.base import ListView
from mlops_box_tui.views.rollout_key import open_rollout, rollout_key
from mlops_box_tui.widgets.setback import setback_line
from mlops_box_tui.widgets.table import Column


class ModelsView(ListView[ModelRow]):
    """One line a model."""

    NAME = "models"
    ACTS = (RETRAIN, ROLL_BACK, *ROLLOUT_ACTS)
    BINDINGS: ClassVar[list[BindingType]] = [
        metrics_key("models"),
        rollout_key("models"),
        *act_bindings(ACTS),
    ]
    COLUMNS = (
        Column("model", "model", 18, sortable=True, flex=True),
        Column("task", "task", 10, drop=2),
        Column("champion", "champion", 9),
        Column("since", "since", 10, drop=4),
        Column("metric", "metric", 17),
        Column("trend", "by version", 12, drop=3),
        Column("last_good", "last good", 9, drop=5),
        Column("newest", "newest", 16, sortable=True),
        Column("versions", "versions", 8, drop=1, sortable=True, right=True),
        Column("alerts", "alerts", 8, sortable=True),
    )
    EMPTY = (
        "No models yet. Training makes the first version:",
        "mlops-box demo\nmlops-box train --project DIR",
    )

    def action_rollout(self) -> None:
        open_rollout(self)

    def action_metrics(self) -> None:
        if self.row is not None:
            self.app.push_screen(MetricHistoryScreen(self.row.model))

    def fetch(self, box: Box, query: Query) -> Page[ModelRow]:
        return list_models(box, query)

    def key_of(self, row: ModelRow) -> str:
        return row.model

    def cells(self, row: ModelRow, look: Look) -> tuple[Text, ...]:
        metric = f"{row.metric[0]} {number(row.metric[1])}" if row.metric else None
        back = row.setback if row.setback and row.setback.number == row.newest else None
        newest = look.state(
            back.state if back else row.newest_state,
            f"v{row.newest} {back.word if back else row.newest_state}",
        )
        champion = (
            look.text(f"v{row.champion}", "good") if row.champion is not None else look.text("none", "warn")
        )
        return (
            look.text(row.model, "accent"), look.text(row.task), champion, look.ago(row.champion_since),
            look.text(metric), look.spark(row.trend),
            look.text(f"v{row.last_good}" if row.last_good is not None else None),
            newest, look.count(row.versions),
            look.state("open", f"{row.open_alerts} open") if row.open_alerts else look.text("none", "quiet"),
        )  # fmt: skip

    def preview(self, row: ModelRow, look: Look) -> Sequence[Text]:
        champion = (
            look.text(f"v{row.champion}", "good") if row.champion is not None else look.text("none", "warn")
        )
        return (
            Text.assemble(look.text(row.model, "accent"), ("  champion ", "dim"), champion, ("  since ", "dim"),
                          look.ago(row.champion_since), ("  newest made ", "dim"), look.ago(row.newest_at)),
            Text.assemble((f"{row.versions} versions, {row.rejected} rejected by their gates  metric by version ", "dim"),
                          look.spark(row.trend)),
            *([setback_line(row.setback, look)] if row.setback else []),
        )  # fmt: skip

    def enter(self, row: ModelRow) -> None:
        self.app.go("versions", scope=row.model)


class VersionsView(ListView[VersionRow]):
    """The versions of one model, newest first."""

    NAME = "versions"
    ACTS = (PROMOTE, ROLL_BACK, APPROVE, START, *ROLLOUT_ACTS, EXPORT, DELETE)
    BINDINGS: ClassVar[list[BindingType]] = [
        metrics_key("versions"),
        rollout_key("versions"),
        *act_bindings(ACTS),
    ]
    COLUMNS = (
        Column("number", "version", 8, sortable=True),
        Column("state", "state", 13, sortable=True),
        Column("aliases", "alias", 18, flex=True),
        Column("metric", "metric", 17),
        Column("gates", "gates", 11),
        Column("size", "size", 9, drop=4, sortable=True, right=True),
        Column("created", "created", 11, drop=1, sortable=True),
        Column("by", "by", 10, drop=3),
        Column("run", "run", 22, drop=5),
    )
    EMPTY = ("This model has no versions.", "mlops-box train --project DIR")
    STATES = ("accepted", "rejected")

    def action_rollout(self) -> None:
        open_rollout(self)

    def action_metrics(self) -> None:
        if self.row is not None:
            self.app.push_screen(MetricHistoryScreen(self.row.model, self.row.number))

    def fetch(self, box: Box, query: Query) -> Page[VersionRow]:
        return list_versions(box, query)

    def read_row(self, box: Box, key: str) -> VersionRow:
        return version_detail(box, key).row

    def key_of(self, row: VersionRow) -> str:
        return row.ref

    @property
    def trail(self) -> str:
        return "versions" if self.question.scope is None else f"models › {self.question.scope}"

    def cells(self, row: VersionRow, look: Look) -> tuple[Text, ...]:
        metric = f"{row.metric[0]} {number(row.metric[1])}" if row.metric else None
        name = f"v{row.number}" if self.question.scope else row.ref
        state = look.state(row.setback.state if row.setback else row.state)
        return (
            look.text(name, "accent"), state, look.aliases(row.aliases), look.text(metric),
            gates(row, look), look.text(format_size(row.size_bytes) if row.size_bytes is not None else "?"),
            look.when(row.created_at), look.text(row.created_by, "quiet"), look.text(row.run_id, "quiet"),
        )  # fmt: skip

    def preview(self, row: VersionRow, look: Look) -> Sequence[Text]:
        return (
            Text.assemble(look.text(row.ref, "accent"), "  ", look.state(row.state), "  created ",
                          look.ago(row.created_at), " by ", look.text(row.created_by)),
            Text.assemble(("data ", "dim"), look.text(row.snapshot_id[:12]), ("  gates ", "dim"), gates(row, look)),
            *([setback_line(row.setback, look)] if row.setback else []),
        )  # fmt: skip

    def detail(self, row: VersionRow) -> Screen[None]:
        return VersionScreen(row.ref)

    def diff(self, one: str, other: str) -> Screen[None]:
        # Comparing brings numpy and pyarrow along: 70 MB that a look at the list does without.
        from mlops_box_tui.screens.version_diff import VersionDiffScreen

        return VersionDiffScreen(one, other)

    def rival(self) -> str | None:
        row = self.row
        return None if row is None or "champion" in row.aliases else f"{row.model}@champion"


def gates(row: VersionRow, look: Look) -> Text:
    """How many gates were passed, of those that could be judged."""
    if not row.gates:
        return look.text("none", "quiet")
    if not row.gates_judged:
        return look.state("unjudged", f"0/{row.gates}")
    state = "passed" if row.gates_passed == row.gates_judged else "failed"
    return look.state(state, f"{row.gates_passed}/{row.gates_judged}")
