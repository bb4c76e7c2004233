"""The candidates that get requests now, as box.db says it: plain values that whoever decides hands to who serves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlops_box.db import Database
from mlops_box.serving.rollout.plan import LiveState, Plan, stages
from mlops_box.serving.rollout.yardstick import Yardstick


@dataclass(frozen=True)
class Challenger:
    """A model's candidate in one stage of its rollout.

    Attributes:
        base: The champion's number; beside another champion it gets nothing.
        percent: Share of requests it answers; 0 in the shadow.
        key: The column whose value decides; ``None``: the request's id.
        timeout_s: After this time the champion answers instead.
    """

    rollout_id: str
    model: str
    number: int
    base: int
    state: LiveState
    step: int
    percent: int
    key: str | None
    timeout_s: float
    yardstick: Yardstick

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "yardstick": self.yardstick.to_json()}

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> Challenger:
        return Challenger(**{**content, "yardstick": Yardstick.from_json(content["yardstick"])})


def read_challengers(db: Database) -> dict[str, Challenger]:
    """By model. One whose champion was replaced is none any more, before anybody has ended its rollout.

    Raises:
        StorageError: The database cannot be read.
    """
    rows = db.read(
        "SELECT rollouts.* FROM rollouts JOIN aliases ON aliases.model = rollouts.model AND aliases.alias = 'champion' "
        "AND aliases.number = rollouts.base AND aliases.since = rollouts.base_since "
        "WHERE rollouts.state IN ('shadow', 'canary')"
    )
    found = {}
    for row in rows:
        plan = Plan.model_validate(json.loads(row["plan"]))
        stage = next(one for one in stages(plan) if (one.state, one.step) == (row["state"], row["step"]))
        found[row["model"]] = Challenger(
            rollout_id=row["id"], model=row["model"], number=row["number"], base=row["base"], state=stage.state,
            step=stage.step, percent=stage.percent, key=plan.key, timeout_s=plan.timeout.total_seconds(),
            yardstick=Yardstick.from_json(row["yardstick"]),
        )  # fmt: skip
    return found
