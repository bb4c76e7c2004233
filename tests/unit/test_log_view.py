"""What of a request's rows reaches the disk."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mlops_box.errors import ProjectError
from mlops_box.models.values import Feature, Signature
from mlops_box.project import parse_project
from mlops_box.serving.columns import Columns
from mlops_box.serving.log_view import LogView
from mlops_box.serving.records import LoggedFeatures, ParsedRows, PredictionIds, PredictionRecord
from mlops_box.serving.segment_lines import record_line

SIGNATURE = Signature(
    "regression",
    "y",
    (Feature("age", "numeric", "double"), Feature("heat", "numeric", "double")),
)
SECRET = 8191.25
ROWS = ParsedRows([{"age": SECRET, "heat": 1.5, "at": "2026-01-01", "name": "Ada Lovelace"}])
ROWS.body = json.dumps({"rows": ROWS}).encode()
NAMED = Columns(
    1,
    {
        "age": np.array([SECRET]),
        "heat": np.array([1.5]),
        "at": np.array(["2026-01-01"], dtype="datetime64[us]"),
        "name": np.array(["Ada Lovelace"], dtype=object),
    },
)
MATRIX = Columns(1, {}, np.array([[SECRET, 1.5]], dtype=np.float32))


def line_of(view: LogView, rows: Any, number: int = 0) -> bytes:
    ids = PredictionIds("0" * 22, number, 1)
    logged, sampled = view.of(rows, ids)
    return record_line(
        PredictionRecord(
            "m", 1, "champion", 0, ids, logged, [1.0], None, None, 0.1, time_column="at", sampled=sampled
        )
    )


def traces(line: bytes) -> list[bytes]:
    marks = [b"8191.25", np.float64(SECRET).tobytes(), np.float32(SECRET).tobytes(), b"Lovelace"]
    return [mark for mark in marks if mark in line]


@pytest.mark.parametrize("redact", [["card_id"], ["card_id", "shop"]])
def test_a_redacted_key_of_an_entity_is_in_no_byte_of_the_record(redact: list[str]) -> None:
    features = LoggedFeatures(
        {"cards": "d" * 64}, [{"card_id": 424242, "shop": "corner"}], [1], 2, {"cards": [None]}
    )
    kept = LogView(SIGNATURE, redact=redact).entities_of(features)

    assert kept is not None
    assert kept.entities == [{"card_id": None, "shop": None if "shop" in redact else "corner"}]
    assert features.entities == [{"card_id": 424242, "shop": "corner"}]
    assert LogView(SIGNATURE, share=0.5).entities_of(features) is features
    assert LogView(SIGNATURE, redact=redact).entities_of(None) is None


@pytest.mark.parametrize("rows", [ROWS, NAMED, MATRIX], ids=["rows", "columns", "matrix"])
def test_what_is_redacted_is_in_no_byte_of_the_record(rows: Any) -> None:
    open_view = LogView(SIGNATURE)
    assert open_view.is_plain
    assert traces(line_of(open_view, rows)) != []
    line = line_of(LogView(SIGNATURE, redact=["age", "name"], time_column="at"), rows)
    assert traces(line) == []
    assert (b"1.5" in line) or (np.float64(1.5).tobytes() in line) or (np.float32(1.5).tobytes() in line)


def test_the_request_itself_is_not_changed() -> None:
    line_of(LogView(SIGNATURE, redact=["age"]), MATRIX)
    line_of(LogView(SIGNATURE, redact=["age"]), ROWS)
    assert MATRIX.matrix is not None
    assert MATRIX.matrix[0, 0] == SECRET
    assert ROWS[0]["age"] == SECRET


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_declared_share_of_requests_is_taken_soon_and_evenly(share: float) -> None:
    view = LogView(SIGNATURE, share=share, redact=["age"])
    taken = [view.of(ROWS, PredictionIds("0" * 22, number, 1))[1] for number in range(3000)]
    for part in (taken[:1000], taken[1000:2000], taken[2000:]):
        assert abs(sum(part) - 1000 * share) <= 20


@pytest.mark.parametrize("rows", [ROWS, NAMED, MATRIX], ids=["rows", "columns", "matrix"])
def test_rows_that_are_not_sampled_leave_only_their_event_time(rows: Any) -> None:
    line = line_of(LogView(SIGNATURE, share=0.0, time_column="at"), rows)
    assert traces(line) == []
    assert b",false," in line
    assert (b"2026-01-01" in line) == (rows is ROWS)


MANIFEST = """
[project]
name = "m"
[data]
source = "x.csv"
time = "at"
[model]
task = "regression"
target = "y"
features = ["age"]
[serve]
"""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('redact = ["nothing"]', "no column that a request may hold"),
        ('redact = ["at"]', "the event time"),
        ("log_sample = 1.5", "log_sample"),
        ("max_queued = 10", "a full request would never be taken"),
    ],
)
def test_a_declaration_that_cannot_be_meant_is_refused(line: str, said: str) -> None:
    with pytest.raises(ProjectError, match=said):
        parse_project(MANIFEST + line)
