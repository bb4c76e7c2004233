"""Versions change under a real server: nothing stays behind, nothing is lost at the end."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from serving_kit import Server, register_projects, register_rate, running

from mlops_box.box import Box

SWAPS = 200
# Every version takes at least its file of 4 MB: the last 150 swaps would leave 600 MiB behind.
ALLOWED_MIB = 48


def resident_mib(server: Server) -> float:
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def answers_with(server: Server, number: int) -> None:
    connection = server.connect()
    body = json.dumps({"rows": [{"a": 1.0, "b": 1.0}]})
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        connection.request("POST", "/models/rates/predict", body, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
        assert answer["predictions"] == [2.0 * int(answer["model"].partition("@")[2])]
        if answer["model"] == f"rates@{number}":
            connection.close()
            return
        time.sleep(0.005)
    raise AssertionError(f"rates@{number} did not serve in time")


@pytest.mark.slow
def test_memory_stays_flat_over_200_swaps(tmp_path: Path) -> None:
    with Box.open(tmp_path / "home", actor="tester") as box:
        register_projects(box)
        versions = [register_rate(box, float(n), float(n), busy=1024, promote=False) for n in (1, 2, 3, 4)]
        box.models.set_champion(versions[0], reason="test")
        seen: list[float] = []
        with running(box.home.root, environ={"MLOPS_BOX_SPARE_MEMORY": "0MiB"}) as server:
            for turn in range(1, SWAPS + 1):
                version = versions[turn % 4]
                box.models.set_champion(version, reason="test")
                answers_with(server, version.number)
                seen.append(resident_mib(server))
            assert server.call("GET", "/readyz")[0] == 200
            page = server.call("GET", "/metrics")[2]
        assert f'mlops_box_swaps_total{{model="rates",outcome="ok"}} {SWAPS + 1}.0' in page
        assert "mlops_box_loaded_slots 1.0" in page
    assert max(seen[-20:]) - max(seen[30:50]) < ALLOWED_MIB


@pytest.mark.slow
def test_sigterm_under_load_answers_everything_that_was_taken(tmp_path: Path) -> None:
    """A request is answered whole, or its connection ends without a byte of an answer, so that it may be sent again; and no
    more is in the log than was answered."""
    acknowledged: list[str] = []
    torn: list[bytes] = []

    def ask(server: Server, fresh: bool) -> None:
        body = json.dumps({"rows": [{"a": 1.0, "b": 2.0}]}).encode()
        head = b"POST /models/rates/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        request = head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        line: socket.socket | None = None
        while True:
            try:
                if line is None:
                    line = socket.create_connection((server.address.host, server.address.port), timeout=30)
                line.sendall(request)
                answer = b""
                while b"\r\n\r\n" not in answer or not answer.endswith(b"}"):
                    piece = line.recv(65536)
                    if not piece:
                        break
                    answer += piece
            except OSError:
                return
            if not answer.endswith(b"}"):
                if answer:
                    torn.append(answer)
                return
            if not answer.startswith(b"HTTP/1.1 200"):
                torn.append(answer)
                return
            acknowledged.extend(json.loads(answer.partition(b"\r\n\r\n")[2])["ids"])
            if fresh:
                line.close()
                line = None

    with Box.open(tmp_path / "home", actor="tester") as box:
        register_projects(box)
        register_rate(box, busy=512)
        with running(box.home.root) as server:
            clients = [threading.Thread(target=ask, args=(server, n % 2 == 0)) for n in range(6)]
            for client in clients:
                client.start()
            deadline = time.monotonic() + 30
            while len(acknowledged) < 50 and time.monotonic() < deadline:
                time.sleep(0.01)
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(30) == 0
            for client in clients:
                client.join(30)
        box.predictions.seal()
        stored = box.predictions.predictions("rates")["id"].to_pylist()
    assert torn == []
    assert len(acknowledged) >= 50
    assert set(acknowledged) == set(stored)
