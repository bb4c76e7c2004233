"""The device's server speaks as the box's does: the same requests, side by side, get bodies of the same shape and words."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_box.box import Box
from mlops_box.models.golden import Golden
from tests.integration.device_kit import (
    DeviceServer,
    fill_slot,
    make_place,
    running_device,
    serve_slot,
    wait_until,
)
from tests.integration.http_kit import call
from tests.integration.serving_kit import (
    RATE,
    RATE_PROJECT,
    Server,
    rate_model,
    register_projects,
    register_rate,
    running,
)

Both = tuple[Server, DeviceServer]
JSON = {"Content-Type": "application/json"}
OCTETS = {"Content-Type": "application/octet-stream"}
FLAT = np.array([[1, 2], [3, np.nan]], dtype="<f4").tobytes()
ROW = {"a": 1.0, "b": 2.0}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    home = tmp_path_factory.mktemp("home") / "box"
    with Box.open(home) as box:
        register_rate(box)
        register_projects(box)
    rng = np.random.default_rng(0)
    place = make_place(tmp_path_factory.mktemp("device") / "edge")
    fill_slot(
        place, "a", "rates", 1, packed=rate_model(), signature=RATE, project=RATE_PROJECT + "[edge]\nmax_rows = 1024\n",
        golden=Golden((ROW, {"a": 3.0, "b": None}), prediction=(3.0, 3.0)),
        reference=pa.table({"a": rng.uniform(0, 100, 500), "b": rng.normal(size=500)}),
        predictions=rng.uniform(0, 100, 500),
    )  # fmt: skip
    serve_slot(place, "a")
    with running(home) as server, running_device(place, "a") as device:
        yield server, device


def tensors(*inputs: tuple[str, str, list[int], list[Any]], **more: Any) -> dict[str, Any]:
    names = ("name", "datatype", "shape", "data")
    return {"inputs": [dict(zip(names, given, strict=True)) for given in inputs], **more}


REQUESTS: dict[str, tuple[str, str, Any, dict[str, str]]] = {
    "rows": ("POST", "/models/rates/predict", {"rows": [ROW, {"a": 3, "b": None, "at": "2026-01-01"}]}, {}),
    "a version by number": ("POST", "/models/rates@1/predict", {"rows": [ROW]}, {}),
    "many rows": ("POST", "/models/rates/predict", {"rows": [ROW] * 300}, {}),
    "raw rows": ("POST", "/models/rates/predict", FLAT, OCTETS),
    "raw answers": ("POST", "/models/rates/predict", {"rows": [ROW]}, {"Accept": "application/octet-stream"}),
    "raw rows of another width": ("POST", "/models/rates/predict", FLAT[:-4], OCTETS),
    "raw rows out of range": ("POST", "/models/rates/predict", np.float32([500, 1]).tobytes(), OCTETS),
    "a broken rule": ("POST", "/models/rates/predict", {"rows": [ROW, {"a": 500, "b": "x", "nope": 1}]}, {}),
    "no rows": ("POST", "/models/rates/predict", {"rows": []}, {}),
    "too many rows": ("POST", "/models/rates/predict", {"rows": [ROW] * 1025}, {}),
    "another body": ("POST", "/models/rates/predict", {"row": [ROW]}, {}),
    "a list": ("POST", "/models/rates/predict", [ROW], {}),
    "a key twice": ("POST", "/models/rates/predict", b'{"rows":[{"a":1,"a":2,"b":3}]}', {}),
    "a form": ("POST", "/models/rates/predict", b"a=1", {"Content-Type": "application/x-www-form-urlencoded"}),
    "packed": ("POST", "/models/rates/predict", b"{}", {"Content-Encoding": "gzip"}),
    "a web page": ("POST", "/models/rates/predict", {"rows": [ROW]}, {"Origin": "http://evil.example"}),
    "a foreign host": ("GET", "/livez", None, {"Host": "evil.example"}),
    "another method": ("PUT", "/models/rates/predict", {}, {}),
    "alive": ("GET", "/livez", None, {}),
    "only the head": ("HEAD", "/livez", None, {}),
    "protocol: server alive": ("GET", "/v2/health/live", None, {}),
    "protocol: server ready": ("GET", "/v2/health/ready", None, {}),
    "protocol: model": ("GET", "/v2/models/rates", None, {}),
    "protocol: a version": ("GET", "/v2/models/rates/versions/1", None, {}),
    "protocol: model ready": ("GET", "/v2/models/rates/ready", None, {}),
    "protocol: columns": ("POST", "/v2/models/rates/infer", tensors(("a", "FP64", [2, 1], [1, 2]), ("b", "FP32", [2], [0.1, None]), id="7"), {}),
    "protocol: a matrix": ("POST", "/v2/models/rates/infer", tensors(("x", "FP32", [2, 2], [[1, 2], [3, 0.1]])), {}),
    "protocol: one output": ("POST", "/v2/models/rates/infer", tensors(("x", "FP64", [9, 2], [1.5] * 18), outputs=[{"name": "prediction"}]), {}),
    "protocol: no such output": ("POST", "/v2/models/rates/infer", tensors(("x", "FP64", [1, 2], [1, 2]), outputs=[{"name": "p"}]), {}),
    "protocol: another type": ("POST", "/v2/models/rates/infer", tensors(("a", "BYTES", [1], ["x"]), ("b", "FP64", [1], [1])), {}),
    "protocol: an input is missing": ("POST", "/v2/models/rates/infer", tensors(("a", "FP64", [1], [1])), {}),
    "protocol: out of range": ("POST", "/v2/models/rates/infer", tensors(("x", "FP32", [2, 2], [1, 2, 500, 4])), {}),
    "protocol: no JSON of its kind": ("POST", "/v2/models/rates/infer", {"input": []}, {}),
    "truth for nobody": ("POST", "/models/rates/feedback", {"truth": [{"id": "x", "value": 1}]}, {}),
    "truth of another kind": ("POST", "/models/rates/feedback", {"truth": [{"id": "0" * 22 + "-00000000", "value": "high"}]}, {}),
    "truth of another form": ("POST", "/models/rates/feedback", {"truth": [{"id": 1}]}, {}),
    "truth": ("POST", "/models/rates/feedback", {"truth": [{"id": "0" * 22 + "-00000000", "value": 1.5}]}, {}),
    "truth as a form": ("POST", "/models/rates/feedback", b"x", OCTETS),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
def test_the_same_request_gets_the_same_answer_from_box_and_device(both: Both, name: str) -> None:
    method, path, body, headers = REQUESTS[name]
    on_box = call(both[0].connect(), method, path, body, headers)
    on_device = both[1].call(method, path, body, headers)
    assert on_device[0] == on_box[0]
    assert comparable(on_device[2]) == comparable(on_box[2])
    for header in ("content-type", "content-length", "x-model-version", "allow"):
        assert on_device[1].get(header) == on_box[1].get(header) or name == "another method", header


def test_what_is_not_there_is_not_found_in_the_box_s_shape(both: Both) -> None:
    for path in ("/models/other/predict", "/models/rates@9/predict", "/nothing"):
        for server in (both[0], both[1]):
            status, _, body = call(server.connect(), "POST", path, {"rows": [ROW]})
            assert (status, body["error"]["code"]) == (404, "not_found"), path
            assert body["error"]["message"]


def test_a_request_id_comes_back_and_metrics_count_by_the_box_s_names(both: Both) -> None:
    for server in (both[0], both[1]):
        _, headers, _ = call(
            server.connect(), "POST", "/models/rates/predict", {"rows": [ROW]}, {"X-Request-ID": "mine-1"}
        )
        assert headers["x-request-id"] == "mine-1"
    pages = [call(server.connect(), "GET", "/metrics")[2].decode() for server in (both[0], both[1])]
    on_box, on_device = (series(page) for page in pages)
    assert on_box
    assert on_box <= on_device


def test_drift_is_told_as_numbers_for_every_column(both: Both) -> None:
    device = both[1]
    assert device.predict("rates", *[{"a": 99.0, "b": None}] * 50)[0] == 200

    wait_until(lambda: columns(device)["b"]["nulls"] > 0.1)
    found = columns(device)
    assert list(found) == ["a", "b", "(prediction)"]
    assert found["a"]["psi"] > 0.25
    assert found["b"]["reference_nulls"] == 0


def columns(device: DeviceServer) -> dict[str, Any]:
    """Of the window that is being counted."""
    windows = device.call("GET", "/drift")[2]["windows"]
    return {column["name"]: column for column in windows[-1]["columns"]} if windows else {"b": {"nulls": 0}}


def series(page: str) -> set[tuple[str, ...]]:
    """The series of answered requests: name and labels."""
    found = re.findall(
        r"^(mlops_box_(?:requests_total|rows_total|request_seconds_count))\{([^}]*)\}", page, re.M
    )
    named = {(name, *sorted(labels.split(","))) for name, labels in found}
    return {
        one
        for one in named
        if 'variant="champion"' in one and (one[0] != "mlops_box_requests_total" or 'outcome="ok"' in one)
    }


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nhost: localhost\r\n folded: x\r\n\r\n", 400),
        (b"GET http://localhost/livez HTTP/1.1\r\nhost: localhost\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nhost: localhost\r\nbad name: x\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\nconnection: close\r\n\r\n", 421),
        (b"POST /models/rates/predict HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n", 411),
        (b"POST /models/rates/predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n", 400),
        (b"POST /models/rates/predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: x\r\n\r\n", 400),
        (b"POST /models/rates/predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9999999999\r\n\r\n", 413),
        (b"GET /livez HTTP/1.1\r\nhost: localhost\r\n" + b"x: y\r\n" * 200 + b"\r\n", 431),
        (b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 70_000 + b"\r\n\r\n", 431),
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused_and_the_connection_closed(
    both: Both, sent: bytes, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", both[1].port), timeout=20) as connection:
        connection.sendall(sent)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close" in head.lower()
    assert json.loads(body)["error"]["code"]


def test_requests_may_come_in_pieces_and_several_at_once(both: Both) -> None:
    body = json.dumps({"rows": [ROW]}).encode()
    request = b"POST /models/rates/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)  # fmt: skip
    with socket.create_connection(("127.0.0.1", both[1].port), timeout=20) as connection:
        for start in range(0, len(request), 30):
            connection.sendall(request[start : start + 30])
        connection.sendall(
            request + request + b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        )
        answer = b""
        while data := connection.recv(65536):
            answer += data
    assert answer.count(b"HTTP/1.1 200 OK") == 4
    assert answer.count(b'"predictions":[3.0]') == 3


def comparable(content: Any) -> Any:
    """A body without ids, which differ from call to call."""
    if isinstance(content, bytes):
        return content
    text = re.sub(r"[0-9a-hjkmnp-tv-z]{22}-[0-9a-f]{8}", "ID", json.dumps(content, sort_keys=True))
    return json.loads(text)
