"""The request guard: foreign hosts, foreign pages and unknown content types are refused before they are read."""

from __future__ import annotations

import pytest

from mlops_box.serving.guard import Guard
from mlops_box.serving.problems import HttpProblem

JSON = (b"content-type", b"application/json")
HOST = (b"host", b"127.0.0.1:8000")
LENGTH = (b"content-length", b"2")


@pytest.mark.parametrize("host", [b"localhost", b"LOCALHOST:80", b"127.0.0.1:8000", b"[::1]:8000", b"[::1]"])
def test_own_names_pass(host: bytes) -> None:
    assert Guard().check("POST", [(b"host", host), JSON, LENGTH]) is None


def test_the_request_id_comes_back() -> None:
    assert Guard().check("GET", [HOST, (b"x-request-id", b"abc")]) == b"abc"


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", [], 421),
        ("GET", [(b"host", b"evil.com")], 421),
        ("GET", [(b"host", b"127.0.0.1.evil.com")], 421),
        ("GET", [(b"host", b"evil.com:80@127.0.0.1")], 421),
        ("GET", [(b"host", b"2130706433")], 421),
        ("GET", [(b"host", b"0.0.0.0")], 421),
        ("GET", [HOST, (b"host", b"127.0.0.1")], 421),
        ("GET", [HOST, LENGTH, (b"content-type", b"text/plain")], 415),
        ("POST", [HOST, JSON, LENGTH, (b"origin", b"http://evil.com")], 403),
        ("POST", [HOST, JSON, LENGTH, (b"origin", b"null")], 403),
        ("DELETE", [HOST, (b"origin", b"http://evil.com")], 403),
        ("POST", [HOST, LENGTH], 415),
        ("POST", [HOST, LENGTH, (b"content-type", b"text/plain")], 415),
        ("POST", [HOST, LENGTH, (b"content-type", b"text/plain; application/json")], 415),
        ("POST", [HOST, LENGTH, (b"content-type", b"application/vnd.bentoml+pickle")], 415),
        ("POST", [HOST, LENGTH, (b"content-type", b"application/x-www-form-urlencoded")], 415),
        ("POST", [HOST, LENGTH, (b"content-type", b"application/json; charset=utf-16")], 415),
        ("POST", [HOST, LENGTH, JSON, JSON], 415),
        ("POST", [HOST, LENGTH, JSON, (b"content-encoding", b"gzip")], 415),
        ("POST", [HOST, (b"transfer-encoding", b"chunked")], 415),
        ("POST", [HOST, JSON, (b"content-length", b"999999999")], 413),
        ("POST", [HOST, JSON, (b"content-length", b"9" * 5000)], 413),
        ("POST", [HOST, JSON, (b"content-length", b"-1")], 400),
    ],
)
def test_what_is_not_clearly_for_us_is_refused(
    method: str, headers: list[tuple[bytes, bytes]], status: int
) -> None:
    with pytest.raises(HttpProblem) as refused:
        Guard().check(method, headers)
    assert refused.value.status == status
    assert refused.value.body().startswith(b'{"error":{"code":')


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/json",
        b"Application/JSON",
        b"application/json; charset=utf-8",
        b'application/json;charset="UTF-8"',
    ],
)
def test_json_is_recognised_in_its_spellings(content_type: bytes) -> None:
    assert Guard().check("POST", [HOST, LENGTH, (b"content-type", content_type)]) is None


@pytest.mark.parametrize(
    "content_type", [b"application/octet-stream", b"application/vnd.apache.arrow.stream"]
)
def test_tensors_and_arrow_streams_may_come_in(content_type: bytes) -> None:
    assert Guard().check("POST", [HOST, LENGTH, (b"content-type", content_type)]) is None


def test_a_page_of_this_server_may_call_it() -> None:
    assert Guard().check("POST", [HOST, JSON, LENGTH, (b"origin", b"http://127.0.0.1:8000")]) is None
