"""Every metric of the server, declared once: the page, the sum over workers, the docs and the dashboard read this table.

Labels take their values from what is loaded and from the code, never from a request: a model that does not exist makes
no series. A label ``outcome`` is ``ok``, ``not_finite`` or the ``code`` of an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
# How one number comes of several workers': added up, or the smallest or largest of them.
Fold = Literal["sum", "min", "max"]

SECONDS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0)
AGE_SECONDS = (1.0, 10.0, 60.0, 600.0, 3600.0, 21_600.0, 86_400.0, 604_800.0, 2_592_000.0)
LOAD_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: Without the ``_total`` that a counter has on the page.
        buckets: Upper bounds of a histogram, ascending, without infinity.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()
    fold: Fold = "sum"

    @property
    def sample(self) -> str:
        """The name of its samples; a histogram's end in ``_bucket``, ``_sum`` and ``_count`` besides."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


_VERSION = ("model", "version")
_VARIANT = ("model", "version", "variant")

REQUESTS = Metric(
    "mlops_box_requests", "counter", (*_VARIANT, "outcome"),
    "Prediction and feedback requests to a model; outcome overloaded: shed because too many rows waited; variant shadow: copies that answer nobody.",
)  # fmt: skip
ROWS_PREDICTED = Metric("mlops_box_rows", "counter", _VARIANT, "Rows predicted.")
REQUEST_SECONDS = Metric(
    "mlops_box_request_seconds", "histogram", _VARIANT,
    "From a request's arrival to its logged answer; requests that got predictions.", SECONDS,
)  # fmt: skip
BATCH_ROWS = Metric("mlops_box_batch_rows", "histogram", _VERSION, "Rows in one call of the model.", ROWS)
MODEL_SECONDS = Metric(
    "mlops_box_model_seconds", "histogram", _VERSION,
    "One call of the model: encoding, computing, reading its answers.", SECONDS,
)  # fmt: skip
REFUSED = Metric(
    "mlops_box_refused_requests", "counter", ("code",), "Requests answered with an error, by its code."
)
TRUTHS = Metric("mlops_box_truths", "counter", ("model",), "Ground truths received.")
UNLOGGED = Metric(
    "mlops_box_unlogged_requests", "counter", (), "Answered without a log record (log = best-effort)."
)
SHADOW_DROPPED = Metric(
    "mlops_box_shadow_dropped",
    "counter",
    ("model",),
    "Requests not copied to the shadow version: it was too slow.",
)
SWAPS = Metric(
    "mlops_box_swaps",
    "counter",
    ("model", "outcome"),
    "Champions loaded, by each server process: ok, or refused and the one before goes on.",
)
SWAP_SECONDS = Metric(
    "mlops_box_swap_seconds", "histogram", ("model",), "Loading, proving and putting a new champion in place.", LOAD_SECONDS,
)  # fmt: skip
FEATURE_LOOKUPS = Metric(
    "mlops_box_feature_lookups", "counter", ("view", "outcome"),
    "Rows whose features were looked up: found, missing (no observation), or expired (too old for every feature).",
)  # fmt: skip
FEATURE_AGE = Metric(
    "mlops_box_feature_age_seconds",
    "histogram",
    ("view",),
    "Age of the observation at the row's moment.",
    AGE_SECONDS,
)
EVENTS_PUSHED = Metric(
    "mlops_box_feature_events", "counter", ("source",), "Events that were pushed and stored."
)
PUSH_SECONDS = Metric(
    "mlops_box_feature_push_seconds", "histogram", (), "From a push's arrival until it is on the disk and visible.", LOAD_SECONDS,
)  # fmt: skip
OBSERVATIONS_DROPPED = Metric(
    "mlops_box_observations_dropped", "counter", (), "Requests missing in the access log and the traces: their queue was full.",
)  # fmt: skip
SERVING_VERSION = Metric(
    "mlops_box_serving_version", "gauge", ("model",), "The version that answers; the oldest where workers differ.",
    fold="min",
)  # fmt: skip
QUEUED_ROWS = Metric("mlops_box_queued_rows", "gauge", ("model",), "Rows that wait for their batch.")
LOADED_SLOTS = Metric("mlops_box_loaded_slots", "gauge", (), "Model versions in memory.")
READY = Metric(
    "mlops_box_ready", "gauge", (), "1 when every champion is warm and the log can be written.", fold="min"
)
LOG_FAILED = Metric(
    "mlops_box_log_failed", "gauge", (), "1 while the prediction log cannot be written.", fold="max"
)
MEMORY = Metric("mlops_box_memory_bytes", "gauge", (), "Resident memory of the server's processes.")
WORKERS = Metric("mlops_box_workers", "gauge", (), "Server processes that answer.")
WORKER_UP = Metric(
    "mlops_box_worker_up", "gauge", ("worker",), "0: the worker's numbers are those of when it last answered."
)
WORKER_CONNECTIONS = Metric("mlops_box_worker_connections", "gauge", ("worker",), "Open connections.")
WORKER_DEMAND = Metric(
    "mlops_box_worker_demand", "gauge", ("worker",), "Processors that the worker uses or waits for."
)
WORKER_RESTARTS = Metric("mlops_box_worker_restarts", "counter", (), "Workers that died and were replaced.")

TABLE: tuple[Metric, ...] = (
    REQUESTS, ROWS_PREDICTED, REQUEST_SECONDS, BATCH_ROWS, MODEL_SECONDS, QUEUED_ROWS, REFUSED, TRUTHS, UNLOGGED,
    LOG_FAILED, SHADOW_DROPPED, SWAPS, SWAP_SECONDS, SERVING_VERSION, LOADED_SLOTS, READY, MEMORY, WORKERS,
    FEATURE_LOOKUPS, FEATURE_AGE, EVENTS_PUSHED, PUSH_SECONDS, OBSERVATIONS_DROPPED, WORKER_UP, WORKER_CONNECTIONS, WORKER_DEMAND, WORKER_RESTARTS,
)  # fmt: skip
BY_NAME = {metric.name: metric for metric in TABLE}
