"""``mlops-box features status``."""

from __future__ import annotations

from pathlib import Path

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box, table
from mlops_box.units import format_duration


@click.command("status")
@click.argument("view", required=False)
@home_option
@json_option
def command(view: str | None, home: Path | None, as_json: bool) -> None:
    """Show how fresh features are, in files and online."""
    from mlops_box.operations.features.status import features_status

    with open_box(home) as box:
        found = features_status(box, view=view)
    headers = ["view", "materialised", "rows", "online", "newest", "waiting events"]
    rows = [
        [
            item.view,
            f"{format_duration(item.behind_s)} ago" if item.behind_s is not None else "never",
            f"{item.rows:,}", f"{item.entities:,}",
            f"{format_duration(item.age_s)} ago" if item.age_s is not None else None, f"{item.waiting:,}",
        ]
        for item in found
    ]  # fmt: skip
    emit(
        [item.to_dict() for item in found],
        as_json=as_json,
        text=lambda: table(
            headers, rows, empty="no feature views; mlops-box check registers those of mlops.toml"
        ),
    )
