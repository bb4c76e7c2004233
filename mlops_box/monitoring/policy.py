"""What an alert leads to: a pure function of the declaration, the evidence, the history and the time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from mlops_box.clock import isoformat
from mlops_box.project import Retrain
from mlops_box.units import format_duration

Act = Literal["retrain"]
DraftState = Literal["withheld", "suggested", "pending"]


@dataclass(frozen=True)
class Trigger:
    """Why a retraining is considered.

    Attributes:
        name: ``drift``, ``quality`` or ``rows``.
        evidence: Names what triggered, so that it triggers once: ``bikes@7:2026-01-01T00:00:00.000Z``.
        text: For people: what was seen.
        rows: For ``rows``: how many new rows there are.
    """

    name: Literal["drift", "quality", "rows"]
    model: str
    project: str
    evidence: str
    text: str
    alert_id: str | None = None
    rows: int | None = None

    @property
    def idempotency_key(self) -> str:
        """``model:trigger:window``."""
        return f"{self.model}:{self.name}:{self.evidence}"


@dataclass(frozen=True)
class History:
    """What was decided before for this model.

    Attributes:
        last_issued_at: When the last retraining was issued, by whom ever.
        under_way: A decision that was issued or is about to be, and has no result yet.
        suggested: A suggestion that waits to be accepted.
    """

    last_issued_at: datetime | None = None
    under_way: str | None = None
    suggested: str | None = None


@dataclass(frozen=True)
class DecisionDraft:
    """What the policy says; ``otherwise`` is what would have changed it."""

    trigger: Trigger
    mode: Literal["off", "suggest", "auto"]
    state: DraftState
    reason: str
    facts: dict[str, Any]
    act: Act = "retrain"


def decide(policy: Retrain, trigger: Trigger, history: History, now: datetime) -> DecisionDraft:
    """Apply ``[retrain]`` to one trigger. The checks come in the order in which a person would ask.

    Withheld where the trigger is not declared, the mode is off, a retraining is under way, or the cooldown since the last
    one has not passed; else suggested or, in mode ``auto``, pending.
    """
    facts: dict[str, Any] = {
        "seen": trigger.text, "mode": policy.mode, "on": list(policy.on),
        "cooldown_s": policy.cooldown.total_seconds(),
        "last_issued_at": isoformat(history.last_issued_at) if history.last_issued_at else None,
    }  # fmt: skip

    def draft(state: DraftState, reason: str, otherwise: str) -> DecisionDraft:
        return DecisionDraft(trigger, policy.mode, state, reason, facts | {"otherwise": otherwise})

    undeclared = _undeclared(policy, trigger)
    if undeclared:
        return draft("withheld", *undeclared)
    if policy.mode == "off":
        return draft("withheld", "[retrain] mode is off", 'mode = "suggest" or "auto" would have acted')
    if history.under_way:
        return draft(
            "withheld",
            f"a retraining is under way (decision {history.under_way})",
            "new evidence after it has ended is judged again",
        )
    if history.last_issued_at and now < history.last_issued_at + policy.cooldown:
        until = history.last_issued_at + policy.cooldown
        facts["cooldown_until"] = isoformat(until)
        return draft(
            "withheld",
            f"the last retraining was {format_duration((now - history.last_issued_at).total_seconds())} ago, "
            f"cooldown is {format_duration(policy.cooldown.total_seconds())}",
            f"the same evidence after {isoformat(until)}, or a cooldown under "
            f"{format_duration((now - history.last_issued_at).total_seconds())}, would have acted",
        )
    if policy.mode == "suggest":
        if history.suggested:
            return draft(
                "withheld",
                f"suggestion {history.suggested} waits already",
                f"mlops-box decisions accept {history.suggested} retrains",
            )
        return draft("suggested", trigger.text, 'mode = "auto" would have retrained at once')
    return draft("pending", trigger.text, _calm(trigger))


def _undeclared(policy: Retrain, trigger: Trigger) -> tuple[str, str] | None:
    """(reason, what would have changed it) where ``[retrain] on`` does not ask for this trigger."""
    if trigger.name != "rows":
        if trigger.name in policy.on:
            return None
        return f"{trigger.name} is not in [retrain] on", f'on = ["{trigger.name}"] would have acted'
    wanted = rows_wanted(policy)
    if wanted is None:
        return "rows is not in [retrain] on", f'on = ["rows:{trigger.rows or 1}"] would have acted'
    if (trigger.rows or 0) < wanted:
        return f"{trigger.rows or 0} new rows, {wanted} are declared", f"{wanted} new rows would have acted"
    return None


def rows_wanted(policy: Retrain) -> int | None:
    """The N of ``rows:N``; the smallest where there are several."""
    numbers = [int(item.partition(":")[2]) for item in policy.on if item.startswith("rows:")]
    return min(numbers, default=None)


def _calm(trigger: Trigger) -> str:
    """What would have kept the policy still."""
    if trigger.name == "rows":
        return f"fewer than {trigger.rows} new rows would have triggered nothing"
    seen = {"drift": "drift", "quality": "a loss of quality"}[trigger.name]
    return f'a window without {seen} would have triggered nothing; mode = "suggest" would have asked first'
