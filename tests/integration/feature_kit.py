"""A server with two versions of a model whose features are looked up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import serving_kit as kit

from mlops_box.box import Box
from mlops_box.features.definition import Definition
from mlops_box.models.golden import Golden
from mlops_box.models.values import GOLDEN_FILE, PACKED_FILE, Feature, ModelVersion, Signature, VersionDraft
from mlops_box.project import LoadedProject, parse_project
from tests.feature_case import ACTIVITY, view_over

MODEL = "spend"
SIGNATURE = Signature(
    "regression", "total",
    (Feature("amount", "numeric", "double"), Feature("activity__spend", "numeric", "double")),
)  # fmt: skip
PROJECT = """
[project]
name = "spend"
[data]
source = "none.csv"
time = "paid_at"
[data.contract]
amount = { type = "double", min = 0 }
[model]
task = "regression"
target = "total"
features = ["amount", "activity__spend"]
"""


class Case(NamedTuple):
    """A server with ``spend@1`` (an hour's spend, defaults to 0) and ``spend@2`` (a day's, the champion): both add the
    amount of the row."""

    box: Box
    server: kit.Server
    hour: Definition
    day: Definition

    def push(self, *events: dict[str, Any], **more: Any) -> tuple[int, Any]:
        status, _, body = self.server.call("POST", "/features/activity", {"events": list(events), **more})
        return status, body

    def ask(self, body: Any, *, name: str = MODEL, query: str = "") -> tuple[int, Any]:
        status, _, answer = self.server.call("POST", f"/models/{name}/predict{query}", body)
        return status, answer

    def spend(self, card: int, *, name: str = MODEL) -> float:
        status, answer = self.ask({"entities": [{"card_id": card}], "rows": [{"amount": 0.5}]}, name=name)
        assert status == 200, answer
        prediction: float = answer["predictions"][0]
        return prediction - 0.5


def _version(box: Box, definition: Definition) -> ModelVersion:
    golden = Golden(({"amount": 1.0, "activity__spend": 2.0},), prediction=(3.0,))
    files = {
        PACKED_FILE: box.objects.put_bytes(kit.rate_model(), kind="model"),
        GOLDEN_FILE: box.objects.put_bytes(golden.to_json().encode(), kind="golden"),
    }
    lineage = {"features": {definition.name: definition.digest}}
    draft = VersionDraft(
        MODEL, MODEL, "regression", True, SIGNATURE, files, {}, (), "snapshot", None, lineage
    )
    version = box.models.register(draft)
    return box.models.set_champion(version, reason="test")


def _activity(span: str, lookback: timedelta) -> Definition:
    sql = ACTIVITY.replace("interval 1 hour", f"interval {span}").replace("spend_1h", "spend")
    sql = sql.replace("count(*) over last_hour as n_1h,", "")
    return view_over(
        sql, {"spend": "double"}, lookback=lookback, ttl=timedelta(days=2), defaults={"spend": 0.0}
    )


@contextmanager
def serving_features(home: Path) -> Iterator[Case]:
    """A server that looks features up, until the block is over."""
    with Box.open(home, actor="test") as box:
        box.projects.register(LoadedProject(box.home.root, parse_project(PROJECT)))
        hour = box.features.register(_activity("1 hour", timedelta(hours=1)))
        _version(box, hour)
        day = box.features.register(_activity("1 day", timedelta(days=1)))
        _version(box, day)
        with kit.running(home) as server:
            yield Case(box, server, hour, day)


def paid(card: object, minutes_ago: float, amount: float) -> dict[str, Any]:
    moment = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    return {"card_id": card, "happened_at": moment.isoformat(), "amount": amount}
