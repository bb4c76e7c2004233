"""The views in the order of their digits, 0 last. Another view is one more line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from mlops_box_tui.lazy import LazyTable

if TYPE_CHECKING:
    from mlops_box_tui.views.base import ListView
    from mlops_box_tui.views.home import HomeView

    View: TypeAlias = HomeView | ListView[Any]

VIEWS: LazyTable[type[View]] = LazyTable(
    "mlops_box_tui.views",
    {
        "home": "home:HomeView",
        "runs": "runs:RunsView",
        "models": "models:ModelsView",
        "serving": "serving:ServingView",
        "drift": "drift:DriftView",
        "alerts": "alerts:AlertsView",
        "decisions": "decisions:DecisionsView",
        "data": "data:DataView",
        "features": "features:FeaturesView",
        "devices": "devices:DevicesView",
    },
)
# Reached from another view, not by a digit.
INNER_VIEWS: LazyTable[type[View]] = LazyTable("mlops_box_tui.views", {"versions": "models:VersionsView"})
