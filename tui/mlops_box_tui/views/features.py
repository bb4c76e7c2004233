"""Feature views: what is declared, for which entity, and how many model versions learnt from it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.screen import Screen

from mlops_box.box import Box
from mlops_box.operations.views import FeatureViewRow, Page, Query, list_features
from mlops_box_tui.look import Look
from mlops_box_tui.views.base import ListView
from mlops_box_tui.widgets.table import Column


class FeaturesView(ListView[FeatureViewRow]):
    """One line a feature view, its newest version."""

    NAME = "features"
    COLUMNS = (
        Column("name", "view", 20, sortable=True),
        Column("version", "version", 8, sortable=True),
        Column("entity", "entity", 14),
        Column("features", "features", 24, flex=True),
        Column("models", "models", 7, sortable=True, right=True),
        Column("sources", "sources", 16, drop=2),
        Column("project", "project", 16, drop=1),
        Column("owner", "owner", 12, drop=3),
        Column("at", "since", 11, sortable=True),
    )
    EMPTY = (
        "No feature view. Declare one under [features] in mlops.toml, then:",
        "mlops-box check --project DIR",
    )

    def fetch(self, box: Box, query: Query) -> Page[FeatureViewRow]:
        return list_features(box, query)

    def key_of(self, row: FeatureViewRow) -> str:
        return row.name

    def cells(self, row: FeatureViewRow, look: Look) -> tuple[Text, ...]:
        return (
            look.text(row.name, "accent"), look.text(f"v{row.version}"), look.text(", ".join(row.entity)),
            look.text(", ".join(row.features)), look.count(row.models), look.text(", ".join(row.sources), "quiet"),
            look.text(row.project, "quiet"), look.text(row.owner, "quiet"), look.when(row.created_at),
        )  # fmt: skip

    def preview(self, row: FeatureViewRow, look: Look) -> Sequence[Text]:
        return (
            Text.assemble(look.text(f"{row.name}@{row.version}", "accent"), "  ", look.text(row.description)),
            Text.assemble(("features ", "dim"), look.text(", ".join(row.features))),
        )

    def detail(self, row: FeatureViewRow) -> Screen[None]:
        # It brings duckdb along, which a look at the list does without.
        from mlops_box_tui.screens.feature_view import FeatureViewScreen

        return FeatureViewScreen(row.name)
