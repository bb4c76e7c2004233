"""Clients of Triton, KServe and Arrow against a real server: what they read, ask and get, and how their mistakes are told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tritonclient.grpc
import tritonclient.http
from serving_kit import Server, register_fails, register_projects, register_rate, running
from tritonclient.utils import InferenceServerException

from mlops_box.box import Box

ARROW = "application/vnd.apache.arrow.stream"
KINDS = ["http", "grpc"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Box, Server]]:
    with Box.open(tmp_path_factory.mktemp("served") / "home", actor="tester") as box:
        register_projects(box)
        register_rate(box, 1.0, 1.0)
        register_rate(box, 10.0, 1.0, promote=False)
        register_fails(box)
        with running(box.home.root) as server:
            yield box, server


class Triton:
    """The official client over one of its transports."""

    def __init__(self, kind: str, server: Server):
        self.kind = kind
        self.module: ModuleType = tritonclient.http if kind == "http" else tritonclient.grpc
        target = f"127.0.0.1:{server.address.port}" if kind == "http" else server.address.grpc_target
        self.client: Any = self.module.InferenceServerClient(target)

    def tensor(self, name: str, datatype: str, values: Any, **options: Any) -> Any:
        found = self.module.InferInput(name, list(values.shape), datatype)
        if self.kind == "http":
            found.set_data_from_numpy(values, **options)
        else:
            found.set_data_from_numpy(values)
        return found

    def wanted(self, name: str, **options: Any) -> Any:
        return self.module.InferRequestedOutput(name, **(options if self.kind == "http" else {}))

    def metadata(self, model: str, version: str = "") -> dict[str, Any]:
        if self.kind == "http":
            found: dict[str, Any] = self.client.get_model_metadata(model, version)
            return found
        answer: dict[str, Any] = self.client.get_model_metadata(model, version, as_json=True)
        for tensor in answer["inputs"] + answer["outputs"]:
            tensor["shape"] = list(map(int, tensor["shape"]))
        return answer


@pytest.fixture(params=KINDS)
def triton(request: pytest.FixtureRequest, served: tuple[Box, Server]) -> Iterator[Triton]:
    found = Triton(request.param, served[1])
    yield found
    found.client.close()


def doubles(*values: float) -> Any:
    return np.array(values).reshape(-1, 1)


def texts(*values: str) -> Any:
    return np.array(values, dtype=object).reshape(-1, 1)


def test_a_triton_client_sees_server_and_models(triton: Triton) -> None:
    client = triton.client
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("rates")
    assert client.is_model_ready("rates", "2")
    about = client.get_server_metadata(**({"as_json": True} if triton.kind == "grpc" else {}))
    assert about["name"] == "mlops-box"
    found = triton.metadata("mill")
    assert (found["name"], found["versions"], found["platform"]) == ("mill", ["1"], "onnxruntime_onnx")
    assert found["inputs"] == [
        {"name": "heat", "datatype": "FP64", "shape": [-1, 1]},
        {"name": "kind", "datatype": "BYTES", "shape": [-1, 1]},
    ]
    assert [(one["name"], one["datatype"], one["shape"]) for one in found["outputs"]] == [
        ("label", "BOOL", [-1]), ("probability", "FP32", [-1, 2]), ("id", "BYTES", [-1])
    ]  # fmt: skip
    assert triton.metadata("rates", "2")["versions"] == ["1", "2"]


def test_a_triton_client_gets_the_predictions_that_rows_get(
    triton: Triton, served: tuple[Box, Server]
) -> None:
    box, server = served
    inputs = [
        triton.tensor("heat", "FP64", doubles(12.0, 3.0)),
        triton.tensor("kind", "BYTES", texts("m", "l")),
    ]
    found = triton.client.infer("mill", inputs, request_id="mine")
    rows = ({"heat": 12.0, "kind": "m"}, {"heat": 3.0, "kind": "l"})
    _, _, expected = server.predict("mill", *rows)
    assert found.as_numpy("label").tolist() == expected["predictions"]
    assert np.allclose(found.as_numpy("probability"), expected["probabilities"], atol=1e-7)
    response = found.get_response()
    assert (response["id"] if triton.kind == "http" else response.id) == "mine"
    for row, id_ in zip(rows, found.as_numpy("id").tolist(), strict=True):
        logged = box.predictions.find(id_.decode())
        assert logged is not None
        assert (logged["feature:heat"], logged["feature:kind"]) == (row["heat"], row["kind"])
        assert (logged["model"], logged["variant"]) == ("mill", "champion")


def test_chosen_outputs_versions_and_missing_values(triton: Triton) -> None:
    inputs = [triton.tensor("a", "FP32", doubles(2.0, 3.0).astype(np.float32)),
              triton.tensor("b", "FP64", doubles(1.0, np.nan))]  # fmt: skip
    wanted = [triton.wanted("prediction")]
    found = triton.client.infer("rates", inputs, outputs=wanted)
    assert found.as_numpy("prediction").tolist() == [3.0, 3.0]
    assert found.as_numpy("id") is None
    older = triton.client.infer("rates", inputs, model_version="2", outputs=wanted)
    assert older.as_numpy("prediction").tolist() == [21.0, 30.0]
    by_name = triton.client.infer("rates@2", inputs, outputs=wanted)
    assert by_name.as_numpy("prediction").tolist() == [21.0, 30.0]


def test_one_matrix_is_enough_for_a_model_of_numbers(triton: Triton) -> None:
    matrix = np.array([[1.0, 2.0], [3.0, np.nan]], dtype=np.float32)
    found = triton.client.infer("rates", [triton.tensor("predict", "FP32", matrix)])
    assert found.as_numpy("prediction").tolist() == [3.0, 3.0]


def mistakes(triton: Triton) -> dict[str, tuple[str, list[Any], str]]:
    heat, kind = triton.tensor("heat", "FP64", doubles(1.0)), triton.tensor("kind", "BYTES", texts("l"))
    two = triton.tensor("heat", "FP64", doubles(1.0, 2.0))
    return {
        "NaN where it must not be": ("mill", [triton.tensor("heat", "FP64", doubles(np.nan)), kind], "heat: it is missing"),
        "infinite": ("mill", [triton.tensor("heat", "FP64", doubles(np.inf)), kind], "not finite"),
        "below the contract": ("mill", [triton.tensor("heat", "FP64", doubles(-1.0)), kind], "below"),
        "unknown category": ("mill", [heat, triton.tensor("kind", "BYTES", texts("z"))], "none of"),
        "wrong datatype": ("mill", [triton.tensor("heat", "BYTES", texts("1")), kind], "is BYTES, expected FP64"),
        "wrong shape": ("mill", [triton.tensor("heat", "FP64", np.ones((1, 3))), kind], "shape [1, 3]"),
        "unequal rows": ("mill", [two, kind], "differ in rows"),
        "unknown input": ("mill", [heat, triton.tensor("kinds", "BYTES", texts("l"))], "'kinds' is no column"),
        "missing input": ("mill", [heat], "lacks the input 'kind'"),
        "matrix for texts": ("mill", [triton.tensor("x", "FP32", np.ones((1, 2), dtype=np.float32))], "shape [1, 2]"),
        "wide matrix": ("rates", [triton.tensor("x", "FP32", np.ones((1, 3), dtype=np.float32))], "shape [1, 3]"),
        "too many rows": ("rates", [triton.tensor("x", "FP32", np.ones((2000, 2), dtype=np.float32))], "more than the 1024"),
    }  # fmt: skip


def test_every_mistake_is_told_clearly(triton: Triton) -> None:
    status = "422" if triton.kind == "http" else "StatusCode.INVALID_ARGUMENT"
    for what, (model, inputs, message) in mistakes(triton).items():
        with pytest.raises(InferenceServerException) as caught:
            triton.client.infer(model, inputs)
        assert message in caught.value.message(), what
        assert caught.value.status() == status, what
        assert str(caught.value), what


def test_what_is_not_there_is_not_found(triton: Triton) -> None:
    status = "404" if triton.kind == "http" else "StatusCode.NOT_FOUND"
    matrix = [triton.tensor("x", "FP32", np.ones((1, 2), dtype=np.float32))]
    for call in (
        lambda: triton.client.infer("nothing", matrix),
        lambda: triton.client.infer("rates", matrix, model_version="9"),
        lambda: triton.client.get_model_metadata("nothing"),
        lambda: triton.client.infer("No Name!", matrix),
    ):
        with pytest.raises(InferenceServerException) as caught:
            call()
        assert caught.value.status() == status
    with pytest.raises(InferenceServerException, match="no output 'score'"):
        triton.client.infer("rates", matrix, outputs=[triton.wanted("score")])


def test_tensors_may_go_as_json_both_ways(served: tuple[Box, Server]) -> None:
    client = Triton("http", served[1])
    inputs = [
        client.tensor("heat", "FP64", doubles(12.0, 3.0), binary_data=False),
        client.tensor("kind", "BYTES", texts("m", "l"), binary_data=False),
    ]
    outputs = [client.wanted(name, binary_data=False) for name in ("label", "probability", "id")]
    found = client.client.infer("mill", inputs, outputs=outputs)
    assert found.as_numpy("label").tolist() == [True, False]
    assert all("data" in output for output in found.get_response()["outputs"])
    client.client.close()


def call(
    server: Server, path: str, content: Any, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], Any]:
    return server.call("POST", path, content, headers)


def test_plain_json_is_answered_in_json(served: tuple[Box, Server]) -> None:
    inputs = [
        {"name": "a", "shape": [2, 1], "datatype": "FP64", "data": [[1], [2]]},
        {"name": "b", "shape": [2], "datatype": "FP64", "data": [1, None]},
    ]
    status, headers, answer = call(served[1], "/v2/models/rates/infer", {"id": "x", "inputs": inputs})
    assert (status, headers["x-model-version"]) == (200, "1")
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("rates", "1", "x")
    assert answer["outputs"][0] == {
        "name": "prediction",
        "datatype": "FP32",
        "shape": [2],
        "data": [2.0, 2.0],
    }
    assert answer["parameters"]["prediction_id"] == answer["outputs"][1]["data"][0]


def test_an_error_is_a_text_for_clients_and_our_shape_beside_it(served: tuple[Box, Server]) -> None:
    inputs = [
        {"name": "a", "shape": [1], "datatype": "FP64", "data": [101]},
        {"name": "b", "shape": [1], "datatype": "FP64", "data": [1]},
    ]
    status, _, answer = call(served[1], "/v2/models/rates/infer", {"inputs": inputs})
    assert status == 422
    assert "above 100" in answer["error"]
    assert (answer["code"], answer["details"][0]["rule"]) == ("contract", "a.max")
    for path in ("/v2/nothing", "/v2/models/nothing", "/v2/models/rates/config"):
        status, _, answer = served[1].call("GET", path)
        assert (status, answer["code"]) == (404, "not_found")
        assert isinstance(answer["error"], str)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b'{"inputs": [], "inputs": []}', {}, 400),
        (b"[" * 100_000, {}, 400),
        (b'{"inputs": []}', {}, 422),
        (b'{"inputs": []}', {"Inference-Header-Content-Length": "99"}, 422),
        (b"\0\0\0\0", {"Content-Type": "application/octet-stream"}, 422),
        (b'{"inputs": []}', {"Content-Type": "text/plain"}, 415),
        (b'{"inputs": []}', {"Origin": "http://evil.example"}, 403),
        (b" " * (9 << 20), {}, 413),
    ],
)
def test_hostile_bodies_are_refused_in_the_protocols_shape(
    served: tuple[Box, Server], body: bytes, headers: dict[str, str], status: int
) -> None:
    found, _, answer = call(served[1], "/v2/models/rates/infer", body, headers)
    assert found == status
    assert isinstance(answer["error"], str)
    assert answer["code"]


def test_a_body_without_a_type_is_for_the_protocol_only_and_for_no_web_page(
    served: tuple[Box, Server],
) -> None:
    def status(path: str, **headers: str) -> int:
        connection = served[1].connect()
        connection.putrequest("POST", path)
        body = b'{"inputs": []}'
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        found = connection.getresponse().status
        connection.close()
        return found

    assert status("/v2/models/rates/infer") == 422
    assert status("/v2/models/rates/infer", Origin="http://127.0.0.1") == 415
    assert status("/models/rates/predict") == 415


def arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def post(server: Server, path: str, body: bytes, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = server.connect()
    connection.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response.status, {key.lower(): value for key, value in response.getheaders()}, data


def test_arrow_in_and_out_gives_what_rows_give(served: tuple[Box, Server]) -> None:
    box, server = served
    rows = [{"heat": 12.0, "kind": "m"}, {"heat": 3.0, "kind": "l"}] * 100
    table = pa.Table.from_pylist(rows)
    table = table.set_column(1, "kind", table["kind"].dictionary_encode())
    status, headers, data = post(
        server, "/models/mill/predict", arrow(table), Content_Type=ARROW, Accept=ARROW
    )
    assert (status, headers["content-type"], headers["x-model-version"]) == (200, ARROW, "1")
    found = pa.ipc.open_stream(data).read_all()
    _, _, expected = server.predict("mill", *rows)
    assert found["label"].to_pylist() == expected["predictions"]
    assert np.allclose(found["probability"].to_pylist(), expected["probabilities"], atol=1e-7)
    logged = box.predictions.find(found["id"][1].as_py())
    assert logged is not None
    assert (logged["feature:heat"], logged["feature:kind"]) == (3.0, "l")


def test_arrow_may_be_answered_in_json_and_json_in_arrow(served: tuple[Box, Server]) -> None:
    server = served[1]
    table = pa.table({"a": [1, 2], "b": [None, 3.0]})
    status, _, data = post(server, "/models/rates/predict", arrow(table), Content_Type=ARROW)
    assert (status, json.loads(data)["predictions"]) == (200, [1.0, 5.0])
    body = json.dumps({"rows": table.to_pylist()}).encode()
    status, _, data = post(
        server, "/models/rates/predict", body, Content_Type="application/json", Accept=ARROW
    )
    assert (status, pa.ipc.open_stream(data).read_all()["prediction"].to_pylist()) == (200, [1.0, 5.0])


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "no Arrow stream"),
        (arrow(pa.table({"a": [1.0], "b": [1.0]}))[:-60], 400, "no Arrow stream"),
        (arrow(pa.table({"a": [1.0], "b": [[1.0]]})), 422, "'b' is of Arrow's type list"),
        (arrow(pa.table({"a": [101.0], "b": [1.0]})), 422, "above 100"),
        (arrow(pa.table({"a": pa.nulls(10**9), "b": pa.nulls(10**9)})), 422, "more than 1024 rows"),
    ],
)
def test_a_hostile_arrow_stream_gives_a_clear_error(
    served: tuple[Box, Server], body: bytes, status: int, message: str
) -> None:
    found, _, data = post(served[1], "/models/rates/predict", body, Content_Type=ARROW, Accept=ARROW)
    assert (found, message in json.loads(data)["error"]["message"]) == (status, True)
