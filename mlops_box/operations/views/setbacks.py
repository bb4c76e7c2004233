"""Rollouts that did not end well: which version, since when, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mlops_box.box import Box
from mlops_box.operations.views.reading import mapping, moment

ENDED_BADLY = ("rolled_back", "rejected")


@dataclass(frozen=True)
class Setback:
    """A version's newest rollout, which kept it from becoming champion.

    Attributes:
        state: ``rolled_back`` or ``rejected``.
        reason: The evidence in words and numbers, or who ended it and why.
    """

    number: int
    state: str
    reason: str
    at: datetime | None

    @property
    def word(self) -> str:
        """For people: ``rolled back``."""
        return self.state.replace("_", " ")


def newest_rollout(of: str) -> str:
    """The SQL of a model's (or version's) newest rollout as JSON; ``of`` says which rollouts those are."""
    return (
        "(SELECT json_object('number', number, 'state', state, 'reason', reason, 'at', ended_at) FROM rollouts "
        f"WHERE {of} ORDER BY proposed_at DESC, id DESC LIMIT 1)"
    )


def setback(text: str | None, *, champion_since: datetime | None) -> Setback | None:
    """What :func:`newest_rollout` found, where it ended badly and nobody has set a champion since."""
    found = mapping(text)
    number, state, at = found.get("number"), found.get("state"), moment(found.get("at"))
    if not isinstance(number, int) or state not in ENDED_BADLY:
        return None
    if champion_since is not None and at is not None and champion_since > at:
        return None
    return Setback(number, state, str(found.get("reason", "")), at)


def setback_of(box: Box, model: str, number: int) -> Setback | None:
    """How a version's newest rollout ended, where it ended badly, whatever has happened since."""
    row = box.db.one(f"SELECT {newest_rollout('model = ? AND number = ?')} AS rollout", (model, number))
    return setback(row["rollout"], champion_since=None) if row else None
