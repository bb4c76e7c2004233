"""A Grafana dashboard and Prometheus alert rules, made from the table of metrics."""

from mlops_box.operations.dashboard.alerts import alert_rules, alert_rules_text
from mlops_box.operations.dashboard.grafana import dashboard_json

__all__ = ["alert_rules", "alert_rules_text", "dashboard_json"]
