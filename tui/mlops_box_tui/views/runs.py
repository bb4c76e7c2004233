"""Runs: what was done, by whom, how it went."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.screen import Screen

from mlops_box.box import Box
from mlops_box.operations.views import Page, Query, RunRow, list_runs
from mlops_box.runs import Run
from mlops_box_tui.acts.act import act_bindings
from mlops_box_tui.acts.runs import CANCEL, RERUN, TRAIN
from mlops_box_tui.look import Look, number
from mlops_box_tui.screens.epochs import epoch_line
from mlops_box_tui.screens.run import RunScreen
from mlops_box_tui.views.base import ListView
from mlops_box_tui.views.run_state import run_state
from mlops_box_tui.widgets.table import Column


class RunsView(ListView[RunRow]):
    """All runs, newest first."""

    NAME = "runs"
    ACTS = (TRAIN, RERUN, CANCEL)
    BINDINGS = act_bindings(ACTS)
    COLUMNS = (
        Column("id", "run", 22, drop=5),
        Column("kind", "what", 12, sortable=True),
        Column("project", "project", 18, drop=1, sortable=True, flex=True),
        Column("state", "state", 12, sortable=True),
        Column("started", "started", 11, sortable=True),
        Column("took", "took", 7, sortable=True, right=True),
        Column("steps", "steps", 7, drop=3, right=True),
        Column("metric", "curve", 20, drop=4),
        Column("trend", "trend", 12, drop=6),
        Column("trigger", "by", 14, drop=2),
    )
    EMPTY = ("No runs yet. See the whole loop in two minutes, or start with a file of your own:",
             "mlops-box demo\nmlops-box init my-project --from data.csv --target COLUMN\nmlops-box train --project my-project")  # fmt: skip
    STATES = ("running", "completed", "failed", "refused", "rejected", "crashed", "cancelled")

    def fetch(self, box: Box, query: Query) -> Page[RunRow]:
        return list_runs(box, query)

    def read_row(self, box: Box, key: str) -> Run:
        return box.runs.get(key)

    def key_of(self, row: RunRow) -> str:
        return row.id

    @property
    def moving(self) -> bool:
        return self.page is not None and any(row.state == "running" for row in self.page.rows)

    def cells(self, row: RunRow, look: Look) -> tuple[Text, ...]:
        metric = f"{row.metric[0]} {number(row.metric[1])}" if row.metric else None
        steps = f"{row.steps_done}/{row.steps}" if row.steps else None
        return (
            look.text(row.id, "quiet"), look.text(row.kind), look.text(row.project), run_state(row, look),
            look.when(row.started_at), look.took(row.started_at, row.ended_at), look.text(steps, "quiet"),
            look.text(metric), look.spark(row.trend), look.text(row.trigger, "quiet"),
        )  # fmt: skip

    def preview(self, row: RunRow, look: Look) -> Sequence[Text]:
        first = Text.assemble(look.text(f"{row.kind} {row.project}"), "  ", run_state(row, look), "  ",
                              look.ago(row.started_at))  # fmt: skip
        if row.version:
            first.append_text(Text.assemble("  made ", look.text(row.version, "accent")))
        if row.epochs is not None:
            progress = row.epochs.progress(look.now, running=row.owner_alive is True)
            return (
                first,
                Text.assemble(("step ", "dim"), look.text(row.step), "  ", epoch_line(progress, look)),
            )
        second = (
            look.text(row.error, "bad") if row.error
            else Text.assemble(("step ", "dim"), look.text(row.step), (f"  {row.steps_done} of {row.steps} done", "dim"))
        )  # fmt: skip
        return (first, second)

    def detail(self, row: RunRow) -> Screen[None]:
        return RunScreen(row.id)
