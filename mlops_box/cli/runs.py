"""``mlops-box runs``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box, table

if TYPE_CHECKING:
    from mlops_box.epochs import EpochProgress
    from mlops_box.runs import Run, Step

_COLOURS = {"completed": "green", "running": "cyan", "failed": "red", "crashed": "red"}


@click.group("runs", short_help="Runs and their steps.")
def command() -> None:
    """Runs and their steps: what was done, when, and how it ended."""


@command.command("list", short_help="The newest runs.")
@click.option("--project", "project_name", help="Only runs of this project, by name.")
@click.option("--kind", type=click.Choice(["check", "train", "score", "monitor", "housekeeping"]))
@click.option("--state", help="Only runs in this state, for example running or failed.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=30, show_default=True)
@home_option
@json_option
def list_command(
    project_name: str | None,
    kind: str | None,
    state: str | None,
    limit: int,
    home: Path | None,
    as_json: bool,
) -> None:
    """The newest runs, newest first."""
    from mlops_box.operations.run_progress import run_progress

    with open_box(home, read_only=True) as box:
        runs = box.runs.list(project=project_name, kind=kind, state=state, limit=limit)
        epochs = {run.id: run_progress(box, run) for run in runs if run.state == "running"}
        now = box.clock.now()
    emit(
        [run.to_dict() | {"epochs": _epoch_facts(epochs.get(run.id))} for run in runs],
        as_json=as_json,
        text=lambda: table(
            ["RUN", "KIND", "PROJECT", "STATE", "STARTED", "TOOK", "TRIGGER", "RESULT"],
            [
                (
                    run.id,
                    run.kind,
                    run.project,
                    run.state,
                    run.started_at.strftime("%Y-%m-%d %H:%M:%S"),
                    _took(run.started_at, run.ended_at or now),
                    run.trigger,
                    (run.result or {}).get("version") or _short(run.error) or _said(epochs.get(run.id)),
                )
                for run in runs
            ],
            empty="there are no such runs; mlops-box check or mlops-box train makes one",
        ),
    )


@command.command("log", short_help="What a run said while it worked.")
@click.argument("run_id", metavar="ID")
@click.option(
    "--lines", type=click.IntRange(1, 100_000), default=200, show_default=True, help="So many newest lines."
)
@home_option
@json_option
def log(run_id: str, lines: int, home: Path | None, as_json: bool) -> None:
    """What a run said while it worked: its steps, what was logged, what the training function printed."""
    from mlops_box.run_log import MAX_BYTES, read_tail

    with open_box(home, read_only=True) as box:
        run = box.runs.get(run_id)
        tail = read_tail(box.home, run.id, max_bytes=2 * MAX_BYTES)
    shown = None if tail.lines is None else tail.lines[-lines:]
    text = (
        "no log: the run said nothing, or it is older than a month"
        if shown is None
        else _clean("\n".join(shown))
    )
    emit({"run": run.id, "lines": shown}, as_json=as_json, text=text)


@command.command("show", short_help="One run: steps, curves, error.")
@click.argument("run_id", metavar="ID")
@home_option
@json_option
def show(run_id: str, home: Path | None, as_json: bool) -> None:
    """One run, by its id or an unambiguous beginning of it: its steps, its curves, its result or error.

    A training in epochs tells how far it is and how long the rest may take."""
    from mlops_box.operations.run_progress import run_progress

    with open_box(home, read_only=True) as box:
        run = box.runs.get(run_id)
        steps, points, now = box.runs.steps(run.id), box.runs.points(run.id), box.clock.now()
        epochs = run_progress(box, run)
    facts = run.to_dict() | {
        "steps": [_step_facts(step) for step in steps],
        "points": points,
        "epochs": _epoch_facts(epochs),
    }
    emit(facts, as_json=as_json, text=lambda: _show_text(run, steps, points, epochs, now))


@command.command("cancel", short_help="Cancel one that is under way.")
@click.argument("run_id", metavar="ID")
@click.option("--reason", required=True, help="Why; it stands in the ledger.")
@home_option
@json_option
def cancel_command(run_id: str, reason: str, home: Path | None, as_json: bool) -> None:
    """Cancel a run that is under way: it is closed as cancelled, can publish nothing any more, and its process is told to
    stop."""
    from mlops_box.operations.cancel import cancel

    with open_box(home) as box:
        outcome = cancel(box, run_id, reason=reason)
    run = outcome.run
    said = f"process {run.owner.pid} was told to stop" if outcome.told else "its process was gone already"
    emit(
        outcome.to_dict(),
        as_json=as_json,
        text=f"run {run.id} ({run.kind} of {run.project}) is cancelled; {said}",
    )


def _step_facts(step: Step) -> dict[str, Any]:
    from mlops_box.clock import isoformat

    return {
        "name": step.name,
        "state": step.state,
        "started_at": isoformat(step.started_at),
        "ended_at": isoformat(step.ended_at) if step.ended_at else None,
        "detail": step.detail,
    }


def _epoch_facts(epochs: EpochProgress | None) -> dict[str, Any] | None:
    return epochs.to_dict() if epochs is not None else None


def _said(epochs: EpochProgress | None) -> str | None:
    return epochs.words() if epochs is not None else None


def _show_text(
    run: Run,
    steps: list[Step],
    points: dict[str, list[tuple[int, float]]],
    epochs: EpochProgress | None,
    now: Any,
) -> str:
    state = click.style(run.state, fg=_COLOURS.get(run.state, "yellow"), bold=True)
    parts = [
        f"{run.kind} of {run.project}: {state}\n"
        f"  run      {run.id}\n"
        f"  started  {run.started_at:%Y-%m-%d %H:%M:%S} UTC by {run.trigger}, process {run.owner.pid}\n"
        f"  took     {_took(run.started_at, run.ended_at or now)}"
        + (f"\n  epochs   {epochs.words()}" if epochs is not None else ""),
        table(
            ["STEP", "STATE", "TOOK", "DETAIL"],
            [(one.name, one.state, _took(one.started_at, one.ended_at or now), one.detail) for one in steps],
            empty="no step was begun",
        ),
    ]
    curve = _curve(points)
    if curve:
        parts.append(curve)
    if run.error:
        parts.append(click.style("error: ", fg="red", bold=True) + _clean(run.error))
    version = (run.result or {}).get("version")
    if version:
        parts.append(f"it made {_clean(str(version))}: mlops-box models show {_clean(str(version))}")
    return "\n\n".join(parts)


def _curve(points: dict[str, list[tuple[int, float]]]) -> str:
    """All series over their steps, as text; empty when there is nothing to draw."""
    series = {
        name: [(step, value) for step, value in values if math.isfinite(value)]
        for name, values in points.items()
    }
    series = {name: values for name, values in series.items() if len(values) > 1}
    if not series:
        return ""
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(72, 16)
    for name, values in series.items():
        plotext.plot([step for step, _ in values], [value for _, value in values], label=_clean(name))
    plotext.xlabel("step")
    return str(plotext.build()).rstrip()


def _took(start: Any, end: Any) -> str:
    from mlops_box.units import format_duration

    return format_duration(max((end - start).total_seconds(), 0.0))


def _short(text: str | None) -> str | None:
    return text if text is None or len(text) <= 60 else text[:59] + "…"


def _clean(text: str) -> str:
    return "".join(letter if letter.isprintable() or letter == "\n" else "�" for letter in text)
