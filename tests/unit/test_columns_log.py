"""Requests that came as columns in the prediction log: raw values beside the line, torn and damaged ones never data."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from mlops_box.models.values import Feature, Signature
from mlops_box.serving.columns import Columns
from mlops_box.serving.records import (
    LoggedRequest,
    ParsedRows,
    PredictionBatch,
    PredictionIds,
    PredictionRecord,
)
from mlops_box.serving.sealing import Signatures, tables_of
from mlops_box.serving.segment_lines import (
    SegmentReport,
    batch_line,
    encode_line,
    header_line,
    read_segment,
    record_line,
)

SEGMENT = "0123456789abcdefghjkmn"
AT = datetime(2026, 1, 1, tzinfo=UTC)
MATRIX = np.array(
    [[1.5, np.nan], [2.5, 10.0]], dtype=np.float32
)  # 10.0 as bytes has a newline in no place we rely on


class OneSignature(Signatures):
    def __init__(self, signature: Signature):
        self._one = signature

    def get(self, model: str, number: int) -> Signature:
        return self._one


def record(rows: Any, first: int = 0, **options: Any) -> PredictionRecord:
    return PredictionRecord(
        model="mill", number=1, variant="champion", at_us=int(AT.timestamp() * 1e6), ids=PredictionIds(SEGMENT, first, len(rows)),
        rows=rows, predictions=[0.5] * len(rows), labels=None, probabilities=None, latency_ms=1.0, **options,
    )  # fmt: skip


def write(path: Path, *records: PredictionRecord) -> Path:
    path.write_bytes(header_line(SEGMENT) + b"".join(record_line(item) for item in records))
    return path


def test_a_matrix_comes_back_bit_for_bit_between_ordinary_lines(tmp_path: Path) -> None:
    hard = np.frombuffer(b"\n00000000 {}\n" * 5 + b"\n\n\n", dtype=np.float32).reshape(-1, 1)
    path = write(
        tmp_path / "s",
        record([{"a": 1.0}]),
        record(Columns(len(hard), {}, hard), 1),
        record([{"a": 2.0}], 99),
    )
    report = SegmentReport()
    found = list(read_segment(path, report))
    assert report.text() == ""
    assert [len(item.ids) for item in found] == [1, len(hard), 1]
    assert found[1].ids[0] == f"{SEGMENT}-00000001"
    assert found[1].rows.matrix.tobytes() == hard.tobytes()


def test_named_columns_come_back_in_their_types(tmp_path: Path) -> None:
    values = {
        "n": np.array([1, -2], dtype=">i2"), "x": np.array([0.1, np.nan]), "b": np.array([True, False]),
        "t": np.array(["a", None], dtype=object), "at": np.array(["2026-01-01T01:02", "NaT"], dtype="datetime64[us]"),
    }  # fmt: skip
    (found,) = read_segment(write(tmp_path / "s", record(Columns(2, values))), SegmentReport())
    back = found.rows.values
    assert set(back) == set(values)
    for name, column in values.items():
        np.testing.assert_array_equal(back[name], column)


@pytest.mark.parametrize("cut", [1, 2, 9, 17, 40])
def test_a_torn_payload_is_a_torn_line(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path / "s", record([{"a": 1.0}]), record(Columns(2, {}, MATRIX), 1))
    os.truncate(path, path.stat().st_size - cut)
    report = SegmentReport()
    assert [len(item.ids) for item in read_segment(path, report)] == [1]
    assert report.torn_bytes > 0
    assert report.damaged_lines == 0


def test_a_flipped_bit_in_a_payload_drops_that_request_only(tmp_path: Path) -> None:
    path = write(tmp_path / "s", record(Columns(2, {}, MATRIX)), record([{"a": 1.0}], 2))
    data = bytearray(path.read_bytes())
    data[data.index(MATRIX.tobytes())] ^= 1
    path.write_bytes(bytes(data))
    report = SegmentReport()
    assert [item.ids[0] for item in read_segment(path, report)] == [f"{SEGMENT}-00000002"]
    assert report.damaged_lines == 1


def test_a_segment_of_format_1_is_still_read(tmp_path: Path) -> None:
    old = {
        "k": "p", "m": "mill", "n": 1, "v": "champion", "at": 0, "ids": [f"{SEGMENT}-00000007"], "r": [{"a": 1.0}],
        "p": [0.5], "l": None, "q": None, "ms": 1.0, "o": "ok", "t": None,
    }  # fmt: skip
    path = tmp_path / "s"
    path.write_bytes(encode_line({"k": "h", "format": 1, "segment": SEGMENT}) + encode_line(old))
    (found,) = read_segment(path, SegmentReport())
    assert list(found.ids) == [f"{SEGMENT}-00000007"]
    assert found.rows == [{"a": 1.0}]


def test_rows_a_matrix_and_columns_seal_into_the_same_table(tmp_path: Path) -> None:
    signature = Signature(
        "regression", "y", (Feature("a", "numeric", "double"), Feature("b", "numeric", "bigint"))
    )
    rows = [{"a": 1.5, "b": None}, {"a": 2.5, "b": 10}]
    named = Columns(2, {"a": np.array([1.5, 2.5]), "b": np.array([np.nan, 10.0])})
    tables = [
        tables_of(
            read_segment(write(tmp_path / "s", record(form)), SegmentReport()), OneSignature(signature)
        )[("mill", "prediction")]
        for form in (rows, Columns(2, {}, MATRIX), named)
    ]
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])
    assert tables[0]["feature:b"].to_pylist() == [None, 10.0]


def test_the_event_time_of_columns_is_kept(tmp_path: Path) -> None:
    signature = Signature("regression", "y", (Feature("a", "numeric", "double"),))
    times = np.array(["2026-01-01T01:02", "NaT"], dtype="datetime64[us]")
    texts = np.array(["2026-01-01T01:02:00Z", None], dtype=object)
    for column in (times, texts):
        columns = Columns(2, {"a": np.array([1.0, 2.0]), "at": column})
        table = tables_of([record(columns, time_column="at")], OneSignature(signature))[
            ("mill", "prediction")
        ]
        assert table["event_time"].to_pylist() == [datetime(2026, 1, 1, 1, 2, tzinfo=UTC), AT]


def test_ids_are_a_list_that_is_spelt_late() -> None:
    long = PredictionIds(SEGMENT, 250, 700).texts()
    assert long == [f"{SEGMENT}-{number:08x}" for number in range(250, 950)]
    ids = PredictionIds(SEGMENT, 254, 3)
    assert list(ids) == ids.texts() == [f"{SEGMENT}-000000fe", f"{SEGMENT}-000000ff", f"{SEGMENT}-00000100"]
    assert ids[-1] == ids.texts()[2]
    assert ids[1:] == ids.texts()[1:]
    assert f"{SEGMENT}-000000ff" in ids
    assert list(PredictionIds.from_first(ids[0], 3)) == list(ids)


def test_what_was_answered_together_is_one_line_and_comes_back_request_by_request(tmp_path: Path) -> None:
    body = b'{"rows": [{"a": 1.50}, {"a":null}]}'
    parsed = ParsedRows(orjson.loads(body)["rows"])
    parsed.body = body
    named = Columns(1, {"a": np.array([7.0]), "t": np.array(["x"], dtype=object)})
    requests = [
        LoggedRequest(parsed, "champion", 1.0, "ok"),
        LoggedRequest(Columns(2, {}, MATRIX), "canary", 2.0, "ok"),
        LoggedRequest(named, "champion", 3.0, "not_finite"),
        LoggedRequest([{"a": 2}], "direct", 4.0, "ok"),
    ]
    values = [0.0, 1.0, 2.0, 3.0, None, 5.0]
    batch = PredictionBatch("mill", 3, 5, PredictionIds(SEGMENT, 9, 6), requests, values, None, None)
    line = batch_line(batch)
    assert body in line
    (tmp_path / "s").write_bytes(header_line(SEGMENT) + line)
    report = SegmentReport()
    found = list(read_segment(tmp_path / "s", report))
    assert report.text() == ""
    assert [item.variant for item in found] == ["champion", "canary", "champion", "direct"]
    assert [item.predictions for item in found] == [[0.0, 1.0], [2.0, 3.0], [None], [5.0]]
    assert [id_ for item in found for id_ in item.ids] == list(batch.ids)
    assert found[0].rows == [{"a": 1.5}, {"a": None}]
    assert found[1].rows.matrix.tobytes() == MATRIX.tobytes()
    assert found[2].rows.values["a"].tolist() == [7.0]
    assert found[2].rows.values["t"].tolist() == ["x"]
    assert found[3].rows == [{"a": 2}]
