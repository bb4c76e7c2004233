"""Push events from a file or a program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlops_box.box import Box
from mlops_box.errors import UsageError
from mlops_box.features.pushed import Push, Pushed, ViewUpdate

# One transaction takes so many events.
BATCH_EVENTS = 10_000


def push(box: Box, to: str, rows: Sequence[Any], *, id_column: str | None = None) -> Pushed:
    """Store events of a view's source; in one transaction up to 10,000 of them, each checked before any is stored.

    Args:
        to: The name of a view or a source.
        id_column: The key of a row that tells two events apart, and is no column of the source.

    Raises:
        UsageError: A row has no such key. Otherwise as :meth:`mlops_box.features.push.Pusher.push`.
    """
    ids = [_take_id(index, row, id_column) for index, row in enumerate(rows)] if id_column else None
    kept = (
        [{key: value for key, value in row.items() if key != id_column} for row in rows]
        if id_column
        else rows
    )
    box.pusher.check(Push(to, kept, ids))
    done: list[Pushed] = []
    for start in range(0, max(1, len(kept)), BATCH_EVENTS):
        part = slice(start, start + BATCH_EVENTS)
        done.append(box.pusher.push(to, kept[part], ids=ids[part] if ids is not None else None))
    return _together(done)


def _take_id(index: int, row: Any, column: str) -> str:
    value = row.get(column) if isinstance(row, dict) else None
    if value is None:
        raise UsageError(
            f"event {index} has no {column!r}", hint="name the key that every event has with --id"
        )
    return str(value)


def _together(parts: Sequence[Pushed]) -> Pushed:
    updates: dict[str, tuple[int, int]] = {}
    for part in parts:
        for update in part.updates:
            entities, deferred = updates.get(update.view, (0, 0))
            updates[update.view] = (entities + update.entities, deferred + update.deferred)
    return Pushed(
        parts[0].source, sum(part.events for part in parts), sum(part.known for part in parts),
        tuple(ViewUpdate(view, *counts) for view, counts in updates.items()),
    )  # fmt: skip
