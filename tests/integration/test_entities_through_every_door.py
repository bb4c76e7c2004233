"""Features are looked up for whoever asks, by whatever protocol: the same answers, the same log, the same words."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pytest
import tritonclient.grpc
import tritonclient.http
from feature_kit import MODEL, Case, paid, serving_features
from mlops_box_services.stubs import open_inference_pb2 as pb
from mlops_box_services.stubs.open_inference_pb2_grpc import GRPCInferenceServiceStub

ARROW = "application/vnd.apache.arrow.stream"
# 404 has no events: its features are their defaults.
CARDS = (21, 22, 404)
AMOUNTS = (0.5, 1.5, 2.5)
Door = Callable[[Case, dict[str, Any]], tuple[list[float], str]]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    with serving_features(tmp_path_factory.mktemp("features") / "home") as found:
        found.push(paid(21, 5, 4.0), paid(21, 1, 0.25), paid(22, 2, 8.0))
        yield found


def columns(**more: Any) -> dict[str, Any]:
    return {"card_id": np.array(CARDS), "amount": np.array(AMOUNTS), **more}


def oip_json(case: Case, asked: dict[str, Any]) -> tuple[list[float], str]:
    kinds = {"i": "INT64", "f": "FP64"}
    inputs = [
        {
            "name": name,
            "shape": [len(values), 1],
            "datatype": kinds[values.dtype.kind],
            "data": values.tolist(),
        }
        for name, values in asked.items()
    ]
    status, _, answer = case.server.call("POST", f"/v2/models/{MODEL}/infer", {"inputs": inputs})
    if status != 200:
        raise AssertionError(json.dumps(answer))
    return answer["outputs"][0]["data"], answer["parameters"]["prediction_id"]


def triton(kind: Any, target: Callable[[Case], str]) -> Door:
    def door(case: Case, asked: dict[str, Any]) -> tuple[list[float], str]:
        inputs = []
        for name, values in asked.items():
            datatype = "INT64" if values.dtype.kind == "i" else "FP64"
            tensor = kind.InferInput(name, [len(values), 1], datatype)
            tensor.set_data_from_numpy(values.reshape(-1, 1))
            inputs.append(tensor)
        answer = kind.InferenceServerClient(target(case)).infer(MODEL, inputs)
        told = answer.get_response()
        parameters = told["parameters"] if isinstance(told, dict) else told.parameters
        id_ = parameters["prediction_id"]
        name = told["outputs"][0]["name"] if isinstance(told, dict) else told.outputs[0].name
        return answer.as_numpy(name).ravel().tolist(), id_ if isinstance(id_, str) else id_.string_param

    return door


def arrow(case: Case, asked: dict[str, Any]) -> tuple[list[float], str]:
    sink = pa.BufferOutputStream()
    table = pa.table(asked)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    status, _, answer = case.server.call(
        "POST", f"/models/{MODEL}/predict", sink.getvalue().to_pybytes(), {"Content-Type": ARROW}
    )
    if status != 200:
        raise AssertionError(json.dumps(answer))
    return answer["predictions"], answer["ids"][0]


def command(case: Case, asked: dict[str, Any]) -> tuple[list[float], str]:
    done = run(case.box.home.root, asked)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    return answer["predictions"], answer["ids"][0]


def run(home: Path, asked: dict[str, Any], *more: str) -> subprocess.CompletedProcess[str]:
    rows = [
        dict(zip(asked, (value.item() for value in row), strict=True))
        for row in zip(*asked.values(), strict=True)
    ]
    options: list[str] = []
    for row in rows:
        card = row.pop("card_id")
        options += ["--entity", f"card_id={card}", "--row", json.dumps(row)]
    arguments = [
        sys.executable,
        "-m",
        "mlops_box",
        "predict",
        MODEL,
        *options,
        "--home",
        str(home),
        "--json",
        *more,
    ]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)


DOORS: dict[str, Door] = {
    "tensors as JSON": oip_json,
    "tensors, raw": triton(tritonclient.http, lambda case: f"127.0.0.1:{case.server.address.port}"),
    "gRPC": triton(tritonclient.grpc, lambda case: case.server.address.grpc_target or ""),
    "Arrow": arrow,
    "the command": command,
}


@pytest.fixture(params=DOORS.values(), ids=DOORS)
def door(request: pytest.FixtureRequest) -> Door:
    found: Door = request.param
    return found


def by_json(case: Case) -> list[float]:
    status, answer = case.ask(
        {
            "entities": [{"card_id": card} for card in CARDS],
            "rows": [{"amount": amount} for amount in AMOUNTS],
        }
    )
    assert status == 200
    predictions: list[float] = answer["predictions"]
    return predictions


def test_every_door_answers_as_json_does(case: Case, door: Door) -> None:
    answered, _ = door(case, columns())

    assert answered == by_json(case) == [4.75, 9.5, 2.5]


def test_every_door_logs_the_entity_its_vector_and_the_observation(case: Case, door: Door) -> None:
    _, first = door(case, columns())

    logged = case.box.predictions.find(first)

    assert logged is not None
    assert json.loads(logged["entity"]) == {"card_id": 21}
    assert (logged["feature:amount"], logged["feature:activity__spend"]) == (0.5, 4.25)
    assert logged["definition:activity"] == case.day.digest
    assert logged["observed:activity"] is not None


def test_every_door_still_takes_rows_that_come_whole(case: Case) -> None:
    whole = {"amount": np.array(AMOUNTS), "activity__spend": np.array([1.0, 2.0, 3.0])}

    for name, door in DOORS.items():
        if door is not command:
            assert door(case, whole)[0] == [1.5, 3.5, 5.5], name


@pytest.mark.parametrize("name", ["tensors as JSON", "Arrow"])
def test_what_breaks_the_contract_is_named_by_row_and_rule(case: Case, name: str) -> None:
    with pytest.raises(AssertionError) as refused:
        DOORS[name](case, {"card_id": np.array([21, 22]), "amount": np.array([1.0, -1.0])})
    assert '"row": 1' in str(refused.value)
    assert "amount.min" in str(refused.value)


def test_an_input_that_is_missing_is_named_with_the_other_way_to_ask(case: Case) -> None:
    with pytest.raises(AssertionError) as refused:
        oip_json(case, {"amount": np.array([1.0])})
    assert "activity__spend" in str(refused.value)
    assert "send card_id" in str(refused.value)


def test_the_metadata_says_what_may_be_left_out_and_by_what(case: Case) -> None:
    _, _, told = case.server.call("GET", f"/v2/models/{MODEL}")

    inputs = {item["name"]: item for item in told["inputs"]}
    assert inputs["card_id"]["datatype"] == "INT64"
    assert inputs["card_id"]["parameters"] == {"optional": "true", "entity": "true"}
    assert inputs["activity__spend"]["parameters"] == {"optional": "true", "looked_up_by": "card_id"}
    assert "parameters" not in inputs["amount"]
    with grpc.insecure_channel(case.server.address.grpc_target or "") as channel:
        answer = GRPCInferenceServiceStub(channel).ModelMetadata(
            pb.ModelMetadataRequest(name=MODEL), timeout=60
        )
    assert [item.name for item in answer.inputs] == [item["name"] for item in told["inputs"]]


def test_what_was_looked_up_is_told_on_request(case: Case) -> None:
    inputs = [
        {"name": "card_id", "shape": [1], "datatype": "INT64", "data": [21]},
        {"name": "amount", "shape": [1], "datatype": "FP64", "data": [1.0]},
    ]
    body = {"inputs": inputs, "parameters": {"explain": "features"}}
    _, _, answer = case.server.call("POST", f"/v2/models/{MODEL}/infer", body)

    told = json.loads(answer["parameters"]["features"])
    assert told[0]["features"] == {"activity__spend": 4.25}
    assert told[0]["views"]["activity"]["age_s"] > 0
    shown = json.loads(run(case.box.home.root, columns(), "--explain").stdout)
    assert shown["features"][0]["features"] == {"activity__spend": 4.25}
    body["parameters"] = {"explain": "weights"}
    status, _, refused = case.server.call("POST", f"/v2/models/{MODEL}/infer", body)
    assert (status, "explain" in refused["error"]) == (422, True)


def test_the_command_without_a_server_answers_alike(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with serving_features(home) as case:
        case.push(paid(21, 5, 4.0))
        served = json.loads(run(home, columns()).stdout)
    alone = run(home, columns())

    assert alone.returncode == 0, alone.stderr
    assert json.loads(alone.stdout)["predictions"] == served["predictions"] == [4.5, 1.5, 2.5]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--entity", "card_id=x", "--row", '{"amount": 1}'), 2),
        (("--entity", "card=1", "--row", '{"amount": 1}'), 2),
        (("--entity", "card_id=1,card_id=2", "--row", '{"amount": 1}'), 2),
        (("--entity", "card_id=1", "--entity", "card_id=2", "--row", '{"amount": 1}'), 2),
        (("--entity", "card_id", "--row", '{"amount": 1}'), 2),
    ],
)
def test_entities_that_are_none_get_one_error(case: Case, options: tuple[str, ...], code: int) -> None:
    home = str(case.box.home.root)
    done = subprocess.run(
        [sys.executable, "-m", "mlops_box", "predict", MODEL, *options, "--home", home],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
