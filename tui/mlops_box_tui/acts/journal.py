"""What was done in this session, as commands, and what of it can be taken back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mlops_box_tui.acts.act import Undo

UNDO_WITHIN = timedelta(minutes=30)


@dataclass(frozen=True)
class JournalEntry:
    """One act that was done.

    Attributes:
        line: The command that does the same.
        outcome: What it did, or how the command that was started ended.
        undo: How to take it back; ``None`` where it cannot be, or has been.
        group: Of an act on many rows, the same number in each of its entries; ``None``: it was on one.
        name: What the row of such an entry is called.
    """

    number: int
    at: datetime
    line: str
    outcome: str
    undo: Undo | None = None
    group: int | None = None
    name: str = ""


class Journal:
    """Entries, oldest first; kept while the screen is open (the ledger keeps them for ever)."""

    def __init__(self) -> None:
        self._entries: list[JournalEntry] = []
        self._groups = 0

    @property
    def entries(self) -> tuple[JournalEntry, ...]:
        return tuple(self._entries)

    def add(
        self, at: datetime, line: str, outcome: str, undo: Undo | None = None, *,
        group: int | None = None, name: str = "",
    ) -> JournalEntry:  # fmt: skip
        entry = JournalEntry(len(self._entries), at, line, outcome, undo, group, name)
        self._entries.append(entry)
        return entry

    def new_group(self) -> int:
        """A number for the entries of one act on many rows."""
        self._groups += 1
        return self._groups

    def note(self, number: int, outcome: str) -> None:
        """Say how it ended."""
        self._entries[number] = replace(self._entries[number], outcome=outcome)

    def taken_back(self, number: int) -> None:
        """It was undone, and cannot be again."""
        entry = self._entries[number]
        self._entries[number] = replace(entry, outcome=f"undone: {entry.outcome}", undo=None)

    def undoable(self, now: datetime) -> tuple[JournalEntry, ...]:
        """The newest entry that can be taken back, with all that can be of the group it belongs to, oldest first."""
        can = [entry for entry in self._entries if entry.undo and now - entry.at <= UNDO_WITHIN]
        if not can:
            return ()
        newest = can[-1]
        if newest.group is None:
            return (newest,)
        return tuple(entry for entry in can if entry.group == newest.group)
