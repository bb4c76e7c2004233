"""From sealed predictions to judged windows: which are due, what is in them, what that means."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from mlops_box.box import Box
from mlops_box.canonical import canonical_json
from mlops_box.models.values import ModelVersion
from mlops_box.monitoring.values import EstimateFinding, Finding, QualityFinding, Window
from mlops_box.monitoring.windows import EPOCH, window_start
from mlops_box.operations.monitor_data import judge_data
from mlops_box.operations.monitor_devices import read_unseen, reference_columns
from mlops_box.operations.monitor_reference import References
from mlops_box.project import Gates, Monitor, Project

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_box.monitoring.counts import WindowCounts
    from mlops_box.monitoring.device_windows import DeviceCounts
    from mlops_box.monitoring.sensors import ColumnShape

_SEGMENT_ID_LENGTH = 22


@dataclass(frozen=True)
class Watched:
    """A model to watch: its champion, and the declaration of its project where this box knows it."""

    champion: ModelVersion
    declaration: Project | None

    @property
    def model(self) -> str:
        return self.champion.model

    @property
    def project(self) -> str:
        return self.champion.project

    @property
    def monitor(self) -> Monitor:
        return self.declaration.monitor if self.declaration else Monitor.model_validate({})

    @property
    def metric(self) -> str:
        """The metric that decides on quality."""
        from mlops_box.evaluation.evaluate import leading_metric

        gates = self.declaration.gates if self.declaration else Gates.model_validate({})
        return leading_metric(gates, self.champion.task)


@dataclass(frozen=True)
class Measured:
    """One due window with what was counted in it.

    Attributes:
        table: All its predictions.
        logged: Those whose rows are logged (``[serve] log_sample``); only of these features can be judged.
        sample: A few thousand rows of them.
        missing: How many more are counted, by devices that could not keep their rows.
    """

    watched: Watched
    version: ModelVersion
    starts_at: datetime
    counts: WindowCounts
    profile_digest: str
    counts_digest: str
    table: pa.Table
    logged: pa.Table
    shapes: dict[str, ColumnShape]
    sample: pa.Table
    sample_digest: str
    missing: int = 0


@dataclass(frozen=True)
class Due:
    """All that is due for one model: its windows, and what is accounted for by them: sealed parts, and what devices counted."""

    measured: tuple[Measured, ...] = ()
    accounted: tuple[tuple[str, str, str], ...] = ()
    devices: tuple[DeviceCounts, ...] = ()


def measure(box: Box, watched: Watched, references: References) -> Due:
    """Count and profile every window that new predictions or new ground truth fall into.

    A window is due when a sealed part that is not accounted for has rows in it: late rows and late or corrected truth
    bring a window back, and so does what a device counted.
    """
    parts, devices = box.windows.due_parts(watched.model), tuple(box.windows.devices.due(watched.model))
    accounted = tuple((part["segment_id"], part["model"], part["kind"]) for part in parts)
    segments = [part["segment_id"] for part in parts if part["kind"] == "prediction"]
    # A device's rows do not tell by their ids in which segment they came.
    fresh_ids = _ids(
        box, [part["digest"] for part in parts if part["kind"] == "truth" or part["from_device"]]
    )
    named = sorted({*segments, *(id_[:_SEGMENT_ID_LENGTH] for id_ in fresh_ids)})
    ranges = box.windows.segment_ranges(watched.model, named) + [
        (item.window.falls_at, item.window.falls_at) for item in devices
    ]
    if not ranges:
        return Due(accounted=accounted)
    width = watched.monitor.window
    start = window_start(min(first for first, _ in ranges), width)
    end = window_start(max(last for _, last in ranges), width) + width
    table = box.predictions.predictions(watched.model, start=start, end=end)
    versions = cache(lambda number: box.models.get(f"{watched.model}@{number}"))
    unseen = read_unseen(box, watched.model, (start, end), width, references, versions, fresh_ids)
    counted = unseen.revised | {
        (item.window.number, window_start(item.window.falls_at, width)) for item in devices
    }
    measured = [
        _measure_one(
            box, watched, versions(number), starts_at, rows, references, unseen.of(number, starts_at)
        )
        for (number, starts_at), rows in _split(table, width, segments, fresh_ids, counted)
    ]
    return Due(tuple(measured), accounted, devices)


def judge_drift(measured: Measured, references: References) -> Finding:
    """The window against the reference of the version that answered."""
    from mlops_box.monitoring.values import unwatched

    detector = references.detector(measured.version, measured.watched.monitor)
    finding = detector.check_counts(
        measured.counts, starts_at=measured.starts_at, shapes=measured.shapes, rows=measured.sample
    )
    hidden = references.redacted(measured.version)
    kinds = {feature.name: feature.kind for feature in measured.version.signature.features}
    told = tuple(
        unwatched(name, kinds[name], "its values are not logged ([serve] redact)") for name in hidden
    )
    return replace(finding, features=finding.features + told) if finding.features else finding


def judge_quality(box: Box, measured: Measured) -> QualityFinding | None:
    """Realised quality; ``None`` where no ground truth has arrived."""
    import numpy as np

    from mlops_box.evaluation.metrics import class_index
    from mlops_box.monitoring.quality import Answers, assess_quality

    version, table = measured.version, _with_truth(box, measured)
    if table.num_rows == 0:
        return None
    if version.task == "regression":
        truth = table["truth_number"].to_numpy()
        answers = Answers(table["prediction"].to_numpy(), None, None)
    else:
        classes = version.signature.classes or ()
        truth = np.array(table["truth"].to_pylist(), dtype=object)
        labels = class_index(np.array(table["label"].to_pylist(), dtype=object), classes)
        answers = Answers(None, labels, np.array(table["probability"].to_pylist(), dtype=np.float64))
    return assess_quality(
        version.task,
        truth=truth,
        answers=answers,
        classes=version.signature.classes,
        metric=measured.watched.metric,
        held_out=version.metrics,
        limit=measured.watched.monitor.quality,
        rows=measured.table.num_rows,
        held_out_rows=version.lineage.get("rows_test"),
    )


def judge_estimate(measured: Measured, references: References) -> EstimateFinding | None:
    """Quality as far as it can be told without ground truth."""
    import numpy as np
    import pyarrow.compute as pc

    from mlops_box.evaluation.metrics import class_index
    from mlops_box.models.encode_tables import encode_table
    from mlops_box.monitoring.estimate import estimate_classifier, estimate_regression
    from mlops_box.operations.monitor_files import loss_inputs

    version = measured.version
    estimator = references.estimator(version)
    if estimator is None:
        return None
    least = measured.watched.monitor.min_rows
    rows = measured.table.filter(pc.equal(measured.table["outcome"], "ok"))
    if estimator.calibration is not None:
        rows = rows.filter(pc.and_(pc.is_valid(rows["probability"]), pc.is_valid(rows["label"])))
        labels = np.array(rows["label"].to_pylist(), dtype=object)
        return estimate_classifier(
            estimator,
            np.array(rows["probability"].to_pylist(), dtype=np.float64).reshape(len(labels), -1),
            class_index(labels, version.signature.classes or ()),
            min_rows=least,
        )
    if references.redacted(version):
        return None
    rows = measured.logged.filter(pc.equal(measured.logged["outcome"], "ok"))
    rows = rows.filter(pc.is_valid(rows["prediction"]))
    tensors = encode_table(reference_columns(rows, version), version.signature)
    inputs = loss_inputs(tensors, rows["prediction"].to_numpy(), version.signature)
    return estimate_regression(estimator, inputs, min_rows=least)


def assemble(
    box: Box,
    measured: Measured,
    drift: Finding,
    quality: QualityFinding | None,
    estimate: EstimateFinding | None = None,
) -> Window:
    """The window as it is stored. The newest window may still be open; it is judged as soon as it has enough rows."""
    monitor = measured.watched.monitor
    width = monitor.window
    data = judge_data(
        measured.logged, drift, minimum=monitor.min_rows, declaration=measured.watched.declaration
    )
    ends_at = measured.starts_at + width
    now = box.clock.now()
    summary = {
        "counts_digest": measured.counts_digest,
        "rows_digest": measured.sample_digest,
        "rows_logged": measured.logged.num_rows,
        "rows_counted": measured.missing,
        "complete": now >= ends_at,
        "latency_ms": _latency(measured.table),
        "options": monitor.model_dump(mode="json"),
    }
    return Window(
        model=measured.version.model, number=measured.version.number,
        starts_at=measured.starts_at, ends_at=ends_at, rows=measured.table.num_rows + measured.missing,
        rows_with_truth=quality.rows_with_truth if quality else 0,
        drift=drift, quality=quality, data=data, summary=summary,
        profile_digest=measured.profile_digest, computed_at=now, estimate=estimate,
    )  # fmt: skip


def _measure_one(
    box: Box, watched: Watched, version: ModelVersion, starts_at: datetime, rows: pa.Table, references: References,
    missing: Sequence[WindowCounts],
) -> Measured:  # fmt: skip
    import pyarrow.compute as pc

    from mlops_box.monitoring.count_tables import count_window
    from mlops_box.monitoring.profile import profile_table
    from mlops_box.monitoring.reservoir import draw_rows, rows_to_bytes
    from mlops_box.monitoring.sensors import shapes_of

    reference = references.of(version)
    logged = rows.filter(pc.fill_null(rows["sampled"], True))
    seen = reference_columns(logged, version, without=references.redacted(version))
    counts = count_window(reference, seen)
    for item in missing:
        counts = counts.merge(item)
    stored = canonical_json(counts.to_dict()).encode()
    sample = draw_rows(seen)
    return Measured(
        watched, version, starts_at, counts,
        box.objects.put_bytes(profile_table(seen, at=starts_at), kind="profile"),
        box.objects.put_bytes(stored, kind="counts"),
        rows,
        logged,
        shapes_of(reference, seen),
        sample,
        box.objects.put_bytes(rows_to_bytes(sample), kind="rows"),
        sum(item.rows for item in missing),
    )  # fmt: skip


def _split(
    table: pa.Table, width: timedelta, segments: list[str], fresh_ids: list[str],
    counted: Collection[tuple[int, datetime]] = (),
) -> list[tuple[tuple[int, datetime], pa.Table]]:  # fmt: skip
    """The rows of each (version, window) that has a new row or new truth, or is in ``counted``, in order of time."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    table = table.filter(pc.not_equal(table["variant"], "shadow"))
    microseconds = table["event_time"].cast(pa.int64()).to_numpy()
    place = microseconds // (width // timedelta(microseconds=1))
    number = table["number"].to_numpy()
    origin = pc.utf8_slice_codeunits(table["id"], 0, _SEGMENT_ID_LENGTH)
    fresh = pc.or_(
        pc.is_in(origin, value_set=pa.array(segments, pa.string())),
        pc.is_in(table["id"], value_set=pa.array(fresh_ids, pa.string())),
    ).to_numpy()
    touched = {(int(p), int(n)) for p, n in zip(place[fresh], number[fresh], strict=True)}
    touched |= {((starts_at - EPOCH) // width, n) for n, starts_at in counted}
    return [
        ((n, EPOCH + p * width), table.take(pa.array(np.flatnonzero((place == p) & (number == n)))))
        for p, n in sorted(touched)
    ]


def _ids(box: Box, digests: list[str]) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: set[str] = set()
    for digest in digests:
        table = pq.read_table(pa.BufferReader(box.objects.read(digest)), columns=["id"])
        found.update(table["id"].to_pylist())
    return sorted(found)


def _with_truth(box: Box, measured: Measured) -> pa.Table:
    """Rows that have both a finite answer and ground truth of the right kind."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = measured.table.filter(pc.equal(measured.table["outcome"], "ok"))
    wanted = "truth_number" if measured.version.task == "regression" else "truth"
    truth = box.predictions.truth(measured.version.model, rows["id"].to_pylist())
    truth = truth.filter(pc.is_valid(truth[wanted])).select(["id", "truth", "truth_number"])
    answer = "prediction" if measured.version.task == "regression" else "label"
    answered = rows.select(["id", "prediction", "label"]).filter(pc.is_valid(rows[answer]))
    joined = answered.join(truth, "id", join_type="inner").sort_by("id")
    if measured.version.task == "regression":
        return joined
    # Arrow joins no list columns: the probabilities follow by position.
    place = {id_: index for index, id_ in enumerate(rows["id"].to_pylist())}
    order = pa.array([place[id_] for id_ in joined["id"].to_pylist()], pa.int64())  # typed also when empty
    return joined.append_column("probability", rows["probability"].take(order))


def _latency(rows: pa.Table) -> dict[str, Any]:
    import pyarrow.compute as pc

    p50, p99 = pc.quantile(rows["latency_ms"], [0.5, 0.99]).to_pylist()
    return {"p50": p50, "p99": p99}
