"""``mlops-box data``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box, table

if TYPE_CHECKING:
    from mlops_box.data.values import Snapshot

_limit = click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
_project = click.option("--project-name", help="Only of this project.")


@click.group("data", short_help="Snapshots, refusals and quarantine.")
def command() -> None:
    """Snapshots, refusals and quarantine."""


@command.command("list")
@_project
@_limit
@home_option
@json_option
def list_snapshots(project_name: str | None, limit: int, home: Path | None, as_json: bool) -> None:
    """The newest snapshots."""
    from mlops_box.operations.check import snapshot_dict

    with open_box(home, read_only=True) as box:
        found = box.snapshots.list(project_name, limit=limit)
    rows = [
        (item.id[:12], item.project, item.rows, item.verdict.rows_quarantined, item.verdict.rows_rejected,
         f"{item.created_at:%Y-%m-%d %H:%M}")
        for item in found
    ]  # fmt: skip
    headers = ["snapshot", "project", "rows", "quarantined", "rejected", "created"]
    empty = "no snapshots yet: mlops-box check makes one"
    emit(
        [snapshot_dict(item) for item in found],
        as_json=as_json,
        text=lambda: table(headers, rows, empty=empty),
    )


@command.command("show")
@click.argument("snapshot")
@home_option
@json_option
def show(snapshot: str, home: Path | None, as_json: bool) -> None:
    """One snapshot: columns, verdict, where it came from."""
    from mlops_box.operations.check import snapshot_dict

    with open_box(home, read_only=True) as box:
        found = box.snapshots.get(snapshot)
    emit(snapshot_dict(found), as_json=as_json, text=lambda: _shown(found))


@command.command("quarantine")
@click.argument("snapshot")
@_limit
@home_option
@json_option
def quarantine(snapshot: str, limit: int, home: Path | None, as_json: bool) -> None:
    """The rows of a snapshot's batch that broke rules or could not be parsed."""
    with open_box(home, read_only=True) as box:
        found = box.snapshots.get(snapshot)
        bad, rejects = box.snapshots.quarantine(found), box.snapshots.rejects(found)
    rows: list[dict[str, Any]] = bad.slice(0, limit).to_pylist() if bad is not None else []
    lines: list[dict[str, Any]] = rejects.slice(0, limit).to_pylist() if rejects is not None else []

    def text() -> str:
        if not rows and not lines:
            return "no row broke a rule"
        parts = []
        if rows:
            columns = [column for column in rows[0] if not column.startswith("_")]
            cells = [
                [row["_row"], ", ".join(row["_rules"]), row["_raw"] or "-", *(row[c] for c in columns)]
                for row in rows
            ]
            parts.append(table(["row", "rules", "unreadable", *columns], cells, empty=""))
        if lines:
            cells = [[line["line"], line["column"], line["reason"], line["file"]] for line in lines]
            parts.append(table(["line", "column", "reason", "file"], cells, empty=""))
        return "\n\n".join(parts)

    emit({"quarantine": rows, "rejects": lines}, as_json=as_json, text=text)


@command.command("query")
@click.argument("snapshot")
@click.argument("sql")
@home_option
@json_option
def query(snapshot: str, sql: str, home: Path | None, as_json: bool) -> None:
    """One SELECT over a snapshot, which is the view data: at most 200 rows and 10 seconds.

    \b
    mlops-box data query 5f5f "select count(*) from data"
    mlops-box data query 5f5f "summarize data"
    """
    from mlops_box.operations.query_snapshot import query_snapshot

    with open_box(home, read_only=True) as box:
        answer = query_snapshot(box, snapshot, sql)

    def text() -> str:
        shown = table(answer.columns, answer.rows, empty="no rows")
        return f"{shown}\n... and more" if answer.more else shown

    emit(answer.to_dict(), as_json=as_json, text=text)


@command.command("refusals")
@_project
@_limit
@home_option
@json_option
def refusals(project_name: str | None, limit: int, home: Path | None, as_json: bool) -> None:
    """Batches that were refused, and which rules refused them."""
    with open_box(home, read_only=True) as box:
        found = box.snapshots.refusals(project_name, limit=limit)
    rows = [
        (item.id, item.project, f"{item.at:%Y-%m-%d %H:%M}", item.verdict.rows_in,
         "; ".join(f"{check.rule}: {check.message}" for check in item.verdict.batch_checks if not check.ok))
        for item in found
    ]  # fmt: skip
    headers = ["refusal", "project", "at", "rows", "refused by"]
    emit(
        [item.to_dict() for item in found],
        as_json=as_json,
        text=lambda: table(headers, rows, empty="no batch was refused"),
    )


def _shown(snapshot: Snapshot) -> str:
    verdict = snapshot.verdict
    lines = [
        f"snapshot {snapshot.id}",
        f"project {snapshot.project}, made {snapshot.created_at:%Y-%m-%d %H:%M} UTC",
        f"{verdict.rows_in:,} rows came in: {verdict.rows_good:,} good, {verdict.rows_quarantined:,} in quarantine, "
        f"{verdict.rows_rejected:,} rejected",
    ]
    if snapshot.time_min and snapshot.time_max:
        lines.append(f"{snapshot.time_column} from {snapshot.time_min} to {snapshot.time_max}")
    checks = [("ok" if check.ok else "broken", check.rule, check.message) for check in verdict.batch_checks]
    lines += ["", table(["", "batch rule", "said"], checks, empty="")]
    if verdict.row_rules:
        hits = [(hit.rule, hit.rows) for hit in verdict.row_rules]
        lines += ["", table(["broken rule", "rows"], hits, empty="")]
    lines += [
        "",
        table(["column", "type"], [(column.name, column.type) for column in snapshot.schema], empty=""),
    ]
    files = [(file["path"], file["size_bytes"], file["sha256"][:12]) for file in snapshot.lineage["files"]]
    lines += ["", table(["file", "bytes", "sha256"], files, empty="")]
    return "\n".join(lines)
