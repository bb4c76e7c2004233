"""Traces: only when they are asked for, and then by the standard."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from mlops_box_services.observing import Observed, Observers
from mlops_box_services.tracing import SpanTracer, asks_for_traces, make_provider, open_tracer
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from mlops_box.clock import SystemClock
from mlops_box.serving.predictor import ModelCall

ROOT = Path(__file__).parents[2]
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
REQUEST = Observed(
    started_s=10.0, ended_s=10.02, protocol="http", method="POST", route="/models/{name}/predict", status=200,
    outcome="ok", request_id=b"order-17", headers=[], client="127.0.0.1", bytes_in=33, bytes_out=90, model="rates",
    version=2, variant="canary", rows=3, joined_s=10.002, call=ModelCall(10.005, 10.015, 8, 2),
)  # fmt: skip


def spans(request: Observed, *, environ: dict[str, str] | None = None) -> dict[str, ReadableSpan]:
    kept = InMemorySpanExporter()
    provider = make_provider(environ or {})
    provider.add_span_processor(SimpleSpanProcessor(kept))
    observers = Observers(SystemClock(), tracer=SpanTracer(provider))
    observers.tell(request)
    observers.close()
    return {span.name: span for span in kept.get_finished_spans()}


def test_a_request_has_spans_for_itself_its_batch_and_the_model() -> None:
    found = spans(REQUEST)
    request, batch, model = found["POST /models/{name}/predict"], found["batch"], found["model"]
    assert request.parent is None
    assert batch.parent is not None
    assert model.parent is not None
    assert batch.parent.span_id == request.context.span_id
    assert model.parent.span_id == batch.context.span_id
    assert request.kind is SpanKind.SERVER
    assert request.status.status_code is StatusCode.UNSET
    assert dict(request.attributes or {}) == {
        "mlops_box.request_id": "order-17", "mlops_box.outcome": "ok", "mlops_box.model": "rates",
        "mlops_box.version": 2, "mlops_box.variant": "canary", "mlops_box.rows": 3, "client.address": "127.0.0.1",
        "url.scheme": "http", "http.request.method": "POST", "http.route": "/models/{name}/predict",
        "http.response.status_code": 200, "http.request.body.size": 33, "http.response.body.size": 90,
    }  # fmt: skip
    assert dict(model.attributes or {}) == {"mlops_box.batch.rows": 8, "mlops_box.batch.requests": 2}
    took = {name: ((span.end_time or 0) - (span.start_time or 0)) / 1e6 for name, span in found.items()}
    assert {name: round(value, 2) for name, value in took.items()} == {
        request.name: 20.0,
        "batch": 13.0,
        "model": 10.0,
    }
    assert request.resource.attributes["service.name"] == "mlops-box"


def test_a_callers_span_becomes_the_parent_and_its_sampling_counts() -> None:
    sent = REQUEST._replace(
        headers=[(b"traceparent", f"00-{TRACE}-{SPAN}-01".encode()), (b"tracestate", b"a=1")]
    )
    request = spans(sent)["POST /models/{name}/predict"]
    assert request.parent is not None
    assert f"{request.context.trace_id:032x}" == TRACE
    assert f"{request.parent.span_id:016x}" == SPAN
    assert request.parent.is_remote
    assert request.context.trace_state.get("a") == "1"
    unsampled = REQUEST._replace(headers=[(b"traceparent", f"00-{TRACE}-{SPAN}-00".encode())])
    assert spans(unsampled) == {}


@pytest.mark.parametrize(
    ("request_", "is_error"),
    [
        (REQUEST._replace(status=422, outcome="contract", call=None), False),
        (REQUEST._replace(status=503, outcome="storage", call=None), True),
        (
            REQUEST._replace(protocol="grpc", method="ModelInfer", route="/inference/ModelInfer", status=3),
            False,
        ),
        (
            REQUEST._replace(protocol="grpc", method="ModelInfer", route="/inference/ModelInfer", status=13),
            True,
        ),
    ],
)
def test_only_what_is_our_fault_is_an_error(request_: Observed, is_error: bool) -> None:
    (span,) = [span for span in spans(request_).values() if span.kind is SpanKind.SERVER]
    assert (span.status.status_code is StatusCode.ERROR) == is_error


@pytest.mark.parametrize(
    ("environ", "asked"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://there/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_SERVICE_NAME": "mine"}, False),
    ],
)
def test_traces_are_on_only_when_a_collector_is_named(environ: dict[str, str], asked: bool) -> None:
    assert asks_for_traces(environ) == asked
    if not asked:
        assert open_tracer(environ) is None


def test_a_protocol_we_do_not_speak_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert open_tracer({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}) is None
    assert "use http/protobuf" in caplog.text


def test_a_missing_extra_is_said_and_the_server_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with caplog.at_level(logging.ERROR):
        assert open_tracer(ENDPOINT) is None
    assert "pip install 'mlops-box[otel]'" in caplog.text


def test_the_users_name_for_the_service_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in (
        ("OTEL_SERVICE_NAME", "mine"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=mine,a=b"),
    ):
        with monkeypatch.context() as patched:
            patched.setenv(variable, value)
            assert make_provider({variable: value}).resource.attributes["service.name"] == "mine"


QUIET = """
import os, socket, sys
for name in [name for name in os.environ if name.startswith("OTEL_")]:
    del os.environ[name]
seen = []
sys.addaudithook(lambda event, args: seen.append((event, args)) if event in ("socket.connect", "socket.sendto") else None)
from pathlib import Path
from mlops_box.home import Home
from mlops_box_services.runtime import Runtime
home = Home(Path(sys.argv[1])); home.create()
runtime = Runtime(home, access_log=True)
assert runtime.snapshot().values
runtime.close()
print(seen, [name for name in sys.modules if name.startswith("opentelemetry.exporter")])
"""


def test_without_a_collector_no_exporter_is_loaded_and_no_connection_is_made(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", QUIET, tmp_path / "home"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={"PATH": "", "PYTHONPATH": f"{ROOT}:{ROOT / 'services'}", "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[] []"
