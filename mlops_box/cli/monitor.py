"""``mlops-box monitor``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from mlops_box.cli.common import home_option, json_option, open_box, printable, table


@click.command("monitor", short_help="Compare live traffic with the reference, alert, decide.")
@click.argument("model", required=False)
@click.option("--direct", is_flag=True, help="In this process, without the orchestrator; retrains here too.")
@home_option
@json_option
def command(model: str | None, direct: bool, home: Path | None, as_json: bool) -> None:
    """Compare live traffic with the reference, alert, decide.

    Looks at MODEL, or at every model with a champion: seals the prediction log, profiles each window, tests for drift,
    computes realised quality where ground truth arrived, opens and resolves alerts, and does what [retrain] says.
    """
    if direct:
        facts = _directly(model, home)
    else:
        from mlops_box.cli.flow_process import flow_outcome

        arguments = ["--model", model] if model is not None else []
        arguments += ["--home", str(home)] if home is not None else []
        facts = flow_outcome("monitor", arguments)
    click.echo(json.dumps(facts, default=str, ensure_ascii=False) if as_json else _text(facts))


def _directly(model: str | None, home: Path | None) -> dict[str, Any]:
    from mlops_box.operations.launch import DirectLauncher
    from mlops_box.operations.locks import held
    from mlops_box.operations.monitor import monitor
    from mlops_box.progress import TerminalProgress

    with open_box(home) as box, TerminalProgress() as progress:

        def waiting() -> None:
            progress.begin("waiting for another monitor run")
            progress.end()

        # The same lane as the flow's: one monitor at a time in a box.
        with held(box.home.run / "monitor.lane", waiting=waiting):
            return monitor(box, model=model, launcher=DirectLauncher(box), progress=progress).to_dict()


def _text(facts: dict[str, Any]) -> str:
    watched = ", ".join(facts["models"]) or "no model has a champion"
    parts = [click.style(f"monitored: {watched}", bold=True) + f" ({facts['sealed_rows']} new log rows)"]
    if not facts["rotated"]:
        parts.append("note: a server did not close its log in time; its newest predictions come next time")
    parts.append(
        table(
            ["WINDOW", "VERSION", "ROWS", "TRUTH", "DRIFT", "QUALITY", "DATA", "COLUMNS"],
            [_window(window) for window in facts["windows"]],
            empty="no window changed: no new predictions and no new ground truth",
        )
    )
    notes = [note for window in facts["windows"] for note in _notes(window)]
    notes += [f"  {model}  {printable(_rate(rate))}" for model, rate in facts["rates"].items()]
    if notes:
        parts.append("said of them\n" + "\n".join(notes))
    if facts["alerts"]:
        parts.append("alerts\n" + "\n".join(_alert(alert) for alert in facts["alerts"]))
    if facts["decisions"]:
        parts.append("decisions\n" + "\n".join(_decision(item) for item in facts["decisions"]))
    subject = next((item["id"] for item in facts["decisions"] + facts["alerts"]), None)
    if subject:
        parts.append(f"next\n  mlops-box why {subject}")
    return "\n\n".join(parts)


def _notes(window: dict[str, Any]) -> list[str]:
    """What a person should know of a window's verdicts: what they could not rest on, what is broken, what is estimated."""
    said = []
    if window.get("uncalibrated"):
        said.append(f"uncalibrated: {window['uncalibrated']}")
    if window.get("data_reason"):
        said.append(f"data: {window['data_reason']}")
    estimate = window.get("estimate")
    if estimate and estimate["value"] is not None:
        said.append(estimate["text"])
    at = window["starts_at"][:16].replace("T", " ")
    return [f"  {at} {window['version']}  {printable(text)}" for text in said]


def _rate(rate: dict[str, Any]) -> str:
    if rate["outcome"] == "cannot_tell":
        return f"traffic: cannot tell: {rate['reason']}"
    return f"traffic from {rate['starts_at'][:16].replace('T', ' ')}: {rate['reason']}"


def _window(window: dict[str, Any]) -> tuple[object, ...]:
    columns = window["drifted"]
    shown = ", ".join(columns[:4]) + (f" and {len(columns) - 4} more" if len(columns) > 4 else "")
    return (
        window["starts_at"][:16].replace("T", " "),
        window["version"],
        window["rows"],
        window["rows_with_truth"],
        window["drift"].replace("_", " "),
        window["quality"].replace("_", " "),
        window["data"].replace("_", " "),
        shown or None,
    )


def _alert(alert: dict[str, Any]) -> str:
    return f"  {alert['change']:<8} {alert['id']}  {alert['kind']}: {printable(alert['title'])}"


def _decision(item: dict[str, Any]) -> str:
    result = f" → {item['result']}" if item["result"] else ""
    version = f" {item['version']}" if item["version"] else ""
    return (
        f"  {item['state']:<9} {item['id']}  {item['trigger']}{result}{version}: {printable(item['reason'])}"
    )
