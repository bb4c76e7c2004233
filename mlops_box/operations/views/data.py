"""Snapshots and refused batches in one table: what the contract said, batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlops_box.box import Box
from mlops_box.data.values import BatchCheck, Column, RuleHit
from mlops_box.db import Row
from mlops_box.errors import NotFoundError
from mlops_box.operations.views.batch_evidence import (
    Contract,
    Quarantine,
    contract_of,
    declared_data,
    quarantine_of,
)
from mlops_box.operations.views.paging import Page, Query, Resource
from mlops_box.operations.views.reading import mapping, moment, number, sequence


@dataclass(frozen=True)
class BatchRow:
    """One checked batch: ``state`` is ``accepted`` (``id`` names its snapshot) or ``refused``.

    ``first_rule`` is the rule that broke first: batch rules before row rules.
    """

    id: str
    state: str
    project: str
    door: str
    at: datetime | None
    rows_in: int | None
    rows_good: int | None
    rows_quarantined: int | None
    rows_rejected: int | None
    columns: int | None
    time_min: datetime | None
    time_max: datetime | None
    versions: int
    first_rule: str | None


@dataclass(frozen=True)
class BatchDetail:
    """One batch whole; ``used_by`` are the model versions trained on it, ``contract`` is its project's."""

    row: BatchRow
    rules: tuple[RuleHit, ...]
    checks: tuple[BatchCheck, ...]
    schema: tuple[Column, ...]
    lineage: dict[str, Any]
    used_by: tuple[str, ...]
    quarantine_digest: str | None
    rejects_digest: str | None
    quarantine: Quarantine
    contract: Contract | None


_SELECT = """
SELECT id, 'accepted' AS state, project, 'training' AS door, created_at AS at, rows_in, rows AS rows_good,
  rows_quarantined, rows_rejected, schema, time_min, time_max, verdict, lineage, quarantine_digest, rejects_digest,
  (SELECT COUNT(*) FROM versions WHERE snapshot_id = snapshots.id) AS versions
FROM snapshots
UNION ALL
SELECT id, 'refused', project, door, at, json_extract(verdict, '$.rows_in'), json_extract(verdict, '$.rows_good'),
  json_extract(verdict, '$.rows_quarantined'), json_extract(verdict, '$.rows_rejected'), NULL, NULL, NULL,
  verdict, lineage, NULL, NULL, 0
FROM refusals
"""


def _row(row: Row) -> BatchRow:
    schema = sequence(row["schema"])
    rules, checks = _verdict(row["verdict"])
    broken = [check.rule for check in checks if not check.ok] + [rule.rule for rule in rules]
    return BatchRow(
        id=row["id"], state=row["state"], project=row["project"], door=row["door"], at=moment(row["at"]),
        rows_in=row["rows_in"], rows_good=row["rows_good"], rows_quarantined=row["rows_quarantined"],
        rows_rejected=row["rows_rejected"], columns=len(schema) if row["schema"] else None,
        time_min=moment(row["time_min"]), time_max=moment(row["time_max"]), versions=row["versions"],
        first_rule=broken[0] if broken else None,
    )  # fmt: skip


BATCHES: Resource[BatchRow] = Resource(
    select=_SELECT,
    build=_row,
    fields={"state": "state", "project": "project", "door": "door", "id": "id"},
    text=("id", "state", "project", "door", "verdict"),
    order="at DESC, id",
    sorts={"at": "at", "rows": "rows_good", "quarantined": "rows_quarantined", "state": "state"},
    problems="state = 'refused' OR rows_quarantined > 0 OR rows_rejected > 0",
)


def list_batches(box: Box, query: Query) -> Page[BatchRow]:
    """A page of snapshots and refusals, newest first."""
    return BATCHES.page(box, query)


def batch_detail(box: Box, batch_id: str, *, before: BatchDetail | None = None) -> BatchDetail:
    """One snapshot or refusal whole.

    Args:
        before: The same, seen earlier: its quarantine is not read and verified again.

    Raises:
        NotFoundError: There is none, or more than one begins so.
    """
    rows = box.db.read(
        f"SELECT * FROM ({_SELECT}) WHERE substr(id, 1, ?) = ? LIMIT 2", (len(batch_id), batch_id)
    )
    if len(rows) != 1 or not batch_id:
        raise NotFoundError(f"no snapshot or refusal {batch_id!r}", hint="mlops-box data list")
    row = rows[0]
    rules, checks = _verdict(row["verdict"])
    lineage, data = mapping(row["lineage"]), declared_data(box, row["project"])
    known = before.quarantine if before is not None and before.quarantine.trouble is None else None
    return BatchDetail(
        row=_row(row),
        rules=rules,
        checks=checks,
        schema=tuple(_column(item) for item in sequence(row["schema"])),
        lineage=lineage,
        used_by=tuple(
            f"{used['model']}@{used['number']}"
            for used in box.db.read(
                "SELECT model, number FROM versions WHERE snapshot_id = ? ORDER BY created_at DESC LIMIT 50",
                (row["id"],),
            )
        ),
        quarantine_digest=row["quarantine_digest"],
        rejects_digest=row["rejects_digest"],
        quarantine=known or quarantine_of(box, data, row["quarantine_digest"]),
        contract=contract_of(data, lineage.get("contract")),
    )


def _column(item: Any) -> Column:
    if isinstance(item, dict):
        return Column(str(item.get("name", "?")), item.get("type", "varchar"))
    if isinstance(item, list | tuple) and len(item) == 2:
        return Column(str(item[0]), item[1])
    return Column(str(item), "varchar")


def _verdict(text: str) -> tuple[tuple[RuleHit, ...], tuple[BatchCheck, ...]]:
    verdict = mapping(text)
    rules = tuple(
        RuleHit(
            str(item.get("rule", "?")),
            int(number(item.get("rows")) or 0),
            tuple(example for example in item.get("examples") or () if isinstance(example, dict)),
        )
        for item in verdict.get("row_rules") or ()
        if isinstance(item, dict)
    )
    checks = tuple(
        BatchCheck(
            str(item.get("rule", "?")), item.get("ok") is True, str(item.get("message", "")),
            item.get("value"), item.get("limit"),
        )
        for item in verdict.get("batch_checks") or ()
        if isinstance(item, dict)
    )  # fmt: skip
    return rules, checks
