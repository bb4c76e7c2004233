"""What `mlops-box init` decides, and why: task, features, key, split, gates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mlops_box.data.infer import MIN_ROWS_PER_VALUE, SMALL_DOMAIN, ColumnProfile, SourceProfile, propose_rule
from mlops_box.data.relation import missing_column
from mlops_box.errors import SourceError, TrainingError
from mlops_box.project import ColumnRule, Task

MAX_TEXT_VALUES = 100


@dataclass(frozen=True)
class Choice:
    """One decision: about what, what was chosen, and why."""

    about: str
    chosen: str
    why: str


@dataclass(frozen=True)
class Plan:
    """All decisions of a new project but its gates."""

    target: str
    time: str | None
    task: Task
    features: tuple[str, ...]
    key: tuple[str, ...]
    split: str
    rules: dict[str, ColumnRule]
    rows_min: int
    quarantine: float
    choices: tuple[Choice, ...] = field(default_factory=tuple)


def plan(profile: SourceProfile, *, target: str, time: str | None) -> Plan:
    """Decide what a project over this source should say.

    Raises:
        SourceError: ``target`` or ``time`` is no column, or ``time`` holds no times.
        TrainingError: The target cannot be learnt: all missing, one value, or a name in every row.
    """
    names = [column.name for column in profile.columns]
    for wanted, role in ((target, "the target"), (time, "the time column")):
        if wanted is not None and wanted not in names:
            raise missing_column(wanted, names, role=role)
    if time is not None and profile.column(time).type not in ("timestamp", "date"):
        kind = profile.column(time).type
        raise SourceError(
            f"the time column {time!r} holds {kind}, no times",
            hint="times are ISO 8601, for example 2011-01-31 or 2011-01-31T13:00:00Z",
        )
    if time == target:
        raise TrainingError(f"{target!r} cannot be both the target and the time")
    task, why = guess_task(profile.column(target))
    choices = [Choice("task", task, why)]
    features = _features(profile, target, time, choices)
    key = _key(profile, target, time, choices)
    if time:
        choices.append(
            Choice("split", "time", f"the newest rows by {time} are held out: the model must tell the future")
        )
    else:
        choices.append(
            Choice("split", "random", "a seeded hash of each row; --time would hold out the newest instead")
        )
        choices += _unused_times(profile)
    rules = {
        column.name: propose_rule(column, target=column.name == target, classes=task != "regression")
        for column in profile.columns
    }
    if key:
        # The key says it already; a repeated row would be told twice.
        rules[key[0]] = rules[key[0]].model_copy(update={"unique": False})
    return Plan(
        target=target, time=time, task=task, features=tuple(features), key=key, split="time" if time else "random",
        rules=rules, rows_min=max(1, profile.rows // 2), quarantine=_quarantine(profile, target, choices),
        choices=tuple(choices),
    )  # fmt: skip


def guess_task(target: ColumnProfile) -> tuple[Task, str]:
    """The task that a target column suggests, with the reason.

    Raises:
        TrainingError: It cannot be learnt.
    """
    shown = target.name
    if target.distinct == 0:
        raise TrainingError(f"the target {shown!r} is missing in every row", hint="is it the right column?")
    if target.constant:
        raise TrainingError(f"the target {shown!r} has one value only", hint="is it the right column?")
    if target.type in ("timestamp", "date"):
        raise TrainingError(
            f"the target {shown!r} holds times", hint="turn it into a number, with a query under [data]"
        )
    if target.type == "boolean":
        return "binary", f"{shown} is true or false"
    if target.distinct == 2 and (target.type == "varchar" or target.whole):
        values = " and ".join(str(value) for value in target.values or ())
        return "binary", f"{shown} has two values, {values}"
    enough = target.rows >= MIN_ROWS_PER_VALUE * target.distinct
    if target.type == "varchar":
        if target.distinct > SMALL_DOMAIN or not enough:
            raise TrainingError(
                f"the target {shown!r} is a text with {target.distinct:,} values in {target.rows:,} rows",
                hint=f"a class needs at least {MIN_ROWS_PER_VALUE} rows, and at most {SMALL_DOMAIN} classes are guessed",
            )
        return "multiclass", f"{shown} is a text with {target.distinct} values"
    if target.whole and target.distinct <= SMALL_DOMAIN and enough:
        return (
            "multiclass",
            f"{shown} takes {target.distinct} whole values; write regression if they are amounts",
        )
    return "regression", f"{shown} is a number with {target.distinct:,} values"


def _features(profile: SourceProfile, target: str, time: str | None, choices: list[Choice]) -> list[str]:
    features = []
    for column in profile.columns:
        if column.name == target:
            continue
        reason = _drop(column, profile, time)
        if reason:
            choices.append(Choice(column.name, "no feature", reason))
        else:
            features.append(column.name)
    if not features:
        raise TrainingError(
            "no column is left to learn from",
            hint="; ".join(f"{choice.about}: {choice.why}" for choice in choices[1:4]),
        )
    return features


def _drop(column: ColumnProfile, profile: SourceProfile, time: str | None) -> str | None:
    if column.name == time:
        return "it is the time; a query can make hours or weekdays of it"
    if column.type in ("timestamp", "date"):
        return f"a {column.type} is no input of a model; a query can make numbers of it"
    if column.constant:
        return "it has the same value in every row" if column.distinct else "it is missing in every row"
    if column.name in profile.leaks:
        return profile.leaks[column.name]
    if column.unique and column.type in ("bigint", "varchar"):
        return "it is another value in every row: a name, not a property"
    if column.type == "varchar" and column.distinct > MAX_TEXT_VALUES:
        return f"it is a text with {column.distinct:,} values"
    return None


def _key(profile: SourceProfile, target: str, time: str | None, choices: list[Choice]) -> tuple[str, ...]:
    unique = [
        column.name
        for column in profile.columns
        if column.unique
        and column.name != target
        and column.type != "double"
        and column.name not in profile.leaks
    ]
    chosen = time if time in unique else next(iter(unique), None)
    if chosen is None:
        choices.append(Choice("key", "none", "no column names each row"))
        return ()
    choices.append(
        Choice("key", chosen, "every row has another value of it; a repeated one will be quarantined")
    )
    return (chosen,)


def _unused_times(profile: SourceProfile) -> list[Choice]:
    times = [column.name for column in profile.columns if column.type in ("timestamp", "date")]
    return (
        [Choice("time", "none", f"{times[0]} holds times: --time '{times[0]}' would use it")] if times else []
    )


def _quarantine(profile: SourceProfile, target: str, choices: list[Choice]) -> float:
    """Twice the share of bad rows that the file has today, at least one percent."""
    unlearnable = profile.column(target).missing
    infinite = sum(column.infinite for column in profile.columns)
    bad = profile.rejected + unlearnable + infinite
    share = bad / (profile.rows + profile.rejected)
    if bad:
        choices.append(
            Choice(
                "bad rows",
                f"{bad:,}",
                f"{profile.rejected:,} cannot be parsed, {unlearnable:,} have no {target}, {infinite:,} infinities",
            )
        )
    return 0.01 if share <= 0.005 else min(1.0, round(2 * share + 0.005, 2))


def describe_rule(rule: ColumnRule) -> dict[str, Any]:
    """A rule as it is written: only what differs from the default."""
    return {
        key: value
        for key, value in rule.model_dump(by_alias=True, exclude_defaults=True).items()
        if value is not None
    }
