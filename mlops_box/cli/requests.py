"""``mlops-box requests MODEL``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box, read_time, table

if TYPE_CHECKING:
    from datetime import datetime

    from mlops_box.serving.answered import AnsweredRequest

# Of answers that are long texts, so much is shown in a table.
_WIDTH = 24


@click.command("requests")
@click.argument("model")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@click.option(
    "--since", metavar="TIME", help="Only from this day or time on, for example 2026-01-31T12:00:00Z."
)
@click.option(
    "--filter",
    "typed",
    default="",
    metavar="TEXT",
    help="Only what matches: text, !text, ~text, or variant:, version:, answer:, outcome:, truth:, inputs: and id: with a "
    "value. It looks through the newest that --limit reads.",
)
@home_option
@json_option
def command(
    model: str, limit: int, since: str | None, typed: str, home: Path | None, as_json: bool
) -> None:  # fmt: skip
    """The newest answered requests, from the prediction log.

    MODEL is a name, for all its versions, or name@7. Read from the box's files, whether a server runs or not. A request that
    was refused or failed leaves no record there, and redacted columns are not shown.
    """
    from mlops_box.operations.views.requests import matching, newest_requests, request_facts

    start = read_time("--since", since)
    with open_box(home, read_only=True) as box:
        tail = newest_requests(box, model, since=start or box.clock.now(), limit=limit)
        found = [one for one in tail.requests if start is None or one.at >= start]
        shown = matching(box, found, typed)
        now = box.clock.now()
    emit(
        [request_facts(request) for request in shown],
        as_json=as_json,
        text=lambda: table(
            ["AT", "ID", "VERSION", "AS", "ROWS", "ANSWER", "MS", "OUTCOME", "TRUTH"],
            [_line(request, now) for request in shown],
            empty=f"nothing of {model} matches"
            if found
            else f"no answered request of {model}; mlops-box predict asks one",
        ),
    )


def _line(request: AnsweredRequest, now: datetime) -> tuple[object, ...]:
    first = request.first[0]
    return (
        request.at.strftime("%H:%M:%S" if request.at.date() == now.date() else "%Y-%m-%d %H:%M:%S"),
        request.id, f"v{request.number}", request.variant, request.rows,
        first.answer[:_WIDTH] if isinstance(first.answer, str) else first.answer, request.latency_ms, request.outcome,
        first.truth,
    )  # fmt: skip
