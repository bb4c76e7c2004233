"""The feature view of a new project: what was seen of an entity in the week before each of its rows."""

from __future__ import annotations

from dataclasses import dataclass

from mlops_box.data.relation import missing_column
from mlops_box.data.sql import name as quote
from mlops_box.errors import UsageError
from mlops_box.operations.init_choices import Choice, Plan
from mlops_box.operations.init_toml import toml

VIEW, SOURCE = "activity", "events"
VIEW_FILE = f"features/{VIEW}.sql"


@dataclass(frozen=True)
class ViewPlan:
    """One view over the project's own rows. ``value`` is a number that it takes the mean of; ``None``: it only counts."""

    entity: str
    time: str
    value: str | None

    @property
    def choice(self) -> Choice:
        why = f"how many rows each {self.entity} had within 7 days" + (
            f", and the mean of {self.value} over them" if self.value else ""
        )
        return Choice("view", VIEW, why)


def plan_view(plan: Plan, entity: str) -> ViewPlan:
    """Decide what the view says of ``entity``; never anything of the target, which a row's own event would give away.

    Raises:
        SourceError: There is no such column.
        UsageError: There is no event time, or the column cannot name an entity.
    """
    if plan.time is None:
        raise UsageError("a feature view needs the event time", hint="name its column: --time COLUMN")
    if entity not in plan.rules:
        raise missing_column(entity, plan.rules, role="the entity of the feature view")
    if entity in (plan.time, plan.target) or plan.rules[entity].type == "double":
        raise UsageError(
            f"{entity!r} cannot name an entity: it is the time, the target or a fraction",
            hint="name the column of what acts again and again: a card, a user, a machine",
        )
    numbers = [
        column
        for column in plan.features
        if plan.rules[column].type in ("bigint", "double") and column != entity
    ]
    return ViewPlan(entity, plan.time, next(iter(numbers), None))


def view_sql(view: ViewPlan) -> str:
    """The text of :data:`VIEW_FILE`."""
    entity, time = quote(view.entity), quote(view.time)
    mean = [f"  avg({quote(view.value)}) over last_week as mean_7d"] if view.value else []
    return "\n".join(
        [
            f"-- entity: {toml([view.entity])}",
            f"-- time: {view.time}",
            "-- ttl: 30d",
            "-- lookback: 7d",
            "-- defaults: { rows_7d = 0 }",
            "-- A row says what is true of the entity from its time on: it may look at the entity's own rows up to then.",
            f"select {entity}, {time},",
            ",\n".join(["  count(*) over last_week as rows_7d", *mean]),
            f"from {SOURCE}",
            "window last_week as (",
            f"  partition by {entity} order by {time} range between interval 7 days preceding and current row)",
            "",
        ]
    )


def source_toml(view: ViewPlan, source: str) -> list[str]:
    """The lines of ``mlops.toml`` that declare where the view's events come from."""
    return [
        f"# What views read; {VIEW_FILE} says what they make of it: mlops-box features show {VIEW}",
        f"[features.sources.{SOURCE}]",
        f"source = {toml(source)}",
        f"time = {toml(view.time)}",
        '# known = "arrived_at"  # when events may come late: the column that says when each was known',
        "",
    ]
