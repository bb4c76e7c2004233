"""A real server with access log and traces on, and a collector that this test plays."""

from __future__ import annotations

import gzip
import http.server
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from mlops_box_services.stubs import open_inference_pb2 as pb
from mlops_box_services.stubs.open_inference_pb2_grpc import GRPCInferenceServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from serving_kit import Server, register_fails, register_projects, register_rate, running

from mlops_box.box import Box
from mlops_box.operations.dashboard import alert_rules, dashboard_json

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SECRET = "Bearer not-to-be-seen"


class Collector:
    """An OpenTelemetry collector's HTTP side, on loopback."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, bytes]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                outer.requests.append((self.path, body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def spans(self) -> list[tuple[str, Span]]:
        """(service name, span) of everything that came."""
        found = []
        for _, body in list(self.requests):
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                names = {item.key: item.value.string_value for item in resource.resource.attributes}
                found += [
                    (names["service.name"], span) for scope in resource.scope_spans for span in scope.spans
                ]
        return found

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Collector]]:
    home = tmp_path_factory.mktemp("observed") / "home"
    collector = Collector()
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_SERVICE_NAME": "box-under-test",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with Box.open(home, actor="tester") as box:
        register_projects(box)
        register_rate(box)
        register_fails(box)
        with running(home, "--access-log", environ=environ) as server:
            yield server, collector
    collector.close()


def eventually(find: Callable[[], Any]) -> Any:
    """What ``find`` gives, once it gives something."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = find()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come")


def line_of(server: Server, request_id: str) -> dict[str, Any]:
    def find() -> dict[str, Any] | None:
        path = server.home / "logs" / "access.log"
        lines = [json.loads(text) for text in path.read_bytes().splitlines()] if path.exists() else []
        return next((line for line in lines if line["request_id"] == request_id), None)

    found = eventually(find)
    assert isinstance(found, dict)
    return found


def call(
    server: Server, id_: str, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, Any]:
    status, found, _ = server.call(method, path, body, {"X-Request-ID": id_, **headers})
    assert found["x-request-id"] == id_
    # Level 1 of the standard knows no response header.
    assert not {"traceparent", "tracestate"} & set(found)
    return status, found


ROWS = {"rows": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]}


def test_a_prediction_leaves_a_line_that_says_who_answered(observed: tuple[Server, Collector]) -> None:
    server, _ = observed
    call(server, "good-1", "POST", "/models/rates/predict", ROWS)
    line = line_of(server, "good-1")
    expected = {
        "protocol": "http", "method": "POST", "route": "/models/{name}/predict", "status": 200, "outcome": "ok",
        "model": "rates", "version": 1, "variant": "champion", "rows": 2, "client": "127.0.0.1",
        "bytes_in": len(json.dumps(ROWS)),
    }  # fmt: skip
    assert {key: line[key] for key in expected} == expected
    assert line["latency_ms"] > 0
    assert line["bytes_out"] > 50
    call(server, "good-2", "POST", "/models/rates@1/predict", ROWS)
    assert line_of(server, "good-2")["version"] == 1


@pytest.mark.parametrize(
    ("id_", "method", "path", "body", "status", "outcome", "route", "model"),
    [
        ("bad-row", "POST", "/models/rates/predict", {"rows": [{"a": -1}]}, 422, "contract", "/models/{name}/predict", "rates"),
        ("no-model", "POST", "/models/se-cret/predict", ROWS, 404, "not_found", "/models/{name}/predict", None),
        ("no-path", "GET", "/se-cret/%1b[2J?token=se-cret", None, 404, "not_found", None, None),
        ("no-method", "DELETE", "/models", None, 405, "method", None, None),
        ("truth", "POST", "/models/rates/feedback", {"truth": []}, 422, "usage", "/models/{name}/feedback", "rates"),
        ("inner", "GET", "/schema.json", None, 200, "ok", "/schema.json", None),
        ("page", "GET", "/livez", None, 200, "ok", "/livez", None),
    ],
)  # fmt: skip
def test_every_other_request_leaves_one_too(
    observed: tuple[Server, Collector], id_: str, method: str, path: str, body: Any, status: int, outcome: str,
    route: str | None, model: str | None,
) -> None:  # fmt: skip
    server, _ = observed
    if id_ == "inner":
        server.call(method, path, None, {"X-Request-ID": id_})
    else:
        call(server, id_, method, path, body, Authorization=SECRET, Cookie="se-cret")
    line = line_of(server, id_)
    assert (line["status"], line["outcome"], line["route"], line["model"]) == (status, outcome, route, model)
    assert line["bytes_out"] > 0
    data = (server.home / "logs" / "access.log").read_bytes()
    assert b"se-cret" not in data
    assert b"not-to-be-seen" not in data


def test_what_the_guard_refuses_leaves_a_line_without_the_strangers_words(
    observed: tuple[Server, Collector],
) -> None:
    server, _ = observed
    server.call("GET", "/models", None, {"Host": "evil.example", "X-Request-ID": "evil id"})
    path = server.home / "logs" / "access.log"
    line = eventually(
        lambda: next(
            (item for item in map(json.loads, path.read_bytes().splitlines()) if item["status"] == 421), None
        )
    )
    assert (line["outcome"], line["route"]) == ("host", None)
    assert b"evil" not in path.read_bytes()


def test_a_callers_trace_reaches_the_log_and_the_collector(observed: tuple[Server, Collector]) -> None:
    server, collector = observed
    call(server, "traced-1", "POST", "/models/rates/predict", ROWS, traceparent=f"00-{TRACE}-{SPAN}-01")
    assert line_of(server, "traced-1")["trace_id"] == TRACE

    def mine() -> dict[str, tuple[str, Span]] | None:
        found = {
            span.name: (service, span) for service, span in collector.spans() if span.trace_id.hex() == TRACE
        }
        return found if len(found) == 3 else None

    found = eventually(mine)
    service, request = found["POST /models/{name}/predict"]
    assert service == "box-under-test"
    assert request.parent_span_id.hex() == SPAN
    assert found["batch"][1].parent_span_id == request.span_id
    assert found["model"][1].parent_span_id == found["batch"][1].span_id
    assert request.start_time_unix_nano <= found["model"][1].start_time_unix_nano
    assert found["model"][1].end_time_unix_nano <= request.end_time_unix_nano
    assert abs(request.end_time_unix_nano / 1e9 - time.time()) < 3600
    assert {path for path, _ in collector.requests} == {"/v1/traces"}


def test_a_grpc_call_leaves_a_line_and_spans_like_any_request(observed: tuple[Server, Collector]) -> None:
    server, collector = observed
    trace = "ab" * 16
    metadata = (("x-request-id", "grpc-1"), ("traceparent", f"00-{trace}-{SPAN}-01"))
    infer = pb.ModelInferRequest(
        model_name="rates",
        inputs=[
            pb.ModelInferRequest.InferInputTensor(
                name=name,
                datatype="FP64",
                shape=[2],
                contents=pb.InferTensorContents(fp64_contents=[1.0, 2.0]),
            )
            for name in ("a", "b")
        ],
    )
    with grpc.insecure_channel(f"127.0.0.1:{server.address.grpc_port}") as channel:
        answer = GRPCInferenceServiceStub(channel).ModelInfer(infer, metadata=metadata, timeout=30)
    assert answer.model_name == "rates"
    line = line_of(server, "grpc-1")
    told = ("protocol", "method", "status", "outcome", "model", "version", "rows", "trace_id", "client")
    assert tuple(line[key] for key in told) == (
        "grpc",
        "ModelInfer",
        0,
        "ok",
        "rates",
        1,
        2,
        trace,
        "127.0.0.1",
    )

    def mine() -> dict[str, Span] | None:
        found = {span.name: span for _, span in collector.spans() if span.trace_id.hex() == trace}
        return found if len(found) == 3 else None

    assert eventually(mine)["inference.GRPCInferenceService/ModelInfer"].parent_span_id.hex() == SPAN


def test_an_invalid_parent_is_ignored_and_a_new_trace_begins(observed: tuple[Server, Collector]) -> None:
    server, _ = observed
    for number, wrong in enumerate(("00-" + "0" * 32 + f"-{SPAN}-01", "garbage", f"ff-{TRACE}-{SPAN}-01")):
        call(server, f"wrong-{number}", "GET", "/livez", traceparent=wrong)
        trace_id = line_of(server, f"wrong-{number}")["trace_id"]
        assert len(trace_id) == 32
        assert trace_id not in (TRACE, "0" * 32)


def test_nothing_was_dropped_and_the_page_says_so(observed: tuple[Server, Collector]) -> None:
    assert "mlops_box_observations_dropped_total 0.0" in observed[0].call("GET", "/metrics")[2]


def test_who_asks_for_openmetrics_gets_it(observed: tuple[Server, Collector]) -> None:
    accept = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}
    _, headers, page = observed[0].call("GET", "/metrics", headers=accept)
    assert headers["content-type"].startswith("application/openmetrics-text")
    assert "mlops_box_requests" in {family.name for family in parse_openmetrics(page)}


def test_a_collector_that_is_gone_costs_no_request_and_the_server_still_stops(tmp_path: Path) -> None:
    with Box.open(tmp_path / "home", actor="tester") as box:
        register_projects(box)
        register_rate(box)
    gone = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    with running(tmp_path / "home", environ=gone) as server:
        for _ in range(20):
            assert server.predict("rates", {"a": 1, "b": 2})[0] == 200
        assert server.stop() == 0
    assert not (tmp_path / "home" / "logs" / "access.log").exists()


def test_every_query_of_dashboard_and_alerts_finds_its_metric_and_labels_on_a_live_page(
    observed: tuple[Server, Collector],
) -> None:
    server, _ = observed
    _, _, body = server.predict("rates", {"a": 1, "b": 2})
    server.call("POST", "/models/rates/feedback", {"truth": [{"id": body["ids"][0], "value": 3.0}]})
    server.predict("rates", {"a": -1, "b": 2})
    live: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(server.call("GET", "/metrics")[2]):
        for sample in family.samples:
            live.setdefault(sample.name, set()).update(sample.labels)
    # One server without a rollout drops nothing; its labels are those of the table, which a test of the page holds.
    live.setdefault("mlops_box_shadow_dropped_total", {"model"})
    queries = [target for panel in dashboard_json()["panels"] for target in panel.get("targets", [])]
    queries += alert_rules()["groups"][0]["rules"]
    for query in queries:
        selectors = re.findall(r"(mlops_box_\w+)(?:\{([^}]*)\})?", query["expr"])
        grouped = {
            name for names in re.findall(r"by \(([^)]*)\)", query["expr"]) for name in names.split(", ")
        }
        assert selectors
        for name, matchers in selectors:
            labels = live[name] | {"instance"}
            assert set(re.findall(r"(\w+)(?:=~|!~|!=|=)", matchers)) <= labels, query
            assert grouped <= labels, query
        told = set(re.findall(r"\{\{(\w+)\}\}", query.get("legendFormat", "")))
        assert told <= grouped, query
