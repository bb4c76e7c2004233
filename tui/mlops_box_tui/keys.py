"""Every key of the terminal, read from the code itself; ``python -m mlops_box_tui.keys docs/tui.md`` writes them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from textual.binding import Binding
from textual.dom import DOMNode

from mlops_box_tui.acts.confirm import ActScreen
from mlops_box_tui.app import BoxApp
from mlops_box_tui.screens.alert import AlertScreen
from mlops_box_tui.screens.answer import AnswerScreen
from mlops_box_tui.screens.batch import BatchScreen
from mlops_box_tui.screens.decision import DecisionScreen
from mlops_box_tui.screens.detail import DetailScreen, Tab
from mlops_box_tui.screens.heatmap import HeatTable
from mlops_box_tui.screens.help import HelpScreen
from mlops_box_tui.screens.history import HistoryScreen
from mlops_box_tui.screens.logs import LogScreen
from mlops_box_tui.screens.main import MainScreen
from mlops_box_tui.screens.metric_history import MetricHistoryScreen
from mlops_box_tui.screens.plain import PlainScreen
from mlops_box_tui.screens.rollout import RolloutScreen
from mlops_box_tui.screens.run import RunScreen
from mlops_box_tui.screens.served import ServedScreen
from mlops_box_tui.screens.sql import SqlScreen
from mlops_box_tui.screens.version import VersionScreen
from mlops_box_tui.views.alerts import AlertsView
from mlops_box_tui.views.base import ListView
from mlops_box_tui.views.data import DataView
from mlops_box_tui.views.decisions import DecisionsView
from mlops_box_tui.views.drift import DriftView
from mlops_box_tui.views.home import HomeView, Panel
from mlops_box_tui.views.marking import Marking
from mlops_box_tui.views.models import ModelsView, VersionsView
from mlops_box_tui.views.runs import RunsView
from mlops_box_tui.views.serving import ServingView
from mlops_box_tui.widgets.prompt import PromptInput
from mlops_box_tui.widgets.table import ResourceTable

BEGIN, END = "<!-- keys: begin -->", "<!-- keys: end -->"

# Heading in the docs and the class whose own bindings stand under it.
PLACES: tuple[tuple[str, type[DOMNode]], ...] = (
    ("Everywhere", BoxApp),
    ("In the list views", MainScreen),
    ("In a table", ResourceTable),
    ("In a list view", ListView),
    ("On the rows of a list view", Marking),
    ("In the home view", HomeView),
    ("On a panel of the home view", Panel),
    ("In the runs view", RunsView),
    ("In the models view", ModelsView),
    ("In the versions of a model", VersionsView),
    ("In the serving view", ServingView),
    ("In the drift view", DriftView),
    ("In the alerts view", AlertsView),
    ("In the decisions view", DecisionsView),
    ("In the data view", DataView),
    ("In a detail", DetailScreen),
    ("In a detail's text", Tab),
    ("On a run", RunScreen),
    ("On a version", VersionScreen),
    ("On a rollout", RolloutScreen),
    ("On a version that serves", ServedScreen),
    ("On an answer", AnswerScreen),
    ("On an alert", AlertScreen),
    ("On a decision", DecisionScreen),
    ("On a batch of data", BatchScreen),
    ("On a screen of its own", PlainScreen),
    ("On the metrics over versions", MetricHistoryScreen),
    ("On the heat map of drift", HeatTable),
    ("On a question to a snapshot", SqlScreen),
    ("In the log files", LogScreen),
    ("In the line behind `:` and `/`", PromptInput),
    ("In the question before an act", ActScreen),
    ("In the history of acts", HistoryScreen),
    ("In the help", HelpScreen),
)
_NAMES = {
    "slash": "/", "colon": ":", "minus": "-", "question_mark": "?", "exclamation_mark": "!",
    "left_square_bracket": "[", "right_square_bracket": "]", "greater_than_sign": ">", "less_than_sign": "<",
    "escape": "esc", "asterisk": "*",
}  # fmt: skip


def own_bindings(place: type[DOMNode]) -> Iterator[Binding]:
    """The bindings a class declares itself."""
    for binding in place.__dict__.get("BINDINGS", ()):
        assert isinstance(binding, Binding)
        yield binding


def known_ids() -> frozenset[str]:
    """All ids that ``[keys]`` of ``tui.toml`` may name."""
    return frozenset(binding.id for _, place in PLACES for binding in own_bindings(place) if binding.id)


def keys_markdown() -> str:
    """A table a place."""
    parts = []
    for title, place in PLACES:
        lines = [f"### {title}", "", "| key | does | id |", "| --- | --- | --- |"]
        for binding in own_bindings(place):
            keys = " ".join(f"`{_NAMES.get(key, key)}`" for key in binding.key.split(","))
            lines.append(f"| {keys} | {binding.tooltip} | `{binding.id}` |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def with_keys(page: str) -> str:
    """A page whose part between the marks is what the code says."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{keys_markdown()}\n\n{END}{after}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_keys(path.read_text(encoding="utf-8")), encoding="utf-8")
