"""Runs as a person looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from mlops_box.box import Box
from mlops_box.db import Row
from mlops_box.epochs import Epochs
from mlops_box.ledger import Entry
from mlops_box.operations.views.paging import Page, Query, Resource
from mlops_box.operations.views.reading import moment, number
from mlops_box.run_log import LogTail, read_tail
from mlops_box.runs import Owner, Run, Step

TREND_POINTS = 12
# A table of runs draws this many curves at most; further down the page the column stays empty.
TREND_RUNS = 100


@dataclass(frozen=True)
class RunRow:
    """One line of the runs table.

    ``owner_alive`` is ``None`` for runs that ended. ``metric`` is (name, value) of the version it registered, or of
    the curve it draws. ``trend`` holds the newest values of that curve, oldest first. ``epochs`` is there for a running
    training in epochs.
    """

    id: str
    project: str
    kind: str
    state: str
    trigger: str
    started_at: datetime | None
    ended_at: datetime | None
    owner_alive: bool | None
    steps_done: int
    steps: int
    step: str | None
    error: str | None
    version: str | None
    metric: tuple[str, float] | None = None
    trend: tuple[float, ...] = ()
    epochs: Epochs | None = None


@dataclass(frozen=True)
class RunDetail:
    """All that box.db knows of one run. ``acts`` are its ledger entries, oldest first; ``epochs``: of a training in epochs."""

    run: Run
    owner_alive: bool | None
    steps: tuple[Step, ...]
    points: dict[str, list[tuple[int, float]]]
    epochs: Epochs | None
    version: str | None
    decision_id: str | None
    alert_id: str | None
    acts: tuple[Entry, ...]
    log: LogTail


_SELECT = """
SELECT runs.*,
  (SELECT COUNT(*) FROM run_steps WHERE run_id = runs.id) AS step_count,
  (SELECT COUNT(*) FROM run_steps WHERE run_id = runs.id AND state = 'completed') AS steps_done,
  (SELECT name FROM run_steps WHERE run_id = runs.id ORDER BY seq DESC LIMIT 1) AS step,
  (SELECT model || '@' || number FROM versions WHERE versions.run_id = runs.id) AS version,
  unixepoch(COALESCE(ended_at, 'now'), 'subsec') - unixepoch(started_at, 'subsec') AS took_s
FROM runs
"""


def _row(row: Row) -> RunRow:
    alive = None
    if row["state"] == "running":
        alive = Owner(row["pid"], row["pid_started"], row["boot_id"]).is_alive()
    return RunRow(
        id=row["id"], project=row["project"], kind=row["kind"], state=row["state"], trigger=row["trigger"],
        started_at=moment(row["started_at"]), ended_at=moment(row["ended_at"]), owner_alive=alive,
        steps_done=row["steps_done"], steps=row["step_count"], step=row["step"], error=row["error"],
        version=row["version"],
    )  # fmt: skip


RUNS: Resource[RunRow] = Resource(
    select=_SELECT,
    build=_row,
    fields={
        "state": "state", "kind": "kind", "project": "project", "trigger": "trigger", "id": "id",
        "step": "step", "version": "version",
    },
    text=("id", "project", "kind", "state", "trigger", "error", "version"),
    order="started_at DESC, id DESC",
    sorts={"started": "started_at", "took": "took_s", "state": "state", "kind": "kind", "project": "project"},
    problems="state IN ('failed', 'refused', 'rejected', 'crashed')",
)  # fmt: skip


def list_runs(box: Box, query: Query) -> Page[RunRow]:
    """A page of runs, newest first."""
    page = RUNS.page(box, query)
    curves = _curves(box, [row.id for row in page.rows[:TREND_RUNS]])
    rows = tuple(_with_epochs(box, _with_curve(row, curves.get(row.id))) for row in page.rows)
    return replace(page, rows=rows)


def run_detail(box: Box, run_id: str) -> RunDetail:
    """One run whole.

    Raises:
        NotFoundError: No run, or several, begin with ``run_id``.
    """
    run = box.runs.get(run_id)
    version = box.db.one("SELECT model, number FROM versions WHERE run_id = ?", (run.id,))
    decision = box.db.one("SELECT id, alert_id FROM decisions WHERE run_id = ?", (run.id,))
    return RunDetail(
        run=run,
        owner_alive=run.owner.is_alive() if run.state == "running" else None,
        steps=tuple(box.runs.steps(run.id)),
        points=box.runs.points(run.id),
        epochs=box.epochs.get(run.id),
        version=f"{version['model']}@{version['number']}" if version else None,
        decision_id=decision["id"] if decision else None,
        alert_id=decision["alert_id"] if decision else None,
        acts=tuple(reversed(box.ledger.entries(subject=f"run:{run.id}", limit=500))),
        log=read_tail(box.home, run.id),
    )


def _curves(box: Box, run_ids: Sequence[str]) -> dict[str, tuple[str, tuple[float, ...]]]:
    """The newest points of one curve a run: the first whose name speaks of validation, else the first."""
    if not run_ids:
        return {}
    marks = ", ".join("?" * len(run_ids))
    rows = box.db.read(
        f"""
        SELECT run_id, name, value FROM (
          SELECT *, ROW_NUMBER() OVER (PARTITION BY run_id, name ORDER BY step DESC) AS back,
            DENSE_RANK() OVER (PARTITION BY run_id ORDER BY name NOT LIKE '%val%', name) AS rank
          FROM run_points WHERE run_id IN ({marks})
        ) WHERE rank = 1 AND back <= ? ORDER BY run_id, back DESC
        """,
        [*run_ids, TREND_POINTS],
    )
    found: dict[str, tuple[str, list[float]]] = {}
    for row in rows:
        value = number(row["value"])
        if value is not None:
            found.setdefault(row["run_id"], (row["name"], []))[1].append(value)
    return {run_id: (name, tuple(values)) for run_id, (name, values) in found.items()}


def _with_epochs(box: Box, row: RunRow) -> RunRow:
    return replace(row, epochs=box.epochs.get(row.id)) if row.state == "running" else row


def _with_curve(row: RunRow, curve: Any) -> RunRow:
    if curve is None:
        return row
    name, values = curve
    return replace(row, trend=values, metric=(name, values[-1]))
