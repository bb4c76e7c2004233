"""What the dashboard shows: rows of panels, each with its PromQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlops_box.serving import metric_table as table
from mlops_box.serving.metric_table import Metric

# Requests that got predictions, and those whose caller has to mend something; every other outcome is our fault.
ANSWERED = ("ok", "not_finite")
CALLERS_FAULT = (
    "contract",
    "usage",
    "refused",
    "malformed",
    "not_found",
    "feedback_contract",
    "feedback_usage",
)
NOT_OUR_FAULT = "|".join((*ANSWERED, *CALLERS_FAULT))

SERVER = 'instance=~"$instance"'
MODEL = f'{SERVER},model=~"$model"'
# Copies for a shadow version answer nobody: they count among the variants only.
TO_CALLERS = 'variant!="shadow"'
ANSWERS = f"{MODEL},{TO_CALLERS}"
RATE = "$__rate_interval"


@dataclass(frozen=True)
class Query:
    """``legend``: Grafana's template of a line's name."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """One chart, or one number.

    Attributes:
        unit: Grafana's id of the unit.
        width: In the grid's 24 columns.
        alarm: From this value on it is red; ``None``: it never is.
    """

    title: str
    about: str
    unit: str
    queries: tuple[Query, ...]
    kind: Literal["timeseries", "stat"] = "timeseries"
    width: int = 8
    alarm: float | None = None


@dataclass(frozen=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


def usual(metric: Metric) -> str:
    """Of the chosen servers and models; of variants, those that answer callers."""
    if "variant" in metric.labels:
        return ANSWERS
    return MODEL if "model" in metric.labels else SERVER


def select(sample: str, where: str) -> str:
    """The series of a name that match."""
    return f"{sample}{{{where}}}" if where else sample


def rate(metric: Metric, by: str = "", where: str | None = None, window: str = RATE) -> str:
    """Increase a second of a counter, added up by labels."""
    return _sum(f"rate({select(metric.sample, usual(metric) if where is None else where)}[{window}])", by)


def quantile(share: float, metric: Metric, by: str = "", where: str | None = None, window: str = RATE) -> str:
    """A quantile of a histogram, by labels."""
    labels = ", ".join(part for part in ("le", by) if part)
    where = usual(metric) if where is None else where
    return f"histogram_quantile({share:g}, sum by ({labels}) (rate({select(f'{metric.name}_bucket', where)}[{window}])))"


def mean(metric: Metric, by: str = "", where: str | None = None, window: str = RATE) -> str:
    """The mean of what a histogram observed, by labels."""
    where = usual(metric) if where is None else where
    parts = (f"rate({select(f'{metric.name}_{part}', where)}[{window}])" for part in ("sum", "count"))
    return " / ".join(_sum(part, by) for part in parts)


def share(metric: Metric, outcome: str, by: str = "", where: str | None = None, window: str = RATE) -> str:
    """The share of requests whose outcome matches ``outcome`` (a PromQL matcher); 0 where there are none."""
    where = usual(metric) if where is None else where
    matchers = ",".join(part for part in (where, outcome) if part)
    some, all_ = rate(metric, by, matchers, window), rate(metric, by, where, window)
    # A series that is not there yet counts as none, not as unknown.
    return f"({some} or 0 * {all_}) / {all_}"


def gauge(metric: Metric, by: str = "") -> str:
    return _sum(select(metric.sample, usual(metric)), by)


def _sum(expr: str, by: str) -> str:
    return f"sum by ({by}) ({expr})" if by else f"sum({expr})"


_OUR_FAULT = f'outcome!~"{NOT_OUR_FAULT}"'
_VARIANT = "model, version, variant"
_VARIANT_LEGEND = "{{model}}@{{version}} {{variant}}"
_VERSION_LEGEND = "{{model}}@{{version}}"


def _one(expr: str, legend: str) -> tuple[Query, ...]:
    return (Query(expr, legend),)


ROWS: tuple[Row, ...] = (
    Row("Now", (
        Panel("Ready", "Every champion is warm and the prediction log can be written.", "bool_yes_no",
              _one(f"min({table.READY.sample}{{{SERVER}}})", "ready"), "stat", 4),
        Panel("Requests", "Predictions and feedback a second.", "reqps", _one(rate(table.REQUESTS), "requests"), "stat", 4),
        Panel("Failed", "Share of requests that failed by our fault: neither answered nor the caller's mistake.",
              "percentunit", _one(share(table.REQUESTS, _OUR_FAULT), "failed"), "stat", 4, alarm=0.01),
        Panel("p99", "Latency that 99 of 100 answered requests stay below.", "s",
              _one(quantile(0.99, table.REQUEST_SECONDS), "p99"), "stat", 4),
        Panel("Workers", "Server processes that answer.", "short", _one(gauge(table.WORKERS), "workers"), "stat", 4),
        Panel("Memory", "Resident memory of all of them.", "bytes", _one(gauge(table.MEMORY), "memory"), "stat", 4),
    )),
    Row("Traffic", (
        Panel("Requests", "By model and version.", "reqps", _one(rate(table.REQUESTS, "model, version"), _VERSION_LEGEND)),
        Panel("Rows", "Rows predicted a second.", "rowsps", _one(rate(table.ROWS_PREDICTED, "model, version"), _VERSION_LEGEND)),
        Panel("Ground truth", "Truths received a second.", "cps", _one(rate(table.TRUTHS, "model"), "{{model}}")),
    )),
    Row("Latency", (
        Panel("p50", "From a request's arrival to its logged answer.", "s",
              _one(quantile(0.5, table.REQUEST_SECONDS, "model, version"), _VERSION_LEGEND)),
        Panel("p99", "From a request's arrival to its logged answer.", "s",
              _one(quantile(0.99, table.REQUEST_SECONDS, "model, version"), _VERSION_LEGEND)),
        Panel("Model call", "Mean of one call of the model, for all rows of a batch.", "s",
              _one(mean(table.MODEL_SECONDS, "model, version"), _VERSION_LEGEND)),
    )),
    Row("Errors", (
        Panel("Failed by our fault", "Share of a model's requests; shed requests count.", "percentunit",
              _one(share(table.REQUESTS, _OUR_FAULT, "model"), "{{model}}")),
        Panel("By outcome", "Requests to a model that were not simply answered.", "reqps",
              _one(rate(table.REQUESTS, "model, outcome", f'{ANSWERS},outcome!="ok"'), "{{model}} {{outcome}}")),
        Panel("Refused", "All answers that are errors, by code: also of callers who named no model.", "reqps",
              _one(rate(table.REFUSED, "code"), "{{code}}")),
    )),
    Row("Batches and queue", (
        Panel("Rows in a batch", "Mean, and the size that 99 of 100 batches stay below.", "short", (
            Query(mean(table.BATCH_ROWS, "model, version"), f"{_VERSION_LEGEND} mean"),
            Query(quantile(0.99, table.BATCH_ROWS, "model, version"), f"{_VERSION_LEGEND} p99"),
        )),
        Panel("Waiting rows", "Rows in the queue when the page was asked for.", "short",
              _one(gauge(table.QUEUED_ROWS, "model"), "{{model}}")),
        Panel("Shed", "Requests refused because too many rows waited.", "reqps",
              _one(rate(table.REQUESTS, "model", f'{ANSWERS},outcome="overloaded"'), "{{model}}")),
    )),
    Row("Rollout: variants side by side", (
        Panel("Requests by variant", "champion, canary, shadow (copies of requests), direct (asked for by number).", "reqps",
              _one(rate(table.REQUESTS, _VARIANT, MODEL), _VARIANT_LEGEND), width=6),
        Panel("p50 and p99 by variant", "From a request's arrival to its logged answer.", "s", (
            Query(quantile(0.5, table.REQUEST_SECONDS, _VARIANT, MODEL), f"{_VARIANT_LEGEND} p50"),
            Query(quantile(0.99, table.REQUEST_SECONDS, _VARIANT, MODEL), f"{_VARIANT_LEGEND} p99"),
        ), width=6),
        Panel("Failed by variant", "Share of requests that failed by our fault or were answered by no number.", "percentunit",
              _one(share(table.REQUESTS, f'outcome!~"{NOT_OUR_FAULT.replace("not_finite|", "")}"', _VARIANT, MODEL), _VARIANT_LEGEND), width=6),
        Panel("Shadow dropped", "Requests not copied to the shadow version.", "reqps",
              _one(rate(table.SHADOW_DROPPED, "model"), "{{model}}"), width=6),
    )),
    Row("Versions", (
        Panel("Serving version", "The number of the version that answers.", "short",
              _one(f"max by (model) ({table.SERVING_VERSION.sample}{{{MODEL}}})", "{{model}}")),
        Panel("Swaps", "New champions in the last hour, by outcome: ok, or why one was refused.", "short",
              _one(f"sum by (model, outcome) (increase({table.SWAPS.sample}{{{MODEL}}}[1h]))", "{{model}} {{outcome}}")),
        Panel("Swap duration", "Loading, proving and putting in place.", "s", _one(mean(table.SWAP_SECONDS, "model", window="1h"), "{{model}}")),
    )),
    Row("Prediction log and memory", (
        Panel("Log failed", "1 while the prediction log cannot be written.", "short",
              _one(f"max({table.LOG_FAILED.sample}{{{SERVER}}})", "failed"), width=6, alarm=1),
        Panel("Unlogged", "Requests answered without a record (log = best-effort), and requests that the access log and the traces miss.",
              "reqps", (
            Query(rate(table.UNLOGGED), "unlogged"),
            Query(rate(table.OBSERVATIONS_DROPPED), "not in access log or traces"),
        ), width=6),
        Panel("Memory", "Resident memory of the server's processes.", "bytes", _one(gauge(table.MEMORY, "instance"), "{{instance}}"), width=6),
        Panel("Versions in memory", "Champions, their predecessors, and those asked for by number.", "short",
              _one(gauge(table.LOADED_SLOTS, "instance"), "{{instance}}"), width=6),
    )),
)  # fmt: skip
