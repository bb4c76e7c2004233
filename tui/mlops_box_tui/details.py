"""The screens that show one thing whole, by the kind of thing. Another one is one more line here."""

from __future__ import annotations

from typing import Any

from mlops_box_tui.screens.alert import AlertScreen
from mlops_box_tui.screens.batch import BatchScreen
from mlops_box_tui.screens.decision import DecisionScreen
from mlops_box_tui.screens.detail import DetailScreen
from mlops_box_tui.screens.device import DeviceScreen
from mlops_box_tui.screens.feature import FeatureScreen
from mlops_box_tui.screens.rollout import RolloutScreen
from mlops_box_tui.screens.run import RunScreen
from mlops_box_tui.screens.served import ServedScreen
from mlops_box_tui.screens.version import VersionScreen

DETAILS: dict[str, type[DetailScreen[Any]]] = {
    "run": RunScreen,
    "version": VersionScreen,
    "alert": AlertScreen,
    "decision": DecisionScreen,
    "batch": BatchScreen,
    "device": DeviceScreen,
    "feature": FeatureScreen,
    "rollout": RolloutScreen,
    "served": ServedScreen,
}
