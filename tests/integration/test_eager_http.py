"""The short way of a request that comes in one piece, and all that is not so plain, on one raw connection."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving_kit import Server, register_projects, register_rate, running, start_server

from mlops_box.box import Box


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Box.open(tmp_path_factory.mktemp("eager") / "home", actor="tester") as box:
        register_projects(box)
        register_rate(box, 1.0, 1.0)
        with running(box.home.root) as started:
            yield started


def request(a: float, *headers: str, method: str = "POST", path: str = "/models/rates/predict") -> bytes:
    body = json.dumps({"rows": [{"a": a, "b": 0.0}]}) if method == "POST" else ""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return ("\r\n".join([*lines, "", ""]) + body).encode()


def talk(server: Server, *pieces: bytes, answers: int, pause_s: float = 0.0) -> list[tuple[int, bytes]]:
    """(status, body) of the answers on one connection."""
    with socket.create_connection((server.address.host, server.address.port), timeout=20) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause_s)
        stream = connection.makefile("rb")
        return [read_answer(stream) for _ in range(answers)]


def read_answer(stream: object) -> tuple[int, bytes]:
    status = int(stream.readline().split()[1])  # type: ignore[attr-defined]
    size = 0
    while (line := stream.readline().strip()) != b"":  # type: ignore[attr-defined]
        name, _, value = line.partition(b":")
        size = int(value) if name.lower() == b"content-length" else size
    return status, stream.read(size)  # type: ignore[attr-defined]


def predictions(answers: list[tuple[int, bytes]]) -> list[float]:
    assert {status for status, _ in answers} == {200}
    return [json.loads(body)["predictions"][0] for _, body in answers]


def test_requests_sent_without_waiting_are_answered_in_their_order(server: Server) -> None:
    together = b"".join(request(float(number)) for number in range(20))
    assert predictions(talk(server, together, answers=20)) == [float(number) for number in range(20)]


@pytest.mark.parametrize("cut", [1, 40, 110, 150])
def test_a_request_in_two_pieces_is_answered_like_one(server: Server, cut: int) -> None:
    whole = request(7.0)
    assert predictions(talk(server, whole[:cut], whole[cut:], answers=1, pause_s=0.05)) == [7.0]


def test_plain_and_other_requests_may_follow_each_other(server: Server) -> None:
    whole = request(3.0)
    answers = talk(
        server,
        request(1.0) + request(2.0) + whole[:-5],
        whole[-5:] + request(4.0) + request(5.0, "Expect: 100-continue")[:-1],
        answers=4,
        pause_s=0.05,
    )
    assert predictions(answers) == [1.0, 2.0, 3.0, 4.0]


def test_a_missing_page_and_a_bad_row_do_not_end_the_connection(server: Server) -> None:
    pieces = request(0, method="GET", path="/nowhere") + request(1000.0) + request(1.0)
    answers = talk(server, pieces, answers=3)
    assert [status for status, _ in answers] == [404, 422, 200]


def test_head_has_a_length_but_no_body(server: Server) -> None:
    connection = server.connect()
    connection.request("HEAD", "/livez")
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"")
    connection.request("GET", "/livez")
    assert connection.getresponse().read() != b""
    connection.close()


def test_who_asks_for_the_end_gets_an_answer_and_the_end(server: Server) -> None:
    with socket.create_connection((server.address.host, server.address.port), timeout=20) as connection:
        connection.sendall(request(2.0, "Connection: close"))
        stream = connection.makefile("rb")
        assert predictions([read_answer(stream)]) == [2.0]
        assert stream.read() == b""


def test_a_client_that_leaves_before_its_answer_harms_nobody(server: Server) -> None:
    for _ in range(30):
        with socket.create_connection((server.address.host, server.address.port), timeout=20) as connection:
            connection.sendall(request(1.0) * 3)
    assert predictions(talk(server, request(9.0), answers=1)) == [9.0]


def test_a_request_under_way_is_answered_before_the_server_leaves(tmp_path: Path) -> None:
    with Box.open(tmp_path / "home", actor="tester") as box:
        register_projects(box)
        register_rate(box, 1.0, 1.0, busy=1500)
        server = start_server(box.home.root)
        connection = server.connect()
        found: list[tuple[int, bytes]] = []

        def ask() -> None:
            body = json.dumps({"rows": [{"a": 1.0, "b": 1.0}] * 200})
            headers = {"Content-Type": "application/json"}
            try:
                connection.request("POST", "/models/rates/predict", body, headers)
                response = connection.getresponse()
                found.append((response.status, response.read()))
            except http.client.HTTPException as error:
                found.append((0, repr(error).encode()))

        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)
        asking.join(20)
        assert server.process.wait(20) == 0
        # The signal may have come before the request: then nothing was accepted, and nothing is lost.
        assert found[0][0] == 200 or b"closed" in found[0][1].lower() or b"Disconnected" in found[0][1]
