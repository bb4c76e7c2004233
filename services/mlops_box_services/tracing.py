"""OpenTelemetry traces of requests: extra ``mlops-box[otel]``, on only when the user names a collector.

Everything is configured by OpenTelemetry's own variables: ``OTEL_EXPORTER_OTLP_ENDPOINT`` (or ``..._TRACES_ENDPOINT``)
switches it on, ``OTEL_SERVICE_NAME``, ``OTEL_TRACES_SAMPLER``, ``OTEL_EXPORTER_OTLP_HEADERS`` and the others mean what
they mean everywhere. The provider is ours alone: BentoML's instrumentation stays without an exporter.

A request's span has a child ``batch``, from when its rows joined the batcher until they were answered, and that a child
``model``: the call that answered all of the batch. Names of attributes: OpenTelemetry's semantic conventions for HTTP
and RPC servers; what they do not know begins with ``mlops_box.``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlops_box import __version__
from mlops_box.serving.trace_context import TraceParent
from mlops_box_services.observing import Observed

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider

log = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_NAMES = ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES")
_CLOSE_S = 3.0
Attributes = dict[str, str | int]


class SpanTracer:
    """Makes the spans of requests after the fact, in the thread of the observers."""

    def __init__(self, provider: TracerProvider):
        self._provider = provider
        self._tracer = provider.get_tracer("mlops_box", __version__)

    def record(self, request: Observed, parent: TraceParent | None, epoch_s: float) -> str | None:
        """The request's spans; returns the id of their trace."""
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        def nanoseconds(at_s: float) -> int:
            return int((epoch_s + at_s) * 1e9)

        span = self._tracer.start_span(
            _name(request),
            context=_context(parent),
            kind=SpanKind.SERVER,
            attributes=_attributes(request),
            start_time=nanoseconds(request.started_s),
        )
        if _is_our_fault(request):
            span.set_status(Status(StatusCode.ERROR))
        call = request.call
        if call is not None and request.joined_s is not None and span.is_recording():
            size: Attributes = {"mlops_box.batch.rows": call.rows, "mlops_box.batch.requests": call.requests}
            batch = self._tracer.start_span(
                "batch",
                context=set_span_in_context(span),
                attributes=size,
                start_time=nanoseconds(request.joined_s),
            )
            model = self._tracer.start_span(
                "model",
                context=set_span_in_context(batch),
                attributes=size,
                start_time=nanoseconds(call.started_s),
            )
            model.end(nanoseconds(call.ended_s))
            batch.end(nanoseconds(call.ended_s))
        span.end(nanoseconds(request.ended_s))
        return f"{span.get_span_context().trace_id:032x}"

    def close(self) -> None:
        """Send what is left; a collector that does not answer is not waited for."""
        closing = threading.Thread(target=self._provider.shutdown, name="otel-close", daemon=True)
        closing.start()
        closing.join(_CLOSE_S)


def open_tracer(environ: Mapping[str, str]) -> SpanTracer | None:
    """The tracer that ``environ`` asks for; ``None``, and no package loaded, when it asks for none."""
    if not asks_for_traces(environ):
        return None
    protocol = next((environ[name] for name in _PROTOCOLS if environ.get(name)), "http/protobuf")
    if protocol != "http/protobuf":
        log.error("no traces are sent: the OTLP protocol %r is not supported, use http/protobuf", protocol)
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        log.error(
            "no traces are sent: %s names a collector, but %s is missing; pip install 'mlops-box[otel]'",
            next(name for name in _ENDPOINTS if environ.get(name)),
            error.name,
        )
        return None
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = make_provider(environ)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return SpanTracer(provider)


def make_provider(environ: Mapping[str, str]) -> TracerProvider:
    """A provider that is not the process's global one; its service is ``mlops-box`` unless it is named."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    named = any(
        "service.name=" in environ.get(name, "") or (name == _NAMES[0] and environ.get(name))
        for name in _NAMES
    )
    own: dict[str, Any] = {"service.version": __version__}
    if not named:
        own["service.name"] = "mlops-box"
    return TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)


def asks_for_traces(environ: Mapping[str, str]) -> bool:
    """Whether an endpoint is set and nothing switches traces off again."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() != "otlp":
        return False
    return any(environ.get(name, "").strip() for name in _ENDPOINTS)


def _context(parent: TraceParent | None) -> Context:
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState, set_span_in_context

    if parent is None:
        return Context()
    remote = SpanContext(
        int(parent.trace_id, 16),
        int(parent.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT),
        trace_state=TraceState.from_header([parent.state]) if parent.state else TraceState(),
    )
    return set_span_in_context(NonRecordingSpan(remote), Context())


def _name(request: Observed) -> str:
    if request.protocol == "grpc":
        return request.route or request.method
    return f"{request.method} {request.route}" if request.route else request.method


def _attributes(request: Observed) -> Attributes:
    found: dict[str, str | int | None] = {
        "mlops_box.request_id": request.request_id.decode("latin-1"),
        "mlops_box.outcome": request.outcome,
        "mlops_box.model": request.model,
        "mlops_box.version": request.version,
        "mlops_box.variant": request.variant,
        "mlops_box.rows": request.rows,
        "client.address": request.client,
        "error.type": request.outcome if _is_our_fault(request) else None,
    }
    if request.protocol == "grpc":
        found |= {
            "rpc.system.name": "grpc",
            "rpc.method": request.method,
            "rpc.response.status_code": str(request.status),
        }
    else:
        found |= {
            "url.scheme": "http",
            "http.request.method": request.method,
            "http.route": request.route,
            "http.response.status_code": request.status,
            "http.request.body.size": request.bytes_in,
            "http.response.body.size": request.bytes_out,
        }
    return {name: value for name, value in found.items() if value is not None}


def _is_our_fault(request: Observed) -> bool:
    """By the conventions a server's span is an error for these only: HTTP 5xx; gRPC UNKNOWN, DEADLINE_EXCEEDED,
    UNIMPLEMENTED, INTERNAL, UNAVAILABLE and DATA_LOSS."""
    if request.protocol == "grpc":
        return request.status in (2, 4, 12, 13, 14, 15)
    return request.status >= 500
