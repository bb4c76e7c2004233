"""The server's numbers: what the page says, that workers add up, and that nothing grows without bound."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlops_box_services.metrics_page import metrics_page
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from mlops_box.errors import IntegrityError
from mlops_box.serving import metric_table as table
from mlops_box.serving.memory import resident_bytes
from mlops_box.serving.metrics import FORGET_AFTER_S, MAX_VERSIONS, Metrics
from mlops_box.serving.metrics_snapshot import Histogram, MetricsSnapshot


def samples(snapshot: MetricsSnapshot) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    page, _ = metrics_page(snapshot, "")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse_text(page.decode())
        for sample in family.samples
    }


def busy() -> Metrics:
    metrics = Metrics()
    metrics.answered("rates", "2", "ok", 3, 0.002)
    metrics.answered("rates", "2", "ok", 1, 0.03, "canary")
    metrics.failed("rates", "2", "contract")
    metrics.called("rates", "2", 4, 0.0004)
    metrics.refused("contract")
    metrics.truths("rates", 2)
    metrics.shadow_dropped("rates")
    metrics.swapped("rates", "ok", 0.2)
    metrics.swapped("rates", "integrity", 0.1)
    metrics.unlogged += 1
    return metrics


def test_the_page_counts_by_model_version_variant_and_outcome() -> None:
    found = samples(busy().snapshot())
    labels = (("model", "rates"), ("variant", "canary"), ("version", "2"))
    assert found["mlops_box_rows_total", labels] == 1
    assert found["mlops_box_request_seconds_count", labels] == 1
    assert found["mlops_box_request_seconds_bucket", (("le", "0.025"), *labels)] == 0
    assert found["mlops_box_request_seconds_bucket", (("le", "0.05"), *labels)] == 1
    by_outcome = (("model", "rates"), ("outcome", "contract"), ("variant", "champion"), ("version", "2"))
    assert found["mlops_box_requests_total", by_outcome] == 1
    assert found["mlops_box_batch_rows_sum", (("model", "rates"), ("version", "2"))] == 4
    assert found["mlops_box_swaps_total", (("model", "rates"), ("outcome", "integrity"))] == 1
    assert found["mlops_box_swap_seconds_count", (("model", "rates"),)] == 1
    assert found["mlops_box_unlogged_requests_total", ()] == 1


@pytest.mark.parametrize(
    ("accept", "content_type", "parse"),
    [
        ("", "text/plain; version=0.0.4", parse_text),
        ("*/*", "text/plain; version=0.0.4", parse_text),
        (
            "application/openmetrics-text;version=1.0.0,*/*;q=0.1",
            "application/openmetrics-text",
            parse_openmetrics,
        ),
    ],
)
def test_a_scraper_gets_the_format_it_asks_for_with_help_and_type_of_every_metric(
    accept: str, content_type: str, parse: Any
) -> None:
    page, found_type = metrics_page(busy().snapshot(), accept)
    assert found_type.decode().startswith(content_type)
    families = {family.name: family for family in parse(page.decode())}
    for metric in table.TABLE:
        family = families[metric.name]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels)


def test_strings_of_strangers_cannot_break_the_page() -> None:
    metrics = Metrics()
    metrics.failed('a"}\nmlops_box_ready 1\n# ', "1\\", "ok")
    found = samples(metrics.snapshot())
    assert (
        found[
            "mlops_box_requests_total",
            (
                ("model", 'a"}\nmlops_box_ready 1\n# '),
                ("outcome", "ok"),
                ("variant", "champion"),
                ("version", "1\\"),
            ),
        ]
        == 1
    )
    assert ("mlops_box_ready", ()) not in found


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["answered", "failed", "called", "refused", "swapped"]),
        st.sampled_from(["a", "b"]),
        st.integers(1, 40),
        st.integers(0, 4000),
    ),
    max_size=30,
)


def counted(events: list[tuple[str, str, int, int]], metrics: Metrics) -> Metrics:
    for kind, model, rows, ms in events:
        # Halves of a power of two, so that sums do not depend on their order.
        seconds = ms / 1024
        if kind == "answered":
            metrics.answered(model, "1", "ok", rows, seconds)
        elif kind == "failed":
            metrics.failed(model, "1", "contract")
        elif kind == "called":
            metrics.called(model, "1", rows, seconds)
        elif kind == "refused":
            metrics.refused("contract")
        else:
            metrics.swapped(model, "ok", seconds)
    return metrics


@given(EVENTS, EVENTS)
def test_workers_add_up_to_what_one_server_would_have_counted(
    first: list[tuple[str, str, int, int]], second: list[tuple[str, str, int, int]]
) -> None:
    one, other = counted(first, Metrics()).snapshot(), counted(second, Metrics()).snapshot()
    together = counted(second, counted(first, Metrics())).snapshot()
    assert one.merge(other) == together
    assert other.merge(one) == together
    assert MetricsSnapshot.from_json(one.to_json()).merge(other) == together


def test_gauges_of_workers_add_up_or_the_worst_of_them_counts() -> None:
    def worker(version: float, ready: float, failed: float) -> MetricsSnapshot:
        return MetricsSnapshot(
            {
                table.SERVING_VERSION.name: {("rates",): version},
                table.READY.name: {(): ready},
                table.LOG_FAILED.name: {(): failed},
                table.WORKERS.name: {(): 1.0},
                table.QUEUED_ROWS.name: {("rates",): 3.0},
            }
        )

    both = worker(7.0, 1.0, 0.0).merge(worker(8.0, 0.0, 1.0))
    assert both == worker(8.0, 0.0, 1.0).merge(worker(7.0, 1.0, 0.0))
    assert {name: list(series.values()) for name, series in both.values.items()} == {
        "mlops_box_serving_version": [7.0],
        "mlops_box_ready": [0.0],
        "mlops_box_log_failed": [1.0],
        "mlops_box_workers": [2.0],
        "mlops_box_queued_rows": [6.0],
    }


def test_what_a_worker_counted_stays_when_it_has_gone() -> None:
    gone = busy().snapshot(gauges={table.WORKERS.name: {(): 1.0}}).counted()
    assert table.WORKERS.name not in gone.values
    assert gone.values[table.REQUESTS.name]


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b'{"nothing": []}', b'{"mlops_box_rows": [["a", 1]]}', b'{"mlops_box_swap_seconds": [["a", 1]]}',
     b'{"mlops_box_swap_seconds": [["a", [[1], 2]]]}', b'{"mlops_box_rows": [[1, 2, 3, 4]]}'],
)  # fmt: skip
def test_what_is_no_snapshot_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="metrics of a worker"):
        MetricsSnapshot.from_json(data)


def test_a_histogram_counts_a_value_on_its_bound_within_it() -> None:
    metrics = Metrics()
    metrics.called("a", "1", 64, 0.001)
    value = metrics.snapshot().values[table.BATCH_ROWS.name]["a", "1"]
    assert isinstance(value, Histogram)
    assert dict(value.cumulative(table.ROWS))["64.0"] == 1
    assert dict(value.cumulative(table.ROWS))["32.0"] == 0


def test_the_series_of_a_version_go_some_time_after_it_left_the_memory() -> None:
    metrics = Metrics()
    for version in ("1", "2"):
        metrics.answered("rates", version, "ok", 1, 0.001)
        metrics.called("rates", version, 1, 0.001)
    assert (
        len(
            metrics.snapshot(loaded=[("rates", "1"), ("rates", "2")], now_s=0).values[
                table.ROWS_PREDICTED.name
            ]
        )
        == 2
    )
    late = metrics.snapshot(loaded=[("rates", "2")], now_s=FORGET_AFTER_S - 1)
    assert len(late.values[table.ROWS_PREDICTED.name]) == 2
    later = metrics.snapshot(loaded=[("rates", "2")], now_s=FORGET_AFTER_S + 1)
    assert list(later.values[table.ROWS_PREDICTED.name]) == [("rates", "2", "champion")]
    assert list(later.values[table.MODEL_SECONDS.name]) == [("rates", "2")]


def test_asking_for_many_versions_by_number_does_not_grow_the_page_without_bound() -> None:
    metrics = Metrics()
    for version in range(3 * MAX_VERSIONS):
        metrics.answered("rates", str(version), "ok", 1, 0.001, "direct")
        page = metrics.snapshot(loaded=[("rates", "0"), ("rates", str(version))], now_s=float(version))
    kept = {labels[1] for labels in page.values[table.ROWS_PREDICTED.name]}
    assert len(kept) == MAX_VERSIONS
    assert {"0", str(3 * MAX_VERSIONS - 1)} <= kept


def test_the_memory_of_the_process_is_told() -> None:
    assert resident_bytes() > 1_000_000
