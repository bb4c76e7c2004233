"""The screens that show one thing whole, by the kind of thing. Another one is one more line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlops_box_tui.lazy import LazyTable

if TYPE_CHECKING:
    from mlops_box_tui.screens.detail import DetailScreen

DETAILS: LazyTable[type[DetailScreen[Any]]] = LazyTable(
    "mlops_box_tui.screens",
    {
        "run": "run:RunScreen",
        "version": "version:VersionScreen",
        "alert": "alert:AlertScreen",
        "decision": "decision:DecisionScreen",
        "batch": "batch:BatchScreen",
        "device": "device:DeviceScreen",
        "feature": "feature:FeatureScreen",
        "feature_view": "feature_view:FeatureViewScreen",
        "rollout": "rollout:RolloutScreen",
        "served": "served:ServedScreen",
    },
)
