"""The panels as a dashboard that Grafana imports (schema version 39, Grafana 10 and later)."""

from __future__ import annotations

from typing import Any

from mlops_box.operations.dashboard.panels import ROWS, Panel
from mlops_box.serving import metric_table as table

_COLUMNS, _STAT_HEIGHT, _CHART_HEIGHT = 24, 4, 8
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboard_json() -> dict[str, Any]:
    """The dashboard; it asks for its Prometheus, the server and the model when it is opened."""
    return {
        "uid": "mlops-box",
        "title": "mlops-box serving",
        "description": "Models served by one box. Made by `mlops-box dashboard`; changes are lost when it is imported again.",
        "tags": ["mlops-box"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": _variables()},
        "panels": _panels(),
    }


def _variables() -> list[dict[str, Any]]:
    source = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return [
        source,
        _choice("instance", "Server", f"label_values({table.READY.sample}, instance)"),
        _choice(
            "model", "Model", f'label_values({table.SERVING_VERSION.sample}{{instance=~"$instance"}}, model)'
        ),
    ]


def _choice(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    y = 0
    for row in ROWS:
        place = {"h": 1, "w": _COLUMNS, "x": 0, "y": y}
        found.append(
            {"id": len(found) + 1, "type": "row", "title": row.title, "collapsed": False, "gridPos": place}
        )
        y += 1
        x, height = 0, _CHART_HEIGHT if row.panels[0].kind == "timeseries" else _STAT_HEIGHT
        for panel in row.panels:
            place = {"h": height, "w": panel.width, "x": x, "y": y}
            found.append(_panel(panel, len(found) + 1, place))
            x += panel.width
        y += height
    return found


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.alarm is not None:
        steps.append({"color": "red", "value": panel.alarm})
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "expr": query.expr,
                "legendFormat": query.legend,
            }
            for index, query in enumerate(panel.queries)
        ],
    }
