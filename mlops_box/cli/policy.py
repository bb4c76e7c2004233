"""``mlops-box policy``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box, printable, read_time, table

if TYPE_CHECKING:
    from mlops_box.monitoring.replay import Firing, Replay
    from mlops_box.operations.backtest import Backtest

_WIDTH = 60
_SHOWN = 20


@click.group("policy", short_help="The retraining policy: replay it over stored history.")
def command() -> None:
    """The retraining policy: replay it over stored history."""


@command.command("backtest", short_help="When would a changed policy have fired?")
@click.argument("model")
@click.option("--from", "since", metavar="TIME", help="Only windows after this: 2026-01-31, or an ISO time.")
@click.option("--to", "until", metavar="TIME", help="Only windows before this.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="What to change: retrain.cooldown=1d. Repeat it.",
)
@home_option
@json_option
def backtest_command(
    model: str,
    since: str | None,
    until: str | None,
    changes: tuple[str, ...],
    home: Path | None,
    as_json: bool,
) -> None:
    """Replay a model's stored windows under its policy and under a changed one; nothing is changed.

    Tells when each would have fired, what the trainings would have cost, and which losses of quality it would have
    caught. History is what it was: a model that was not trained cannot have changed what was seen afterwards, so after
    the first firing that history did not have, a replay fires rather too often. Suggestions count as accepted at once.
    """
    from mlops_box.operations.backtest import backtest

    with open_box(home, read_only=True) as box:
        found = backtest(
            box, model, since=read_time("--from", since), until=read_time("--to", until), changes=changes
        )
    emit(found.to_dict(), as_json=as_json, text=lambda: _text(found))


def _text(found: Backtest) -> str:
    from mlops_box.units import format_duration

    rows = [("as declared", found.declared)]
    if found.changed is not None:
        rows.append((", ".join(found.changes), found.changed))
    cost = f"{format_duration(found.training_s)} a training (median of {found.trainings})"
    lines = [
        f"{found.model}: {found.windows} windows, {found.since:%Y-%m-%d %H:%M} to {found.until:%Y-%m-%d %H:%M}",
        f"it really fired {len(found.happened)} times; "
        + (cost if found.trainings else "what a training costs is unknown: none has ended"),
        "",
        table(
            ["POLICY", "FIRED", "COST", "LOSSES CAUGHT", "NEEDLESS", "WITHHELD"],
            [
                (
                    printable(name),
                    len(one.firings),
                    format_duration(one.training_s) if found.trainings else "?",
                    f"{one.caught} of {len(one.episodes)}",
                    one.needless,
                    ", ".join(f"{reason} {count}" for reason, count in sorted(one.withheld.items())) or "-",
                )
                for name, one in rows
            ],
            empty="",
        ),
        "",
        *_timeline(found),
    ]
    best = found.changed or found.declared
    lines += ["", *_firings(best)]
    return "\n".join(lines)


def _timeline(found: Backtest) -> list[str]:
    """One line a policy over the whole time: where quality was lost, and where it fired."""
    span_s = max((found.until - found.since).total_seconds(), 1.0)

    def place(moment: datetime) -> int:
        return min(_WIDTH - 1, max(0, int((moment - found.since).total_seconds() / span_s * _WIDTH)))

    def fired(firings: tuple[Firing, ...]) -> str:
        line = ["·"] * _WIDTH
        for firing in firings:
            line[place(firing.at)] = "▲"
        return "".join(line)

    loss = ["·"] * _WIDTH
    for episode in (found.changed or found.declared).episodes:
        for cell in range(place(episode.starts_at), place(episode.ends_at) + 1):
            loss[cell] = "█"
    lines = [f"{'loss of quality':<16}{''.join(loss)}", f"{'happened':<16}{fired(found.happened)}"]
    lines.append(f"{'as declared':<16}{fired(found.declared.firings)}")
    if found.changed is not None:
        lines.append(f"{'changed':<16}{fired(found.changed.firings)}")
    return lines


def _firings(found: Replay) -> list[str]:
    lines = [
        f"{firing.at:%Y-%m-%d %H:%M}  {firing.trigger:<9} {printable(firing.reason)}"
        for firing in found.firings[:_SHOWN]
    ]
    if len(found.firings) > _SHOWN:
        lines.append(f"and {len(found.firings) - _SHOWN} more (--json shows all)")
    return lines
