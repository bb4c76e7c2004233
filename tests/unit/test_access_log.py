"""The access log: what a line holds and never holds, and that no request waits for it."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
from mlops_box_services.access_log import FIELDS, FILE_NAME, AccessLog
from mlops_box_services.observing import Observed, Observers

from mlops_box.clock import SystemClock
from mlops_box.serving.trace_context import TraceParent

REQUEST = Observed(
    started_s=10.0, ended_s=10.0125, protocol="http", method="POST", route="/models/{name}/predict", status=200,
    outcome="ok", request_id=b"order-17", headers=[(b"authorization", b"Bearer secret-token")], client="127.0.0.1",
    bytes_in=33, bytes_out=90, model="rates", version=2, variant="champion", rows=3,
)  # fmt: skip


def line(folder: Path, request: Observed, trace_id: str | None = None) -> bytes:
    journal = AccessLog(folder)
    assert journal.add(request, trace_id, 1_700_000_000.0)
    assert journal.flush() == 0
    journal.close()
    return (folder / FILE_NAME).read_bytes()


def parsed(folder: Path, request: Observed, trace_id: str | None = None) -> dict[str, Any]:
    text = line(folder, request, trace_id)
    assert text.count(b"\n") == 1
    assert text.endswith(b"\n")
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def test_a_line_is_one_json_object_with_fixed_keys(tmp_path: Path) -> None:
    found = parsed(tmp_path, REQUEST, "a" * 32)
    assert found == {
        "time": "2023-11-14T22:13:30.012Z", "request_id": "order-17", "trace_id": "a" * 32, "protocol": "http",
        "method": "POST", "route": "/models/{name}/predict", "status": 200, "outcome": "ok", "model": "rates",
        "version": 2, "variant": "champion", "rows": 3, "latency_ms": 12.5, "bytes_in": 33, "bytes_out": 90,
        "client": "127.0.0.1",
    }  # fmt: skip
    assert tuple(found) == FIELDS


@pytest.mark.parametrize(
    "hostile", ['x"}\n{"status": 200', "\x1b[2J", "\x9b31m", "a\r\nb", "\u2028", "é" * 10, "x" * 200, " ", ""]
)
def test_a_strangers_text_cannot_forge_a_line_or_reach_a_terminal(tmp_path: Path, hostile: str) -> None:
    forged = REQUEST._replace(
        request_id=hostile.encode("utf-8"), method=hostile, client=hostile, route=None, model=None
    )
    found = parsed(tmp_path, forged)
    assert (found["request_id"], found["method"], found["client"]) == (None, None, None)


def test_headers_never_reach_a_line(tmp_path: Path) -> None:
    assert b"secret-token" not in line(tmp_path, REQUEST)


class Spans:
    """A tracer in memory."""

    def __init__(self) -> None:
        self.recorded: list[tuple[Observed, TraceParent | None]] = []

    def record(self, request: Observed, parent: TraceParent | None, epoch_s: float) -> str:
        self.recorded.append((request, parent))
        return "c" * 32

    def close(self) -> None: ...


def test_a_full_queue_drops_and_counts_and_never_waits(tmp_path: Path) -> None:
    observers = Observers(SystemClock(), journal=AccessLog(tmp_path, max_lines=3))
    for _ in range(10):
        observers.tell(REQUEST)
    assert observers.dropped == 7
    observers.drain()
    observers.tell(REQUEST)
    observers.close()
    assert observers.dropped == 7
    assert (tmp_path / FILE_NAME).read_bytes().count(b"\n") == 4


def test_a_full_queue_of_spans_does_so_too_and_a_line_names_its_trace(tmp_path: Path) -> None:
    spans = Spans()
    observers = Observers(SystemClock(), tracer=spans, journal=AccessLog(tmp_path), max_queued=3)
    for _ in range(10):
        observers.tell(REQUEST)
    observers.close()
    assert observers.dropped == 7
    lines = [json.loads(text) for text in (tmp_path / FILE_NAME).read_bytes().splitlines()]
    assert [found["trace_id"] for found in lines] == ["c" * 32] * 3
    assert len(spans.recorded) == 3


def test_a_callers_trace_is_named_without_a_tracer(tmp_path: Path) -> None:
    observers = Observers(SystemClock(), journal=AccessLog(tmp_path))
    observers.tell(
        REQUEST._replace(headers=[(b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")])
    )
    observers.close()
    assert json.loads((tmp_path / FILE_NAME).read_bytes())["trace_id"] == "a" * 32


def test_closing_tells_what_is_queued(tmp_path: Path) -> None:
    observers = Observers(SystemClock(), journal=AccessLog(tmp_path))
    observers.start()
    for number in range(500):
        observers.tell(REQUEST._replace(rows=number))
    observers.close()
    observers.close()
    lines = (tmp_path / FILE_NAME).read_bytes().splitlines()
    assert [json.loads(text)["rows"] for text in lines] == list(range(500))
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_a_log_that_cannot_be_written_is_said_once_and_loses_lines_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "missing"
    observers = Observers(SystemClock(), journal=AccessLog(folder))
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            observers.tell(REQUEST)
            observers.drain()
        assert observers.dropped == 3
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        folder.mkdir()
        observers.tell(REQUEST)
        observers.drain()
    assert observers.dropped == 3
    assert "written again" in caplog.text
    assert len((folder / FILE_NAME).read_bytes().splitlines()) == 1


def write_many(folder: Path, name: str) -> None:
    journal = AccessLog(folder, max_bytes=20_000, kept=1000)
    for number in range(200):
        request = REQUEST._replace(request_id=f"{name}-{number}".encode())
        assert journal.add(request, None, 0.0)
        assert journal.add(request, None, 0.0)
        assert journal.flush() == 0
    journal.close()


def test_workers_share_the_file_and_lose_no_line_when_it_is_cut(tmp_path: Path) -> None:
    # In processes of their own, as workers are: the lock is between open files.
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=write_many, args=(tmp_path, name)) for name in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    files = [tmp_path / name for name in os.listdir(tmp_path)]
    assert len(files) > 3
    assert all(file.stat().st_size <= 20_000 for file in files)
    ids = [json.loads(text)["request_id"] for file in files for text in file.read_bytes().splitlines()]
    assert sorted(ids) == sorted(2 * [f"{name}-{number}" for name in "ab" for number in range(200)])
