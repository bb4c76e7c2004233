"""Prometheus alert rules: what a person should come for, each with what to do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from mlops_box.operations.dashboard.panels import NOT_OUR_FAULT, TO_CALLERS, quantile, rate, select, share
from mlops_box.serving import metric_table as table
from mlops_box.serving.metric_table import Metric


@dataclass(frozen=True)
class Alert:
    """One rule.

    Attributes:
        for_: How long it must hold; ``0m`` fires at once.
        summary, do: For people; may hold Prometheus' templates.
    """

    name: str
    expr: str
    for_: str
    severity: Literal["page", "ticket"]
    summary: str
    do: str


_WINDOW = "5m"
_OUR_FAULT = f'outcome!~"{NOT_OUR_FAULT}"'
_SHED = 'outcome="overloaded"'
_NOT_FINITE = 'outcome="not_finite"'


def _first_or_more(metric: Metric, where: str, window: str) -> str:
    """A counter grew. Its first event makes the series, which ``increase`` alone does not see."""
    found = select(metric.sample, where)
    return f"(increase({found}[{window}]) > 0) or (({found} > 0) unless ({found} offset {window}))"


ALERTS: tuple[Alert, ...] = (
    Alert("MlopsBoxDown", f"absent({table.READY.sample})", "2m", "page",
          "No inference server answers Prometheus", "mlops-box status; then logs/server.log"),
    Alert("MlopsBoxNotReady", f"min by (instance) ({table.READY.sample}) == 0", "1m", "page",
          "{{ $labels.instance }} is not ready", "GET /readyz names the problem"),
    Alert("MlopsBoxLogFailed", f"max by (instance) ({table.LOG_FAILED.sample}) == 1", "0m", "page",
          "{{ $labels.instance }} cannot write its prediction log", "free space on the disk of the box; mlops-box doctor"),
    Alert("MlopsBoxUnlogged", f"increase({table.UNLOGGED.sample}[{_WINDOW}]) > 0", "0m", "ticket",
          "{{ $labels.instance }} answered requests without a record", "free space; monitoring misses these predictions"),
    Alert("MlopsBoxFailing",
          f"{share(table.REQUESTS, _OUR_FAULT, 'model', TO_CALLERS, _WINDOW)} > 0.01", "5m", "page",
          "More than 1 % of the requests to {{ $labels.model }} fail",
          "the dashboard's row Errors names the outcome, logs/server.log the request ids"),
    Alert("MlopsBoxShedding", f"{rate(table.REQUESTS, 'model', f'{TO_CALLERS},{_SHED}', _WINDOW)} > 0", "5m", "ticket",
          "{{ $labels.model }} refuses requests because too many rows wait", "more workers, larger requests, or fewer callers"),
    Alert("MlopsBoxNotFinite", f"{share(table.REQUESTS, _NOT_FINITE, 'model', TO_CALLERS, _WINDOW)} > 0.001", "10m", "ticket",
          "{{ $labels.model }} answers NaN or infinity", "mlops-box rollback MODEL if a new version does it"),
    Alert("MlopsBoxSlow", f"{quantile(0.99, table.REQUEST_SECONDS, 'model', TO_CALLERS, _WINDOW)} > 0.5", "10m", "ticket",
          "1 of 100 requests to {{ $labels.model }} takes over 0.5 s", "edit the bound to what your callers need"),
    Alert("MlopsBoxVersionRefused", _first_or_more(table.SWAPS, 'outcome!="ok"', "15m"), "0m", "ticket",
          "A new champion of {{ $labels.model }} was refused ({{ $labels.outcome }}); the old one goes on",
          "GET /readyz says why; mlops-box why MODEL@VERSION"),
    Alert("MlopsBoxUntold", f"increase({table.OBSERVATIONS_DROPPED.sample}[15m]) > 0", "0m", "ticket",
          "{{ $labels.instance }} lost lines of its access log or traces", "the disk, or more traffic than one thread can tell"),
)  # fmt: skip


def alert_rules() -> dict[str, Any]:
    """What a rule file of Prometheus holds."""
    rules = [
        {
            "alert": alert.name,
            "expr": alert.expr,
            "for": alert.for_,
            "labels": {"severity": alert.severity},
            "annotations": {"summary": alert.summary, "do": alert.do},
        }
        for alert in ALERTS
    ]
    return {"groups": [{"name": "mlops-box", "rules": rules}]}


def alert_rules_text() -> str:
    """The same as YAML, to be read and edited."""
    lines = ["groups:", "  - name: mlops-box", "    rules:"]
    for alert in ALERTS:
        # A JSON string is a YAML string, whatever it holds.
        lines += [
            f"      - alert: {alert.name}",
            f"        expr: {json.dumps(alert.expr)}",
            f"        for: {alert.for_}",
            "        labels:",
            f"          severity: {alert.severity}",
            "        annotations:",
            f"          summary: {json.dumps(alert.summary)}",
            f"          do: {json.dumps(alert.do)}",
        ]
    return "\n".join(lines) + "\n"
