"""What is pushed, and what becomes of it: values that cross from a server or a command to the room and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mlops_box.errors import UsageError

MAX_PROBLEMS = 20


class EventsRefused(UsageError):
    """Events broke the contract of their source; none of them was stored.

    Args:
        problems: ``{"row", "column", "rule", "message"}`` each; ``row`` counts from 0.
    """

    code = "contract"

    def __init__(self, problems: Sequence[dict[str, Any]]):
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(
            f"event {problems[0]['row']}: {problems[0]['message']}{more}",
            hint="mend the event and push again; nothing was stored",
            details={"problems": list(problems[:MAX_PROBLEMS])},
        )


@dataclass(frozen=True)
class Push:
    """Events for a source, or for the one source of a view.

    Attributes:
        to: The name of a view or a source.
        rows: Objects by column.
        ids: What tells two events apart; ``None``: their content.
    """

    to: str
    rows: Sequence[Any]
    ids: Sequence[str] | None = None


@dataclass(frozen=True)
class ViewUpdate:
    """What a push changed of a view, given as ``view@version``.

    Attributes:
        entities: How many the events are about.
        deferred: Of these, entities whose windows reach back beyond the events kept online: materialising computes them.
    """

    view: str
    entities: int
    deferred: int


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Attributes:
        events: Stored by this push.
        known: There already, and left as they are.
        updates: Of the views over the source, by everything that was pushed in the same transaction.
    """

    source: str
    events: int
    known: int
    updates: tuple[ViewUpdate, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        updates = {
            update.view: {"entities": update.entities, "deferred": update.deferred} for update in self.updates
        }
        return {"source": self.source, "events": self.events, "known": self.known, "views": updates}
