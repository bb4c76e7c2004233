"""``mlops-box rollout``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box, printable, table

if TYPE_CHECKING:
    from mlops_box.box import Box
    from mlops_box.operations.rollout import RolloutStatus

_reason_option = click.option("--reason", required=True, help="Why; it stands in the ledger.")


@click.group("rollout", short_help="How a new version takes over: look, hold, skip, end.")
def command() -> None:
    """How a new version takes over: look, hold, skip, end.

    proposed: it waits. shadow: it sees copies of requests. canary: it answers a share of them. champion: it took over.
    rejected, rolled_back: it did not. The running server moves a rollout on by itself.
    """


@command.command("status", short_help="What is under way, and what it waits for.")
@click.argument("model", required=False)
@click.option(
    "--tick", is_flag=True, help="First make the transitions that are due, as the server does each second."
)
@home_option
@json_option
def status_command(model: str | None, tick: bool, home: Path | None, as_json: bool) -> None:
    """Rollouts that are under way with their evidence, and the newest one of every other model."""
    from mlops_box.operations.rollout import advance, status

    with open_box(home, read_only=not tick) as box:
        if tick:
            advance(box, model)
        found = status(box, model)
    emit(
        [item.to_dict() for item in found],
        as_json=as_json,
        text=lambda: (
            "\n\n".join(_status_text(item) for item in found)
            or "no rollout yet; declare shadow or canary under [serve] rollout and train"
        ),
    )


@command.command("list", short_help="Rollouts, newest first.")
@click.option("--model", help="Only of this model.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@home_option
@json_option
def list_command(model: str | None, limit: int, home: Path | None, as_json: bool) -> None:
    """Rollouts of one model or of all, newest first."""
    with open_box(home, read_only=True) as box:
        rollouts = box.rollouts.list(model, limit=limit)
    emit(
        [rollout.to_dict() for rollout in rollouts],
        as_json=as_json,
        text=lambda: table(
            ["ROLLOUT", "VERSION", "OVER", "STATE", "SINCE", "REASON"],
            [
                (
                    rollout.id,
                    rollout.ref,
                    rollout.base_ref,
                    rollout.stage_text,
                    rollout.stage_at.strftime("%Y-%m-%d %H:%M:%S"),
                    printable(rollout.reason),
                )
                for rollout in rollouts
            ],
            empty="no rollout yet; declare shadow or canary under [serve] rollout and train",
        ),
    )


@command.command("start", short_help="Propose a version by hand.")
@click.argument("ref")
@_reason_option
@home_option
@json_option
def start_command(ref: str, reason: str, home: Path | None, as_json: bool) -> None:
    """Propose an accepted version by hand, by the plan its project declares."""
    from mlops_box.operations.rollout import start

    _act(lambda box: start(box, ref, reason=reason), home, as_json)


@command.command("pause", short_help="Hold it where it is.")
@click.argument("model")
@_reason_option
@home_option
@json_option
def pause_command(model: str, reason: str, home: Path | None, as_json: bool) -> None:
    """Hold a model's rollout where it is; proof that the new version is bad still ends it."""
    from mlops_box.operations.rollout import pause

    _act(lambda box: pause(box, model, reason=reason), home, as_json)


@command.command("resume", short_help="Let it go on.")
@click.argument("model")
@_reason_option
@home_option
@json_option
def resume_command(model: str, reason: str, home: Path | None, as_json: bool) -> None:
    """Let a paused rollout go on; the time it stood still does not count."""
    from mlops_box.operations.rollout import resume

    _act(lambda box: resume(box, model, reason=reason), home, as_json)


@command.command("promote", short_help="Skip the rest: the new version becomes champion.")
@click.argument("model")
@_reason_option
@home_option
@json_option
def promote_command(model: str, reason: str, home: Path | None, as_json: bool) -> None:
    """Skip the rest of a model's rollout: the new version becomes champion now."""
    from mlops_box.operations.rollout import promote_now

    _act(lambda box: promote_now(box, model, reason=reason), home, as_json)


@command.command("abort", short_help="End it: the champion answers every request.")
@click.argument("model")
@_reason_option
@home_option
@json_option
def abort_command(model: str, reason: str, home: Path | None, as_json: bool) -> None:
    """End a model's rollout: the champion answers every request again."""
    from mlops_box.operations.rollout import abort

    _act(lambda box: abort(box, model, reason=reason), home, as_json)


def _act(act: Callable[[Box], RolloutStatus], home: Path | None, as_json: bool) -> None:
    with open_box(home) as box:
        found = act(box)
    emit(found.to_dict(), as_json=as_json, text=lambda: _status_text(found))


def _status_text(found: RolloutStatus) -> str:
    rollout = found.rollout
    since = rollout.stage_at.strftime("%Y-%m-%d %H:%M:%S")
    lines = [
        click.style(f"{rollout.ref} over {rollout.base_ref}: {rollout.stage_text}", bold=True)
        + f" since {since} UTC",
        f"  {'waits for' if rollout.is_open else 'reason'}: {printable(found.waits_for)}",
    ]
    if found.verdict is not None:
        lines.append(f"  requests: {found.verdict.requests} of at least {rollout.plan.min_requests}")
        lines += [
            f"  {signal.name}: {signal.outcome.replace('_', ' ')}: {printable(signal.text)}"
            for signal in found.verdict.signals
        ]
    lines.append(f"  mlops-box why {rollout.id}")
    return "\n".join(lines)
