"""Each example, copied away and run whole through the command line, the way its README says."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from example_kit import Example, public, until

pytestmark = pytest.mark.slow

Start = Callable[[str], Example]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Copies an example; whatever happens, its servers are stopped."""
    started: list[Example] = []

    def copy(name: str) -> Example:
        started.append(Example(name, tmp_path))
        return started[-1]

    yield copy
    for example in started:
        example.box("down")


def test_bike_rentals_drift_by_themselves_and_the_retrained_champion_answers(start: Start) -> None:
    source = public("bike-sharing/hour.csv")
    bikes = start("bike_rentals")
    bikes.python("replay.py", "--from", str(source), "--prepare")
    assert bikes.box("check")["snapshot"]["rows"] == 8645
    bikes.box("up", "--detach", "--port", "0")
    assert bikes.box("train")["version"] == "bike-rentals@1"

    table = bikes.python("replay.py", "--from", str(source), "--months", "2")
    months = [line for line in table.splitlines() if line.startswith("2012-")]
    assert len(months) == 2
    assert months[0].split()[1] == "bike-rentals@1"

    alerts = bikes.box("alerts", "list", "--model", "bike-rentals")
    assert {alert["kind"] for alert in alerts} & {"drift", "quality"}
    retrained = [
        item for item in bikes.box("decisions", "list", "--state", "done") if item["facts"]["promoted"]
    ]
    champion = bikes.champion("bike-rentals")
    assert champion != "bike-rentals@1"
    assert champion == retrained[0]["facts"]["version"]
    runs = {run["id"]: run for run in bikes.box("runs", "list")}
    training = runs[retrained[0]["run_id"]]
    assert training["flow_run_id"]
    assert training["trigger"] in ("drift", "quality")

    row = {
        "at": "2012-03-01T08:00:00", "season": 1, "hr": 8, "holiday": 0, "weekday": 4, "workingday": 1,
        "weathersit": 1, "temp": 0.4, "atemp": 0.4, "hum": 0.6, "windspeed": 0.2,
    }  # fmt: skip
    answer = until(
        lambda: (
            got
            if (got := bikes.post("bike-rentals", "predict", {"rows": [row]}))["model"] == champion
            else None
        ),
        what="answer of the new champion",
        limit_s=5,
    )
    assert answer["predictions"][0] > 100, "eight o'clock on a working day"
    said = bikes.box("predict", "bike-rentals", "--row", json.dumps(row))
    assert said["model"] == champion
    assert said["predictions"] == answer["predictions"]
    assert bikes.box("feedback", "bike-rentals", "--id", said["ids"][0], "--value", "431")["stored"] == 1
    assert {"bike-rentals", f"v{champion.rpartition('@')[2]}"} <= bikes.screen("models")
    bikes.goes_down()


def test_a_milling_machine_suggests_and_a_person_accepts(start: Start) -> None:
    source = public("ai4i2020/ai4i2020.csv")
    mill = start("milling_machine")
    shutil.copy(source, mill.folder / "data" / "ai4i2020.csv")
    assert mill.box("check")["snapshot"]["rows"] == 10_000
    assert mill.box("train", "--direct")["version"] == "milling-machine@1"
    export = "edge export milling-machine@champion --target linux-arm64-cp311 --model-only --int8 auto"
    carried = mill.box(*export.split())
    assert carried["size_bytes"] < 500_000
    assert mill.box("edge", "verify", carried["path"])["verified_by"] == carried["key_ids"][0]
    mill.box("up", "--detach", "--port", "0")

    mill.python("make_traffic.py")
    said = mill.box("predict", "milling-machine", "--in", "data/worn.jsonl")
    assert said["model"] == "milling-machine@1"
    assert len(said["ids"]) == 625
    row = json.loads((mill.folder / "data" / "worn.jsonl").read_text(encoding="utf-8").splitlines()[0])
    answer = mill.post("milling-machine", "predict", {"rows": [row]})
    assert answer["predictions"] == said["predictions"][:1]

    outcome = mill.box("monitor", "milling-machine")
    assert {window["quality"] for window in outcome["windows"]} == {"cannot_tell"}, "no truth came yet"
    drift = next(alert for alert in outcome["alerts"] if alert["kind"] == "drift")
    assert "Torque" in drift["title"] or "Tool wear" in drift["title"]
    suggestion = next(item for item in outcome["decisions"] if item["state"] == "suggested")
    assert mill.champion("milling-machine") == "milling-machine@1", "suggest mode does nothing by itself"

    with source.open(newline="", encoding="utf-8-sig") as file:
        failed = [line["Machine failure"] for line in csv.DictReader(file)][::16]
    truth = [{"id": id_, "value": value} for id_, value in zip(said["ids"], failed, strict=True)]
    mill.post("milling-machine", "feedback", {"truth": truth[1:]})
    assert (
        mill.box("feedback", "milling-machine", "--id", said["ids"][0], "--value", failed[0])["stored"] == 1
    )
    later = mill.box("monitor", "milling-machine", "--direct")
    assert sum(window["rows_with_truth"] for window in later["windows"]) == 625

    accepted = mill.box("decisions", "accept", suggestion["id"])
    assert accepted["state"] in ("issued", "done")
    done = until(
        lambda: (
            item if (item := mill.box("decisions", "show", suggestion["id"]))["state"] == "done" else None
        ),
        what="end of the retraining",
    )
    assert done["facts"]["version"] == "milling-machine@2"
    training = mill.box("runs", "show", done["run_id"])
    assert training["flow_run_id"]
    assert training["trigger"] == suggestion["trigger"]
    assert {"milling-machine", "v2"} <= mill.screen("models")
    mill.goes_down()


def test_digits_are_learnt_by_torch_and_read_over_http(start: Start) -> None:
    digits = start("digits_torch")
    digits.python("make_data.py")
    assert digits.box("check")["snapshot"]["rows"] == 1797
    trained = digits.box("train", "--direct")
    assert trained["metrics"]["accuracy"] >= 0.95
    points = digits.box("runs", "show", trained["run_id"])["points"]
    assert points["train_loss"][0][1] > 5 * points["train_loss"][-1][1]
    assert len(points["validation_loss"]) == len(points["train_loss"])
    digits.box("up", "--detach", "--port", "0")

    lines = (digits.folder / "data" / "dim.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    with (digits.folder / "data" / "digits.csv").open(newline="", encoding="utf-8") as file:
        truth = [line["digit"] for line in csv.DictReader(file)][: len(rows)]
    said = digits.box("predict", "digits-torch", "--in", "data/dim.jsonl")
    right = [str(answered) == digit for answered, digit in zip(said["predictions"], truth, strict=True)]
    assert sum(right) / len(right) > 0.8
    answer = digits.post("digits-torch", "predict", {"rows": rows[:100]})
    assert answer["predictions"] == said["predictions"][:100]
    assert len(answer["probabilities"][0]) == 10
    body = {"truth": [{"id": id_, "value": value} for id_, value in zip(answer["ids"], truth, strict=False)]}
    assert digits.post("digits-torch", "feedback", body)["stored"] == 100
    assert digits.box("feedback", "digits-torch", "--id", said["ids"][0], "--value", truth[0])["stored"] == 1

    outcome = digits.box("monitor", "digits-torch")
    assert "drift" in {alert["kind"] for alert in outcome["alerts"]}
    again = digits.box("train", "--direct")
    assert again["version"] == digits.champion("digits-torch") == "digits-torch@2"
    assert {"digits-torch", "v2"} <= digits.screen("models")
    digits.goes_down()
