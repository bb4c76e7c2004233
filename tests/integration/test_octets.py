"""Rows as raw float32 over real HTTP: checked, batched and logged like rows of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from serving_kit import Server, register_fails, register_projects, register_rate, running

from mlops_box.box import Box

OCTETS = "application/octet-stream"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Box, Server]]:
    with Box.open(tmp_path_factory.mktemp("served") / "home", actor="tester") as box:
        register_projects(box)
        register_rate(box, 1.0, 1.0)
        register_fails(box)
        with running(box.home.root) as server:
            yield box, server


def post(server: Server, path: str, body: bytes, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = server.connect()
    connection.request("POST", path, body, {"Content-Type": OCTETS, **headers})
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response.status, {key.lower(): value for key, value in response.getheaders()}, data


def test_raw_rows_are_answered_as_json_or_raw_and_logged(served: tuple[Box, Server]) -> None:
    box, server = served
    matrix = np.array([[1.5, 2.0], [3.0, np.nan]], dtype="<f4")
    status, _, data = post(server, "/models/rates/predict", matrix.tobytes())
    answer: dict[str, Any] = json.loads(data)
    assert (status, answer["predictions"]) == (200, [3.5, 3.0])
    status, headers, data = post(server, "/models/rates/predict", matrix.tobytes(), Accept=OCTETS)
    assert (status, headers["content-type"], headers["x-model-version"]) == (200, OCTETS, "1")
    assert np.frombuffer(data, dtype="<f4").tolist() == [3.5, 3.0]
    for id_, b in ((answer["ids"][0], 2.0), (answer["ids"][1], None)):
        found = box.predictions.find(id_)
        assert found is not None
        assert (found["feature:b"], found["variant"]) == (b, "champion")
    assert box.predictions.find(headers["x-prediction-id"]) is not None


def test_json_rows_may_be_answered_raw(served: tuple[Box, Server]) -> None:
    body = json.dumps({"rows": [{"heat": 12.0, "kind": "m"}, {"heat": 3.0, "kind": "l"}]}).encode()
    headers = {"Content-Type": "application/json", "Accept": OCTETS}
    status, _, data = post(served[1], "/models/mill/predict", body, **headers)
    assert status == 200
    probabilities = np.frombuffer(data, dtype="<f4").reshape(2, 2)
    assert np.allclose(probabilities.sum(axis=1), 1)


@pytest.mark.parametrize(
    ("path", "values", "rule"),
    [
        ("rates", [[101, 1]], "a.max"),
        ("rates", [[np.nan, 1]], "a.null"),
        ("rates", [[1, np.inf]], "b.finite"),
        ("rates", [[1, 2], [1, -np.inf]], "b.finite"),
    ],
)
def test_a_bad_value_is_named_as_in_rows(
    served: tuple[Box, Server], path: str, values: list[list[float]], rule: str
) -> None:
    status, _, data = post(served[1], f"/models/{path}/predict", np.array(values, dtype="<f4").tobytes())
    problem = json.loads(data)["error"]["details"][0]
    assert (status, problem["rule"], problem["row"]) == (422, rule, len(values) - 1)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/models/rates/predict", b""),
        ("/models/rates/predict", b"1234567"),
        ("/models/rates/predict", b"\0" * 8 * 2000),
        ("/models/mill/predict", b"\0" * 8),
        ("/models/rates/feedback", b"\0" * 8),
        ("/predict", b"\0" * 8),
    ],
)
def test_what_is_no_matrix_of_this_model_is_refused_clearly(
    served: tuple[Box, Server], path: str, body: bytes
) -> None:
    status, _, data = post(served[1], path, body)
    assert status in (400, 415, 422)
    assert json.loads(data)["error"]["message"]
