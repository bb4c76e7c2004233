"""What a person looks at: pages of rows and details, read from box.db and the box's files.

Plain functions over a Box that may be open read-only; rows are frozen dataclasses; filter, sort and limit run in SQL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_box.lazy import on_first_use

if TYPE_CHECKING:
    from mlops_box.operations.views.alerts import (
        AlertDetail,
        AlertRow,
        DecisionDetail,
        DecisionRow,
        alert_detail,
        decision_detail,
        list_alerts,
        list_decisions,
    )
    from mlops_box.operations.views.data import BatchDetail, BatchRow, batch_detail, list_batches
    from mlops_box.operations.views.devices import DeviceDetail, DeviceRow, device_detail, list_devices
    from mlops_box.operations.views.drift import (
        DriftRow,
        FeatureDetail,
        WindowRow,
        feature_detail,
        list_drift,
    )
    from mlops_box.operations.views.features import (
        FeatureViewDetail,
        FeatureViewRow,
        PinnedBy,
        feature_view_detail,
        list_features,
    )
    from mlops_box.operations.views.findings import FindingView
    from mlops_box.operations.views.gpu import Gpu, Gpus, read_gpus
    from mlops_box.operations.views.heatmap import HeatCell, Heatmap, HeatWindow, drift_heatmap
    from mlops_box.operations.views.host import HostReading, Own, ProcessReading, own_processes, read_host
    from mlops_box.operations.views.metric_history import (
        MetricHistory,
        MetricPoint,
        ModelHistory,
        model_history,
    )
    from mlops_box.operations.views.models import (
        ModelRow,
        VersionDetail,
        VersionFile,
        VersionRow,
        list_models,
        list_versions,
        version_detail,
    )
    from mlops_box.operations.views.paging import Page, Query
    from mlops_box.operations.views.pulse import Counts, Pulse, read_counts, read_pulse
    from mlops_box.operations.views.runs import RunDetail, RunRow, list_runs, run_detail
    from mlops_box.operations.views.serving import RecentTraffic, ServedModel, ServingStatus, read_serving
    from mlops_box.operations.views.setbacks import Setback, setback_of
    from mlops_box.operations.views.shapes import Shape

__all__ = [
    "AlertDetail",
    "AlertRow",
    "BatchDetail",
    "BatchRow",
    "Counts",
    "DecisionDetail",
    "DecisionRow",
    "DeviceDetail",
    "DeviceRow",
    "DriftRow",
    "FeatureDetail",
    "FeatureViewDetail",
    "FeatureViewRow",
    "FindingView",
    "Gpu",
    "Gpus",
    "HeatCell",
    "HeatWindow",
    "Heatmap",
    "HostReading",
    "MetricHistory",
    "MetricPoint",
    "ModelHistory",
    "ModelRow",
    "Own",
    "Page",
    "PinnedBy",
    "ProcessReading",
    "Pulse",
    "Query",
    "RecentTraffic",
    "RunDetail",
    "RunRow",
    "ServedModel",
    "ServingStatus",
    "Setback",
    "Shape",
    "VersionDetail",
    "VersionFile",
    "VersionRow",
    "WindowRow",
    "alert_detail",
    "batch_detail",
    "decision_detail",
    "device_detail",
    "drift_heatmap",
    "feature_detail",
    "feature_view_detail",
    "list_alerts",
    "list_batches",
    "list_decisions",
    "list_devices",
    "list_drift",
    "list_features",
    "list_models",
    "list_runs",
    "list_versions",
    "model_history",
    "own_processes",
    "read_counts",
    "read_gpus",
    "read_host",
    "read_pulse",
    "read_serving",
    "run_detail",
    "setback_of",
    "version_detail",
]

# The same names by the module they live in, for the running program; a test holds both equal.
_HOMES = {
    "alerts": ("AlertDetail", "AlertRow", "DecisionDetail", "DecisionRow", "alert_detail", "decision_detail", "list_alerts", "list_decisions"),
    "data": ("BatchDetail", "BatchRow", "batch_detail", "list_batches"),
    "devices": ("DeviceDetail", "DeviceRow", "device_detail", "list_devices"),
    "drift": ("DriftRow", "FeatureDetail", "WindowRow", "feature_detail", "list_drift"),
    "features": ("FeatureViewDetail", "FeatureViewRow", "PinnedBy", "feature_view_detail", "list_features"),
    "findings": ("FindingView",),
    "gpu": ("Gpu", "Gpus", "read_gpus"),
    "heatmap": ("HeatCell", "Heatmap", "HeatWindow", "drift_heatmap"),
    "host": ("HostReading", "Own", "ProcessReading", "own_processes", "read_host"),
    "metric_history": ("MetricHistory", "MetricPoint", "ModelHistory", "model_history"),
    "models": ("ModelRow", "VersionDetail", "VersionFile", "VersionRow", "list_models", "list_versions", "version_detail"),
    "paging": ("Page", "Query"),
    "pulse": ("Counts", "Pulse", "read_counts", "read_pulse"),
    "runs": ("RunDetail", "RunRow", "list_runs", "run_detail"),
    "serving": ("RecentTraffic", "ServedModel", "ServingStatus", "read_serving"),
    "setbacks": ("Setback", "setback_of"),
    "shapes": ("Shape",),
}  # fmt: skip

# The terminal's first picture, and a command that lists, need few of these modules.
__getattr__ = on_first_use(__name__, {name: module for module, names in _HOMES.items() for name in names})
