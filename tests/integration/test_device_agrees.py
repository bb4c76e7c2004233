"""The device answers, or refuses, as the box does: ten thousand rows, by a server that has numpy and onnxruntime alone."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_box.box import Box
from mlops_box.errors import BoxError
from mlops_box.models.golden import Golden
from mlops_box.serving.problems import problem_of
from mlops_box.serving.records import PredictionIds
from mlops_box.serving.replies import json_reply
from mlops_box.serving.slot import Slot, load_slot
from tests.integration.device_kit import DeviceServer, fill_slot, make_place, running_device, serve_slot
from tests.integration.serving_kit import (
    FAILS,
    FAILS_PROJECT,
    RATE,
    RATE_PROJECT,
    fails_model,
    rate_model,
    register_fails,
    register_projects,
    register_rate,
)

REQUESTS = 3_500  # of each model, one to three rows each
ODD = [None, True, False, 0, -0.0, 1, -1, 1e308, -1e308, 3.4e38, 3.5e38, 1e-45, 2**53 + 1, 2**63, 2**70, -(2**70),
       float("nan"), float("inf"), -float("inf"), "", "l", "m", "M", "unseen", "1", "NaN", [], [1], {}, {"x": 1}]  # fmt: skip
TIMES = [None, "2026-01-01", "2026-01-01T00:00:00Z", "2026-01-01T10:00:00+01:00", "2026-02-30", "yesterday", 5, True,
         "2026-01-01T00:00:00.123456", "2026-01-01T00:00:00.1234567", "9999-12-31T23:59:59-01:00"]  # fmt: skip


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    with Box.open(tmp_path_factory.mktemp("home") / "box") as found:
        register_rate(found)
        register_fails(found)
        register_projects(found)
        yield found


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, DeviceServer]]:
    rng = np.random.default_rng(0)
    place = make_place(tmp_path_factory.mktemp("device") / "a")
    fill_slot(
        place, "a", "rates", 1, packed=rate_model(), signature=RATE, project=RATE_PROJECT + "[edge]\nmax_rows = 1024\n",
        golden=Golden(({"a": 1.0, "b": 2.0}, {"a": 3.0, "b": None}), prediction=(3.0, 3.0)),
        reference=pa.table({"a": rng.uniform(0, 100, 500), "b": rng.normal(size=500)}),
    )  # fmt: skip
    serve_slot(place, "a")
    other = make_place(tmp_path_factory.mktemp("device") / "b")
    fill_slot(
        other, "a", "mill", 1, packed=fails_model(), signature=FAILS, project=FAILS_PROJECT + "[edge]\nmax_rows = 1024\n",
        golden=Golden(({"heat": 10.0, "kind": "l"},), probability=((0.5, 0.5),)),
        reference=pa.table({"heat": rng.uniform(0, 20, 500), "kind": rng.choice(["l", "m"], 500)}),
    )  # fmt: skip
    serve_slot(other, "a")
    with running_device(place, "a") as rates, running_device(other, "a") as mill:
        yield {"rates": rates, "mill": mill}


def rates_row(chance: random.Random) -> dict[str, Any]:
    row: dict[str, Any] = {"a": chance.uniform(-5, 105), "b": chance.choice([chance.gauss(0, 1), None])}
    if chance.random() < 0.3:
        row[chance.choice(["a", "b", "at", "shift", "rate", "B", "x"])] = chance.choice(ODD)
    if chance.random() < 0.2:
        row["at"] = chance.choice(TIMES)
    if chance.random() < 0.1:
        del row[chance.choice(["a", "b"])]
    return row


def mill_row(chance: random.Random) -> dict[str, Any]:
    row: dict[str, Any] = {"heat": chance.uniform(-1, 20), "kind": chance.choice(["l", "m", "l", "m", "h"])}
    if chance.random() < 0.3:
        row[chance.choice(["heat", "kind", "fails", "hea"])] = chance.choice(ODD)
    if chance.random() < 0.1:
        del row[chance.choice(["heat", "kind"])]
    return row


@pytest.mark.parametrize(("model", "row_of"), [("rates", rates_row), ("mill", mill_row)])
def test_ten_thousand_rows_get_the_same_answer_or_the_same_refusal_from_box_and_device(
    box: Box, device: dict[str, DeviceServer], model: str, row_of: Any
) -> None:
    version = box.models.get(f"{model}@1")
    slot = load_slot(box.models, version, box.projects.for_model(model))
    chance = random.Random(7)
    connection = device[model].connect()
    seen: dict[int, int] = {}
    rows = 0
    for _ in range(REQUESTS):
        asked = [row_of(chance) for _ in range(chance.choice([1, 1, 1, 3]))]
        rows += len(asked)
        body = json.dumps({"rows": asked}).encode()
        connection.request("POST", f"/models/{model}/predict", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        given, content = response.status, json.loads(response.read())
        wanted, expected = of_box(slot, body)
        assert (given, told(content)) == (wanted, told(expected)), body
        seen[given] = seen.get(given, 0) + 1
    connection.close()
    assert rows >= 5_000
    # Each kind of answer is among them, often: answers, broken rules, bodies that are no JSON.
    assert min(seen[200], seen[422]) > REQUESTS // 10
    assert seen[400] > 10


def of_box(slot: Slot, body: bytes) -> tuple[int, Any]:
    """What the box's own server says to the same bytes."""
    try:
        rows = slot.door.parse(body)
        answers = slot.run(rows)
    except BoxError as error:
        problem = problem_of(error)
        return problem.status, json.loads(problem.body())
    ids = PredictionIds("x", 0, len(rows))
    return 200, json.loads(json_reply(slot.ref, slot.version.signature, answers, ids))


def told(content: Any) -> Any:
    """An answer without what differs from call to call, and without a JSON reader's own words."""
    content = {key: value for key, value in content.items() if key != "ids"}
    if content.get("error", {}).get("code") == "malformed":
        content["error"]["message"] = "the body is no JSON"
    return content
