"""The views in the order of their digits, 0 last. Another view is one more line here."""

from __future__ import annotations

from mlops_box_tui.views.alerts import AlertsView
from mlops_box_tui.views.base import ListView
from mlops_box_tui.views.data import DataView
from mlops_box_tui.views.decisions import DecisionsView
from mlops_box_tui.views.devices import DevicesView
from mlops_box_tui.views.drift import DriftView
from mlops_box_tui.views.features import FeaturesView
from mlops_box_tui.views.home import HomeView
from mlops_box_tui.views.models import ModelsView, VersionsView
from mlops_box_tui.views.runs import RunsView
from mlops_box_tui.views.serving import ServingView

View = HomeView | ListView  # type: ignore[type-arg]

VIEWS: dict[str, type[View]] = {
    "home": HomeView,
    "runs": RunsView,
    "models": ModelsView,
    "serving": ServingView,
    "drift": DriftView,
    "alerts": AlertsView,
    "decisions": DecisionsView,
    "data": DataView,
    "features": FeaturesView,
    "devices": DevicesView,
}
# Reached from another view, not by a digit.
INNER_VIEWS: dict[str, type[View]] = {"versions": VersionsView}
