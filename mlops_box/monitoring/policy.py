"""What an alert leads to: a pure function of the declaration, the evidence, the history and the time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from mlops_box.clock import isoformat
from mlops_box.project import Retrain
from mlops_box.project.retrain import Mode, TriggerName, window_text
from mlops_box.units import format_duration

Act = Literal["retrain"]
DraftState = Literal["withheld", "suggested", "pending"]


@dataclass(frozen=True)
class Trigger:
    """Why a retraining is considered.

    Attributes:
        evidence: Names what triggered, so that it triggers once: ``7:2026-01-01T00:00:00.000Z``.
        text: For people: what was seen.
        amount: For ``rows`` the number of new rows, for ``age`` the champion's age in seconds.
        since: When what was seen began, for the window of a training; ``None`` where nothing began.
        broken: What is wrong with the data themselves where this was seen: a broken sensor must not be learnt.
        passing: Why it may yet pass: not enough of the newest windows show it.
    """

    name: TriggerName
    model: str
    project: str
    evidence: str
    text: str
    alert_id: str | None = None
    amount: float | None = None
    since: datetime | None = None
    broken: str | None = None
    passing: str | None = None

    @property
    def idempotency_key(self) -> str:
        """``model:trigger:window``."""
        return f"{self.model}:{self.name}:{self.evidence}"


@dataclass(frozen=True)
class History:
    """What was decided before for this model.

    Attributes:
        issued_at: When retrainings were issued, by whom ever, the newest first; at least those of the last year.
        under_way: A decision that was issued or is about to be, and has no result yet.
        suggested: A suggestion that waits to be accepted.
    """

    issued_at: tuple[datetime, ...] = ()
    under_way: str | None = None
    suggested: str | None = None

    @property
    def last_issued_at(self) -> datetime | None:
        return self.issued_at[0] if self.issued_at else None


@dataclass(frozen=True)
class DecisionDraft:
    """What the policy says; ``facts["otherwise"]`` is what would have changed it."""

    trigger: Trigger
    mode: Mode
    state: DraftState
    reason: str
    facts: dict[str, Any]
    act: Act = "retrain"


@dataclass(frozen=True)
class _No:
    """A reason to do nothing, what would have changed it, and further facts."""

    reason: str
    otherwise: str
    facts: dict[str, Any]


def decide(policy: Retrain, trigger: Trigger, history: History, now: datetime) -> DecisionDraft:
    """Apply ``[retrain]`` to one trigger. The checks come in the order in which a person would ask.

    Withheld where the trigger is not declared, its mode is off, the data are broken, it may yet pass, a retraining is under way, the cooldown since the last one
    has not passed, the budget is spent, or (in mode ``auto``) it is quiet hours; else suggested or, in mode ``auto``,
    pending.
    """
    mode = policy.mode_of(trigger.name)
    facts = _facts(policy, trigger, history, mode)
    no = (
        _undeclared(policy, trigger)
        or _off(trigger, mode)
        or _broken(trigger)
        or _passing(trigger)
        or _under_way(history)
        or _cooldown(policy, history, now)
        or _budget(policy, history, now)
        or (_suggested_already(history) if mode == "suggest" else _quiet(policy, now))
    )
    if no is not None:
        return DecisionDraft(
            trigger, mode, "withheld", no.reason, facts | no.facts | {"otherwise": no.otherwise}
        )
    if mode == "suggest":
        otherwise = 'mode = "auto" would have retrained at once'
        return DecisionDraft(trigger, mode, "suggested", trigger.text, facts | {"otherwise": otherwise})
    return DecisionDraft(trigger, mode, "pending", trigger.text, facts | {"otherwise": _calm(trigger)})


def _facts(policy: Retrain, trigger: Trigger, history: History, mode: Mode) -> dict[str, Any]:
    last = history.last_issued_at
    return {
        "seen": trigger.text, "mode": mode, "on": list(policy.on), "cooldown_s": policy.cooldown.total_seconds(),
        "last_issued_at": isoformat(last) if last else None, "budget": policy.budget, "quiet": policy.quiet,
        "window": policy.window, "window_text": window_text(policy),
        "since": isoformat(trigger.since) if trigger.since else None,
    }  # fmt: skip


def _undeclared(policy: Retrain, trigger: Trigger) -> _No | None:
    amount = trigger.amount or 0
    if trigger.name == "rows" and policy.rows is not None:
        if amount >= policy.rows:
            return None
        return _No(
            f"{amount:.0f} new rows, {policy.rows} are declared",
            f"{policy.rows} new rows would have acted",
            {},
        )
    if trigger.name == "age" and policy.age is not None:
        declared_s = policy.age.total_seconds()
        if amount >= declared_s:
            return None
        return _No(
            f"the champion is {format_duration(amount)} old, {format_duration(declared_s)} is declared",
            f"an age of {format_duration(declared_s)} would have acted",
            {},
        )
    if (trigger.name == "schedule" and policy.crons) or trigger.name in policy.on:
        return None
    example = {"rows": f"rows:{amount or 1:.0f}", "age": "age:30d", "schedule": "schedule:0 3 * * 1"}
    wanted = example.get(trigger.name, trigger.name)
    return _No(f"{trigger.name} is not in [retrain] on", f'on = ["{wanted}"] would have acted', {})


def _off(trigger: Trigger, mode: Mode) -> _No | None:
    if mode != "off":
        return None
    return _No(f"[retrain] mode is off for {trigger.name}", 'mode = "suggest" or "auto" would have acted', {})


def _broken(trigger: Trigger) -> _No | None:
    if trigger.broken is None:
        return None
    return _No(
        f"the data themselves are broken: {trigger.broken}; a new model would learn that",
        "the same evidence on whole data would have acted",
        {"broken": trigger.broken},
    )


def _passing(trigger: Trigger) -> _No | None:
    if trigger.passing is None:
        return None
    return _No(f"it may pass: {trigger.passing}", "another window like it would have acted", {})


def _under_way(history: History) -> _No | None:
    if not history.under_way:
        return None
    return _No(
        f"a retraining is under way (decision {history.under_way})",
        "new evidence after it has ended is judged again",
        {},
    )


def _cooldown(policy: Retrain, history: History, now: datetime) -> _No | None:
    last = history.last_issued_at
    if last is None or now >= last + policy.cooldown:
        return None
    until = last + policy.cooldown
    passed = format_duration((now - last).total_seconds())
    return _No(
        f"the last retraining was {passed} ago, cooldown is {format_duration(policy.cooldown.total_seconds())}",
        f"the same evidence after {isoformat(until)}, or a cooldown under {passed}, would have acted",
        {"cooldown_until": isoformat(until)},
    )


def _budget(policy: Retrain, history: History, now: datetime) -> _No | None:
    rate = policy.rate
    if rate is None:
        return None
    spent = [moment for moment in history.issued_at if moment > now - rate.per]
    if len(spent) < rate.count:
        return None
    # The oldest of those that fill the budget frees the next place.
    until = sorted(spent, reverse=True)[rate.count - 1] + rate.per
    return _No(
        f"the budget of {policy.budget} is spent: {len(spent)} retrainings since {isoformat(now - rate.per)}",
        f"the same evidence after {isoformat(until)}, or a larger budget, would have acted",
        {"budget_until": isoformat(until)},
    )


def _suggested_already(history: History) -> _No | None:
    if not history.suggested:
        return None
    return _No(
        f"suggestion {history.suggested} waits already",
        f"mlops-box decisions accept {history.suggested} retrains",
        {},
    )


def _quiet(policy: Retrain, now: datetime) -> _No | None:
    until = policy.quiet_until(now)
    if until is None:
        return None
    return _No(
        f"quiet hours are {policy.quiet} (UTC)",
        f"the same evidence after {isoformat(until)} acts; a suggestion may be accepted at any time",
        {"quiet_until": isoformat(until)},
    )


def _calm(trigger: Trigger) -> str:
    """What would have kept the policy still."""
    seen = {
        "rows": f"fewer than {trigger.amount or 0:.0f} new rows",
        "age": "a younger champion",
        "schedule": "another schedule",
        "drift": "a window without drift",
        "quality": "a window without a loss of quality",
    }[trigger.name]
    return f'{seen} would have triggered nothing; mode = "suggest" would have asked first'
