"""Why a new version took over, or did not."""

from __future__ import annotations

from typing import Any

from mlops_box.box import Box
from mlops_box.clock import isoformat
from mlops_box.ledger import Entry
from mlops_box.operations.explanation import Explanation
from mlops_box.operations.rollout import status
from mlops_box.serving.rollout.plan import Plan, stages
from mlops_box.serving.rollout.signals import FALSE_PASS
from mlops_box.serving.rollout.states import Rollout
from mlops_box.serving.rollout.verdict import FALSE_ALARM
from mlops_box.units import format_duration


def explain_rollout(box: Box, rollout_id: str) -> Explanation:
    """Every transition with its evidence, what it waits for, and what would have changed it."""
    rollout = box.rollouts.get(rollout_id)
    entries = list(reversed(box.ledger.entries(subject=f"rollout:{rollout.id}", limit=1000)))
    lines = [
        f"rollout {rollout.id}: {rollout.ref} over {rollout.base_ref}, {rollout.stage_text}",
        "plan",
        f"  {_plan_text(rollout.plan)}",
        f"  proof at {FALSE_ALARM:.0%} false alarms to roll back, at {FALSE_PASS:.0%} for each signal to go on",
        "what happened",
    ]
    for entry in entries:
        lines += [f"  {line}" for line in _entry_lines(rollout.plan, entry)]
    waits = None
    if rollout.is_open:
        found = next(item for item in status(box, rollout.model) if item.rollout.id == rollout.id)
        waits = found.to_dict()
        lines += ["waits for", f"  {found.waits_for}"]
        if found.verdict is not None:
            lines += [f"  {_signal_text(signal.to_dict())}" for signal in found.verdict.signals]
    otherwise = _otherwise(rollout, entries)
    lines += ["what would have changed it", *(f"  {line}" for line in otherwise)]
    facts = {
        "rollout": rollout.to_dict(), "entries": [entry.to_dict() for entry in entries],
        "waits": waits, "otherwise": otherwise,
    }  # fmt: skip
    return Explanation("rollout", rollout.id, tuple(lines), facts)


def _plan_text(plan: Plan) -> str:
    steps = " → ".join(f"{stage} for {_duration(stage.lasts)}" for stage in stages(plan))
    key = f"sticky by {plan.key}" if plan.key else "each request by itself"
    return f"{steps}; {plan.min_requests} requests a stage at least, {_duration(plan.longest)} at most; {key}"


def _duration(value: Any) -> str:
    return format_duration(value.total_seconds())


def _entry_lines(plan: Plan, entry: Entry) -> list[str]:
    act = entry.act.partition(".")[2].replace("_", " ")
    if act == "canary":
        step = int(entry.facts["to"]["step"])
        act = next(str(stage) for stage in stages(plan) if (stage.state, stage.step) == ("canary", step))
    lines = [f"{isoformat(entry.at)} {act} by {entry.actor}: {entry.facts.get('reason', '')}"]
    verdict = entry.facts.get("verdict")
    if verdict:
        lines += [f"  {_signal_text(signal)}" for signal in verdict["signals"]]
    return lines


def _signal_text(signal: dict[str, Any]) -> str:
    weight = ""
    if signal["evidence"] > 1:
        weight = f" (evidence {signal['evidence']:.3g}, proof {signal['needed']:.3g})"
    return f"{signal['name']}: {signal['outcome'].replace('_', ' ')}: {signal['text']}{weight}"


def _otherwise(rollout: Rollout, entries: list[Entry]) -> list[str]:
    if rollout.is_open:
        return ["it is not over yet"]
    last = entries[-1] if entries else None
    verdict = last.facts.get("verdict") if last is not None else None
    if rollout.state == "champion":
        if verdict is None:
            return ["a person skipped the rest; without that, its stages would have decided"]
        return [f"{_closest(verdict)} proof that it is worse would have rolled it back"]
    if verdict is None:
        return ["a person, another champion or a newer version ended it; the evidence did not"]
    if verdict["tripped"]:
        return [
            "answers without a failure; the breaker opens at 3 in a row, or 5 of 20, that the champion could answer"
        ]
    bad = [signal for signal in verdict["signals"] if signal["outcome"] == "bad"]
    if bad:
        return [f"{signal['name']} within its limit: {signal['text']}" for signal in bad]
    held = [signal for signal in verdict["signals"] if signal.get("suspicious")]
    if held:
        return [f"{signal['name']} that does not lean against it: {signal['text']}" for signal in held]
    return [
        f"more traffic or more time: {verdict['requests']} requests came in "
        f"{_duration(rollout.plan.longest)} ([serve.rollout] min_requests, max_duration, limits)"
    ]


def _closest(verdict: dict[str, Any]) -> str:
    nearest = max(verdict["signals"], key=lambda signal: signal["evidence"] / signal["needed"])
    return f"{nearest['name']} came closest (evidence {max(nearest['evidence'], 1):.3g} of {nearest['needed']:.3g}):"
