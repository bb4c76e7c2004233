"""What is sent on purpose: malformed, smuggled, endless, slow and too many. The server answers others meanwhile."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator

import psutil
import pytest
from serving_kit import Server, register_fails, register_projects, register_rate, running

from mlops_box.box import Box

ROW = b'{"rows":[{"a":1.0,"b":2.0}]}'
TYPE = b"Content-Type: application/json\r\n"
HOST = b"Host: localhost\r\n"
PREDICT = b"POST /models/rates/predict HTTP/1.1\r\n"
# What 200 MB, sent and refused, may leave behind; an unbounded server keeps all of it.
GROWTH_BYTES = 80 * 1024 * 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("hostile") / "home"
    with Box.open(home, actor="tester") as box:
        register_projects(box)
        register_rate(box, 1.0, 1.0)
        register_fails(box)
        with running(home, "--max-connections", "200") as started:
            yield started


@pytest.fixture(autouse=True)
def answers_others(server: Server) -> Iterator[None]:
    """After each attack the server is the same process and answers."""
    yield
    assert server.process.poll() is None
    assert server.predict("rates", {"a": 1, "b": 2})[2]["predictions"] == [3.0]


def connect(server: Server) -> socket.socket:
    return socket.create_connection((server.address.host, server.address.port), timeout=30)


def send(server: Server, *parts: bytes, answers: int = 1) -> bytes:
    """What comes back until the server closes or has answered so often (and a moment later, nothing more).

    Sending stops when the server has closed.
    """
    with connect(server) as raw:
        with contextlib.suppress(ConnectionError):
            for part in parts:
                raw.sendall(part)
        found = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            while data := raw.recv(65536):
                found += data
                raw.settimeout(0.05 if complete_answers(found) >= answers else 30)
    return found


def complete_answers(data: bytes) -> int:
    count = 0
    while b"\r\n\r\n" in data:
        head, _, data = data.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if length is None or len(data) < int(length[1]):
            break
        data = data[int(length[1]) :]
        count += 1
    return count


def post(*headers: bytes, body: bytes = ROW) -> bytes:
    return PREDICT + HOST + TYPE + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:] if part[:3].isdigit()]


def error_code(answer: bytes) -> str:
    error = json.loads(answer.rpartition(b"\r\n\r\n")[2])["error"]
    assert set(error) == {"code", "message", "hint", "details"}
    return str(error["code"])


LENGTH = b"Content-Length: %d" % len(ROW)
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(ROW), ROW)
NO_HTTP = {
    "garbage": b"\x00\xff\x16\x03\x01 hello\r\n\r\n",
    "tls on a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "unknown method": b"HACK / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "length and chunks": post(LENGTH, b"Transfer-Encoding: chunked", body=CHUNKED),
    "chunks and length": post(b"Transfer-Encoding: chunked", LENGTH, body=CHUNKED),
    "two lengths": post(LENGTH, b"Content-Length: 5"),
    "the same length twice": post(LENGTH, LENGTH),
    "a list of lengths": post(b"Content-Length: 28, 28"),
    "a signed length": post(b"Content-Length: +28"),
    "a hexadecimal length": post(b"Content-Length: 0x1c"),
    "a length beyond all": post(b"Content-Length: 99999999999999999999999999"),
    "an unknown coding": post(b"Transfer-Encoding: xchunked", body=CHUNKED),
    "chunks not last": post(b"Transfer-Encoding: chunked, identity", body=CHUNKED),
    "a space before the colon": post(b"Content-Length : 28"),
    "a folded header": post(LENGTH, b"X-A: b\r\n  Content-Length: 5"),
    "a bare cr in a header": post(LENGTH, b"X-A: b\rContent-Length: 5"),
    "a nul in a header": post(LENGTH, b"X-A: b\x00c"),
    "a header without a name": post(LENGTH, b": nothing"),
    "a chunk without a size": post(b"Transfer-Encoding: chunked", body=b"\r\n" + CHUNKED),
    "a negative chunk": post(b"Transfer-Encoding: chunked", body=b"-1\r\n" + ROW),
    "a chunk beyond all": post(b"Transfer-Encoding: chunked", body=b"fffffffffffffffff\r\n" + ROW),
    "a chunk longer than said": post(b"Transfer-Encoding: chunked", body=b"3\r\n" + ROW + b"\r\n0\r\n\r\n"),
    "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "connect": b"CONNECT evil.com:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "query without a path": b"GET ?x HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("request_", NO_HTTP.values(), ids=list(NO_HTTP))
def test_what_is_no_http_is_refused_in_our_shape_and_the_connection_closed(
    server: Server, request_: bytes
) -> None:
    answer = send(server, request_)
    assert len(statuses(answer)) <= 1, answer
    assert statuses(answer) in ([400], [404], [405], [413], [421], [431]), answer
    assert error_code(answer)


@pytest.mark.parametrize(
    "head",
    [b"", b"Host: localhost\r\nHost: localhost\r\n", b"Host: evil.com\r\n", b"Host: localhost\r\nHost: evil.com\r\n", b"Host:\r\n"],
)  # fmt: skip
def test_exactly_one_host_that_is_ours(server: Server, head: bytes) -> None:
    answer = send(server, b"GET /models HTTP/1.1\r\n" + head + b"\r\n")
    assert statuses(answer) == [421]
    assert error_code(answer) == "host"


def test_a_foreign_host_in_an_absolute_target_changes_nothing(server: Server) -> None:
    assert statuses(send(server, b"GET http://evil.com/livez HTTP/1.1\r\nHost: evil.com\r\n\r\n")) == [421]
    assert statuses(send(server, b"GET http://evil.com/../x HTTP/1.1\r\nHost: localhost\r\n\r\n")) == [404]


def test_pipelined_requests_are_answered_each_and_in_order(server: Server) -> None:
    bodies = [b'{"rows":[{"a":%d,"b":0}]}' % number for number in range(20)]
    requests = [post(b"Content-Length: %d" % len(body), body=body) for body in bodies]
    answer = send(server, b"".join(requests), answers=20)
    assert statuses(answer) == [200] * 20
    found = [
        json.loads(part.partition(b"\r\n\r\n")[2])["predictions"] for part in answer.split(b"HTTP/1.1 ")[1:]
    ]
    assert found == [[float(number)] for number in range(20)]


def test_garbage_behind_a_request_does_not_become_part_of_it(server: Server) -> None:
    answer = send(server, post(LENGTH) + b"\x00\x01garbage\r\n\r\n", answers=2)
    assert statuses(answer) in ([200], [200, 400])


def test_a_wish_for_another_protocol_is_not_granted_and_ends_the_connection(server: Server) -> None:
    for protocol in (b"websocket", b"h2c"):
        head = b"GET /livez HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: " + protocol
        answer = send(
            server, head + b"\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n" + b"\x00" * 100
        )
        assert statuses(answer) == [200]


def test_a_head_is_bounded_however_it_comes(server: Server) -> None:
    many = b"".join(b"X-%d: y\r\n" % number for number in range(3000))
    for head in (
        PREDICT + HOST + b"X-Long: " + b"a" * 100_000,
        PREDICT + HOST + b"X-Long: " + b"a" * 2_000_000,
        PREDICT + HOST + many,
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    ):
        answer = send(server, *[head[start : start + 16_000] for start in range(0, len(head), 16_000)])
        assert statuses(answer) in ([431], []), "a reset may swallow the answer"
        assert statuses(answer) == [] or error_code(answer) == "head"


def memory(server: Server) -> int:
    return int(psutil.Process(server.process.pid).memory_info().rss)


def test_200_mb_are_refused_announced_or_not_and_leave_nothing_behind(server: Server) -> None:
    before = memory(server)
    part = b" " * (1 << 20)
    chunk = b"%x\r\n%b\r\n" % (len(part), part)
    announced = send(server, post(b"Content-Length: %d" % (200 << 20), body=b""), *[part] * 200)
    assert statuses(announced) in ([413], [])
    unannounced = send(server, post(b"Transfer-Encoding: chunked", body=b""), *[chunk] * 200)
    assert statuses(unannounced) in ([413], [])
    assert memory(server) - before < GROWTH_BYTES


def test_endless_trailers_and_chunk_extensions_are_cut(server: Server) -> None:
    before = memory(server)
    padding = b"a" * 65536
    start = post(b"Transfer-Encoding: chunked", body=b"0\r\nX-Trailer: ")
    assert set(statuses(send(server, start, *[padding] * 1600))) <= {400, 431}
    start = post(b"Transfer-Encoding: chunked", body=b"0\r\n")
    assert set(statuses(send(server, start, *[b"X-T: 1\r\n" * 8192] * 400))) <= {400, 431}
    start = post(b"Transfer-Encoding: chunked", body=b"1;x=")
    assert set(statuses(send(server, start, *[padding] * 1600))) <= {400}
    assert memory(server) - before < GROWTH_BYTES


def is_closed(raw: socket.socket) -> bool:
    """Whether the server has closed; what it sent before is read away."""
    raw.setblocking(False)
    try:
        while raw.recv(65536):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return True


def test_slow_and_silent_connections_end_and_do_not_keep_others_out(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connect(server)) for _ in range(60)]
        dripping = [stack.enter_context(connect(server)) for _ in range(60)]
        for raw in dripping:
            raw.sendall(PREDICT + HOST)
        again = stack.enter_context(connect(server))
        again.sendall(post(LENGTH))
        assert statuses(again.recv(65536)) == [200]
        again.sendall(PREDICT)
        deadline = time.monotonic() + 60
        left = [*silent, *dripping, again]
        while left and time.monotonic() < deadline:
            for raw in [item for item in left if item not in silent]:
                with contextlib.suppress(ConnectionError):
                    raw.setblocking(True)
                    raw.sendall(b"X")
            assert server.call("GET", "/livez")[0] == 200
            time.sleep(0.5)
            left = [raw for raw in left if not is_closed(raw)]
        assert left == []


def test_a_connection_too_many_is_told_so_and_room_is_made(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        open_ = [stack.enter_context(connect(server)) for _ in range(200)]
        for raw in open_[:190]:
            raw.sendall(b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n")
        for raw in open_[:190]:
            assert raw.recv(65536).startswith(b"HTTP/1.1 200")
        deadline = time.monotonic() + 30
        answer = b""
        while statuses(answer) != [503] and time.monotonic() < deadline:
            answer = send(server, b"")
        assert error_code(answer) == "connections"
        assert b"retry-after: 1" in answer
        while time.monotonic() < deadline + 30:
            with contextlib.suppress(OSError, json.JSONDecodeError):
                if server.call("GET", "/livez")[0] == 200:
                    break
            time.sleep(0.2)
        assert server.call("GET", "/livez")[0] == 200


TRAVERSALS = [
    "..", ".", "...", "..%2f..", "%2e%2e", "%2e%2e%2fetc%2fpasswd", "%252e%252e%252f", "..%252f", "..%5c..", "..\\..", "%5c%5chost",
    "....//", "..;", "..;/", ".%2e", "%2e.", "rates%2f..%2frates", "rates/../rates", "./rates", "/rates", "//rates", "%2frates",
    "rates%00", "rates%00.json", "%00", "rates%0a", "rates%0d%0aX:%20y", "rates;x", "rates%23", "rates%3fx", "file:%2f%2f%2fetc", "~",
    "%7eroot", "C:%5cwindows", "%c0%ae%c0%ae", "%ef%bc%8e%ef%bc%8e", "%ff", "RATES", "rates%20", "%20rates", "-rates", "--help",
    "$(id)", "%7b%7b7*7%7d%7d", "rates@../1", "rates@..%2f1", "rates@-1", "rates@1e9", "rates@99999999999", "a" * 65,
]  # fmt: skip


@pytest.mark.parametrize("name", TRAVERSALS)
def test_no_spelling_of_a_path_is_a_model(server: Server, name: str) -> None:
    line = f"POST /models/{name}/predict HTTP/1.1\r\n".encode()
    answer = send(server, line + HOST + TYPE + LENGTH + b"\r\nConnection: close\r\n\r\n" + ROW)
    assert statuses(answer) in ([404], [405]), answer
    assert error_code(answer) in ("not_found", "method")


def tensors(data: bytes, shape: bytes = b"[1,2]") -> bytes:
    return b'{"inputs":[{"name":"x","shape":%b,"datatype":"FP64","data":%b}]}' % (shape, data)


PREDICT_PATH, INFER_PATH, TRUTH_PATH = (
    "/models/rates/predict",
    "/v2/models/rates/infer",
    "/models/rates/feedback",
)
BODIES: dict[str, tuple[str, bytes, int]] = {
    "a key twice in a row": (PREDICT_PATH, b'{"rows":[{"a":1,"b":2,"a":3}]}', 400),
    "a key twice, once escaped": (PREDICT_PATH, b'{"rows":[{"a":1,"b":2,"\\u0061":3}]}', 400),
    "rows twice": (PREDICT_PATH, b'{"rows":[{"a":1}],"rows":[{"a":2}]}', 400),
    "a key twice beside a time": (
        PREDICT_PATH,
        b'{"rows":[{"a":1,"b":2,"at":"2026-01-01T00:00:00","b" :3}]}',
        400,
    ),
    "a truth's id twice": (TRUTH_PATH, b'{"truth":[{"id":"x","id":"y","value":1}]}', 400),
    "an input's shape twice": (INFER_PATH, tensors(b"[1,2]", b'[1,2],"shape":[2,1]'), 400),
    "the model twice": ("/predict", b'{"model":"rates","model":"mill","rows":[{"a":1}]}', 400),
    "something behind it": (PREDICT_PATH, ROW + b"x", 400),
    "two bodies": (PREDICT_PATH, ROW + ROW, 400),
    "a byte order mark": (PREDICT_PATH, b"\xef\xbb\xbf" + ROW, 400),
    "utf-16": (PREDICT_PATH, ROW.decode().encode("utf-16"), 400),
    "half a character": (PREDICT_PATH, b'{"rows":[{"a":1,"b":2,"shift":"\xc3"}]}', 400),
    "half a surrogate": (PREDICT_PATH, b'{"rows":[{"a":1,"b":2,"shift":"\\ud800"}]}', 400),
    "minus infinity": (PREDICT_PATH, b'{"rows":[{"a":-Infinity}]}', 400),
    "a number beyond all": (PREDICT_PATH, b'{"rows":[{"a":1,"b":-1e999}]}', 400),
    "an integer of 5,000 digits": (PREDICT_PATH, b'{"rows":[{"a":1,"b":' + b"9" * 5000 + b"}]}", 400),
    "deep rows": (PREDICT_PATH, b'{"rows":' + b"[" * 1000 + b"]" * 1000 + b"}", 422),
    "deep objects": (PREDICT_PATH, b'{"rows":[' + b'{"a":' * 100_000 + b"1", 400),
    "deep tensors": (INFER_PATH, tensors(b"[" * 900 + b"1" + b"]" * 900), 422),
    "ragged tensors": (INFER_PATH, tensors(b"[[1,2],[3]]", b"[2,2]"), 422),
    "a shape of other size": (INFER_PATH, tensors(b"[1,2,3]"), 422),
    "a shape beyond all": (INFER_PATH, tensors(b"[1]", b"[4294967296,4294967296]"), 422),
    "a negative shape": (INFER_PATH, tensors(b"[1,2]", b"[-1,2]"), 422),
    "too wide": (INFER_PATH, tensors(b"[1,2,3]", b"[1,3]"), 422),
    "NaN in tensors": (INFER_PATH, tensors(b"[NaN,1]"), 400),
}


@pytest.mark.parametrize(("path", "body", "status"), BODIES.values(), ids=list(BODIES))
def test_a_body_with_two_meanings_or_none_is_refused(
    server: Server, path: str, body: bytes, status: int
) -> None:
    found, _, answer = server.call("POST", path, body)
    assert found == status, answer
    error = answer if path.startswith("/v2") else answer["error"]
    assert {"code", "message", "hint", "details"} <= set(error)
    assert error["code"] == ("malformed" if status == 400 else error["code"])


@pytest.mark.parametrize("path", ["/predict", TRUTH_PATH])
def test_a_path_for_json_takes_nothing_else(server: Server, path: str) -> None:
    for kind in ("application/octet-stream", "application/vnd.apache.arrow.stream"):
        assert server.call("POST", path, ROW, {"Content-Type": kind})[0] == 415
