"""Rows as Arrow streams: the same values as in JSON, and nothing a stream can do to the server."""

from __future__ import annotations

import contextlib
import random
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_box.errors import BoxError, UsageError
from mlops_box.models.values import Feature, Signature
from mlops_box.project import parse_project
from mlops_box.serving.answers import Answers
from mlops_box.serving.columns import Columns
from mlops_box.serving.door import Door
from mlops_box.serving.door_rules import door_rules
from mlops_box.serving.problems import ContractViolation, MalformedBody
from mlops_box.serving.protocols.arrow import read_stream, write_stream
from mlops_box.serving.protocols.interface import Interface

PROJECT = """
[project]
name = "all"
[data]
source = "all.csv"
time = "at"
[data.contract]
at = { type = "timestamp" }
speed = { type = "double", max = 100, null = true }
kind = { type = "varchar", null = true }
[model]
task = "binary"
target = "fails"
features = ["speed", "kind"]
"""
ALL = Signature(
    "binary", "fails", (Feature("speed", "numeric", "double"), Feature("kind", "categorical", "varchar", ("l",))), (False, True),
)  # fmt: skip
NUMBERS = Signature(
    "regression", "rate", (Feature("speed", "numeric", "double"), Feature("load", "numeric", "double"))
)


def stream(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def read(body: bytes, signature: Signature = ALL) -> Columns:
    return read_stream(body, Interface(signature), Door(signature, door_rules(parse_project(PROJECT))))


def columns(signature: Signature = ALL, **values: pa.Array) -> dict[str, list[Any]]:
    found = read(stream(pa.table(values)), signature)
    return {name: column.tolist() for name, column in found.values.items()}


SPEED = pa.array([1.0, 2.0])
KIND = pa.array(["l", "m"])


@pytest.mark.parametrize(
    ("speed", "expected"),
    [
        (pa.array([1, 2], pa.int8()), [1, 2]),
        (pa.array([1.5, 2.5], pa.float16()), [1.5, 2.5]),
        (pa.array([1, 2]).dictionary_encode(), [1, 2]),
        (pa.chunked_array([[1.5], [2.5]]), [1.5, 2.5]),
    ],
)
def test_numbers_of_any_kind_are_read(speed: pa.Array, expected: list[float]) -> None:
    assert columns(speed=speed, kind=KIND)["speed"] == expected


@pytest.mark.parametrize("speed", [pa.array([None, 2.0]), pa.array([float("nan"), 2.0])])
def test_a_missing_number_is_nan(speed: pa.Array) -> None:
    first, second = columns(speed=speed, kind=KIND)["speed"]
    assert np.isnan(first)
    assert second == 2


def test_an_integer_beside_a_missing_one_is_not_rounded() -> None:
    found = columns(NUMBERS, speed=pa.array([1, 2]), load=pa.array([2**53 + 1, None]))
    assert found["load"] == [2**53 + 1, None]


@pytest.mark.parametrize(
    "kind",
    [
        pa.array(["l", None]),
        pa.array(["l", None], pa.large_string()),
        pa.array(["l", None], pa.string_view()),
        pa.array(["l", None]).dictionary_encode(),
    ],
)
def test_texts_of_any_kind_are_read(kind: pa.Array) -> None:
    assert columns(speed=SPEED, kind=kind)["kind"] == ["l", None]


@pytest.mark.parametrize(
    "at",
    [
        pa.array([datetime(2026, 1, 1, 2)] * 2, pa.timestamp("ns")),
        pa.array([datetime(2026, 1, 1, 3, tzinfo=timezone(timedelta(hours=1)))] * 2, pa.timestamp("us", "Europe/Paris")),
        pa.array([datetime(2026, 1, 1, 2, tzinfo=UTC)] * 2, pa.timestamp("s", "UTC")),
    ],
)  # fmt: skip
def test_times_are_read_in_utc(at: pa.Array) -> None:
    assert columns(speed=SPEED, kind=KIND, at=at)["at"] == [datetime(2026, 1, 1, 2)] * 2


def test_dates_are_read_as_their_midnight() -> None:
    found = columns(speed=SPEED, kind=KIND, at=pa.array([date(2026, 1, 1)] * 2))
    assert found["at"] == [datetime(2026, 1, 1)] * 2


def test_a_column_of_nothing_is_missing() -> None:
    assert columns(speed=pa.nulls(2), kind=KIND)["speed"] == [None, None]


def test_one_column_of_lists_is_a_matrix() -> None:
    lists = pa.FixedSizeListArray.from_arrays(pa.array([1, 2, 3, 4], pa.float32()), 2)
    found = read(stream(pa.table({"rows": lists})), NUMBERS)
    assert found.matrix is not None
    assert found.matrix.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pa.array([[1.0], [2.0]]), "'speed' is of Arrow's type list"),
        (pa.array([1, 2], pa.decimal128(5, 2)), "decimal128"),
        (pa.array([b"a", b"b"]), "type binary"),
        (pa.array([{"a": 1}, {"a": 2}]), "type struct"),
        (pa.array([1, 2], pa.duration("s")), "type duration"),
        (pa.RunEndEncodedArray.from_arrays([2], [1.0]), "run_end_encoded"),
    ],
)
def test_what_is_not_read_is_named_by_column_and_type(values: pa.Array, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        columns(speed=values, kind=KIND)


def test_a_time_beyond_all_calendars_is_refused() -> None:
    with pytest.raises(UsageError, match="'at' holds a time"):
        columns(speed=SPEED, kind=KIND, at=pa.array([2**62, 1], pa.timestamp("s")))


def test_the_contract_judges_columns_as_rows() -> None:
    with pytest.raises(ContractViolation) as caught:
        columns(speed=pa.array([5.0, 101.0]), kind=KIND)
    problems: Any = caught.value.details["problems"]
    assert (problems[0]["row"], problems[0]["rule"]) == (1, "speed.max")
    with pytest.raises(ContractViolation, match="no column"):
        columns(speed=SPEED, kinds=KIND)


@pytest.mark.parametrize("size", [1, 3])
def test_lists_of_another_length_are_refused(size: int) -> None:
    lists = pa.FixedSizeListArray.from_arrays(pa.array([1.0] * 6), size)
    with pytest.raises(UsageError, match=f"lists of {size}"):
        read(stream(pa.table({"rows": lists})), NUMBERS)
    with pytest.raises(UsageError, match="not all of them are numbers"):
        read(stream(pa.table({"rows": lists})))


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_packed_buffers_are_refused_before_they_are_unpacked(codec: str) -> None:
    table = pa.table({"speed": pa.array([1.0] * 500), "kind": pa.array(["l"] * 500)})
    with pytest.raises(UsageError, match="compressed"):
        read(stream(table, compression=codec))
    packed = pa.table({"speed": [1.0] * 500, "kind": pa.array(["l" * 99] * 500).dictionary_encode()})
    with pytest.raises(UsageError, match="compressed"):
        read(stream(packed.select(["kind"]), compression=codec))


def test_a_dictionary_that_unfolds_without_end_is_refused() -> None:
    rows = pa.array([0] * 1000, pa.int32())
    kinds = pa.DictionaryArray.from_arrays(rows, pa.array(["x" * 100_000]))
    with pytest.raises(UsageError, match="100000000 bytes"):
        columns(speed=pa.array([1.0] * 1000), kind=kinds)


def test_rows_and_batches_have_a_limit() -> None:
    with pytest.raises(UsageError, match="more than 1024 rows"):
        columns(speed=pa.nulls(2**31 - 1), kind=pa.nulls(2**31 - 1))
    batch = pa.record_batch({"speed": pa.array([], pa.float64())})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        for _ in range(1100):
            writer.write_batch(batch)
    with pytest.raises(UsageError, match="1024 batches"):
        read(bytes(sink.getvalue()))
    with pytest.raises(UsageError, match="has 300 columns"):
        columns(**{f"c{index}": SPEED for index in range(300)})
    with pytest.raises(UsageError, match="two columns"):
        read(stream(pa.table([SPEED, SPEED], names=["speed", "speed"])))


@pytest.mark.parametrize("body", [b"", b"x", b"\xff\xff\xff\xff", b"PAR1" * 9, b"ARROW1\0\0" + b"\0" * 40])
def test_what_is_no_stream_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody, match="no Arrow stream"):
        read(body)


def test_a_stream_that_is_cut_or_damaged_anywhere_gives_one_clear_error() -> None:
    table = pa.table({"speed": SPEED, "kind": KIND.dictionary_encode()})
    whole = stream(table)
    for size in range(0, len(whole) - 8, 7):
        with pytest.raises(BoxError):
            read(whole[:size])
    chance = random.Random(7)
    for _ in range(1500):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        with contextlib.suppress(BoxError):
            assert read(bytes(damaged)).rows <= 1024


def test_answers_are_a_stream_of_typed_columns() -> None:
    answers = Answers(
        [True, False], [0.9, None], ["true", "false"], [[0.25, 0.75], [None, None]], "not_finite"
    )
    found = pa.ipc.open_stream(write_stream(ALL, "all@3", answers, ["i", "j"])).read_all()
    assert found.to_pydict() == {
        "label": [True, False], "probability": [[0.25, 0.75], [None, None]], "id": ["i", "j"]
    }  # fmt: skip
    assert found.schema.metadata == {b"model": b"all@3", b"classes": b"[false,true]"}
    assert found.schema.field("probability").type == pa.list_(pa.float32(), 2)
    rates = Answers([1.5, None], [1.5, None], None, None, "not_finite")
    found = pa.ipc.open_stream(write_stream(NUMBERS, "rates@1", rates, ["i", "j"])).read_all()
    assert found.to_pydict() == {"prediction": [1.5, None], "id": ["i", "j"]}
