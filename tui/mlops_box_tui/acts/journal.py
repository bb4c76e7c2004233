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
    """

    number: int
    at: datetime
    line: str
    outcome: str
    undo: Undo | None = None


class Journal:
    """Entries, oldest first; kept while the screen is open (the ledger keeps them for ever)."""

    def __init__(self) -> None:
        self._entries: list[JournalEntry] = []

    @property
    def entries(self) -> tuple[JournalEntry, ...]:
        return tuple(self._entries)

    def add(self, at: datetime, line: str, outcome: str, undo: Undo | None = None) -> JournalEntry:
        entry = JournalEntry(len(self._entries), at, line, outcome, undo)
        self._entries.append(entry)
        return entry

    def note(self, number: int, outcome: str) -> None:
        """Say how it ended."""
        self._entries[number] = replace(self._entries[number], outcome=outcome)

    def taken_back(self, number: int) -> None:
        """It was undone, and cannot be again."""
        entry = self._entries[number]
        self._entries[number] = replace(entry, outcome=f"undone: {entry.outcome}", undo=None)

    def undoable(self, now: datetime) -> JournalEntry | None:
        """The newest entry that can be taken back."""
        return next(
            (entry for entry in reversed(self._entries) if entry.undo and now - entry.at <= UNDO_WITHIN), None
        )
