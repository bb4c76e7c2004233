"""``mlops-box dashboard``."""

from __future__ import annotations

import json

import click

from mlops_box.cli.common import json_option


@click.command("dashboard", short_help="Print a Grafana dashboard or Prometheus alert rules.")
@click.option("--alerts", is_flag=True, help="A rule file for Prometheus instead of the dashboard.")
@json_option
def command(alerts: bool, as_json: bool) -> None:
    """Print a dashboard for Grafana's import, or a rule file for Prometheus.

    Both read what the inference server tells under /metrics, and are made from the same table as that page. The dashboard
    is JSON; with --json it is one line. With --alerts --json the rules come as one JSON object, which Prometheus reads too.
    """
    from mlops_box.operations.dashboard import alert_rules, alert_rules_text, dashboard_json

    if alerts:
        click.echo(json.dumps(alert_rules()) if as_json else alert_rules_text(), nl=as_json)
    else:
        click.echo(json.dumps(dashboard_json(), indent=None if as_json else 2))
