"""What a device with a running server does with new versions, good and bad, and with kills: it goes on serving."""

from __future__ import annotations

import http.client
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from mlops_box.edge.device.outcome import roll_back
from mlops_box.edge.device.probe import announced, read_counts
from mlops_box.edge.device.slots import read_slot
from mlops_box.edge.device.state import load
from tests.edge_case import Packer, content, make_place, put

LONG_S = 60.0


def wait(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + LONG_S
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come within {LONG_S:g} s")


class Served:
    """A device whose agent runs ``serve``; systemd's side of the talk is played here."""

    def __init__(self, folder: Path) -> None:
        self.place = make_place(folder / "device")
        self._numbers = itertools.count(1)
        self._heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._heard.bind(str(folder / "notify"))
        self._heard.setblocking(False)
        self._notify = str(folder / "notify")
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "mlops_box.edge.device", "serve", "--root", str(self.place.root)]
        self.agent = subprocess.Popen(
            [*command, "--port", "0", "--steady", "0.3", "--probation", "0.6"],
            env={**os.environ, "NOTIFY_SOCKET": self._notify},
        )

    def heard(self) -> str:
        lines = []
        while True:
            try:
                lines.append(self._heard.recv(4096).decode())
            except BlockingIOError:
                return "\n".join(lines)

    def put(self, behaviour: Mapping[str, Any] | None = None, more: bytes = b"") -> int:
        """Install the next version; its number."""
        number = next(self._numbers)
        files = content({"number": number, **(behaviour or {})})
        if more:
            files["runtime/mlops_edge/more.py"] = more
        put(self.place, Packer(number=number, files=files).pack())
        return number

    def put_good(self) -> int:
        number = self.put()
        self.wait_confirmed(number)
        return number

    def answering(self) -> int | None:
        """The number of the version that answers."""
        told = announced(self.place)
        if told is None:
            return None
        connection = http.client.HTTPConnection("127.0.0.1", told.port, timeout=5)
        try:
            connection.request("GET", "/version")
            return int(connection.getresponse().read())
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def wait_answering(self, number: int) -> None:
        wait(lambda: self.answering() == number, f"version {number}")

    def wait_confirmed(self, number: int) -> None:
        wait(lambda: self.last() == ("confirm", f"pump@{number}"), f"confirmation of {number}")
        self.wait_answering(number)

    def wait_fallen(self, number: int) -> str:
        wait(lambda: self.last() == ("fall-back", f"pump@{number}"), f"the fall of {number}")
        return str(load(self.place).history[-1]["why"])

    def last(self) -> tuple[str, str] | None:
        history = load(self.place).history
        return (history[-1]["act"], history[-1]["version"]) if history else None

    def attempts(self, number: int) -> int:
        acts = [(act["act"], act["version"]) for act in load(self.place).history]
        return acts.count(("attempt", f"pump@{number}"))

    def server(self) -> psutil.Process:
        told = announced(self.place)
        assert told is not None
        return psutil.Process(told.pid)

    def stop(self) -> int:
        self.agent.terminate()
        return self.agent.wait(LONG_S)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory, prefix="edge-serve-") as folder:
        served = Served(Path(folder))
        yield served
        served.stop()


@pytest.fixture
def good(served: Served) -> int:
    """The number of a version that is confirmed and answers."""
    state = load(served.place)
    slot = read_slot(served.place, state.confirmed) if state.confirmed and not state.trial else None
    if slot is None:
        return served.put_good()
    served.wait_answering(slot.number)
    return slot.number


def test_with_nothing_installed_it_waits_and_then_serves_what_comes(served: Served) -> None:
    assert "READY=1" in wait(served.heard, "a word to systemd")
    number = served.put_good()
    assert served.attempts(number) == 1
    assert "WATCHDOG=1" in wait(served.heard, "a sign of life")


def test_a_new_model_takes_over_in_the_running_server(served: Served, good: int) -> None:
    before = served.server().pid
    assert served.put_good() > good
    assert served.server().pid == before


def test_a_new_runtime_takes_over_by_one_restart(served: Served, good: int) -> None:
    before = served.server().pid
    number = served.put(more=b"# another runtime\n")
    served.wait_confirmed(number)
    assert served.server().pid != before
    assert served.attempts(number) == 1


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        ({"outcomes": {"ok": 30, "not_finite": 10}}, "10 of its first 40 predictions failed"),
        ({"golden": ["row 3: 0.7 instead of 0.2"]}, "golden test: row 3"),
    ],
    ids=["spoilt predictions", "wrong golden rows"],
)
def test_a_version_that_predicts_wrongly_is_reverted_at_once(
    behaviour: dict[str, Any], why: str, served: Served, good: int
) -> None:
    number = served.put(behaviour)
    assert why in served.wait_fallen(number)
    served.wait_answering(good)
    assert served.attempts(number) == 1


@pytest.mark.parametrize(
    "behaviour",
    [{"crash": 1}, {"ballast": 300_000_000}],
    ids=["crash", "memory"],
)
def test_a_version_that_cannot_run_is_tried_three_times(
    behaviour: dict[str, Any], served: Served, good: int
) -> None:
    number = served.put(behaviour, more=b"# so that it is started, not turned to\n")
    assert served.wait_fallen(number) == "its attempts are used up"
    served.wait_answering(good)
    assert served.attempts(number) == 3


def test_callers_who_send_bad_rows_do_not_condemn_a_version(served: Served) -> None:
    served.wait_confirmed(served.put({"outcomes": {"ok": 2, "contract": 400, "feedback_contract": 30}}))


def test_a_killed_server_comes_back(served: Served, good: int) -> None:
    before = served.server()
    before.send_signal(signal.SIGKILL)
    wait(lambda: not before.is_running() or before.status() == psutil.STATUS_ZOMBIE, "the end of the server")
    served.wait_answering(good)


def test_a_stopped_server_that_hangs_is_replaced(served: Served, good: int) -> None:
    before = served.server()
    before.send_signal(signal.SIGSTOP)
    wait(lambda: (told := announced(served.place)) and told.pid != before.pid, "another server")
    served.wait_answering(good)


def test_a_killed_agent_takes_its_server_along_and_the_next_serves(served: Served, good: int) -> None:
    server = served.server()
    served.agent.kill()
    served.agent.wait(LONG_S)
    wait(lambda: not server.is_running(), "the end of the server")
    served.start()
    served.wait_answering(good)


def test_rolled_back_by_hand_the_running_server_turns_back(served: Served, good: int) -> None:
    assert served.put_good() > good
    roll_back(served.place)
    served.wait_answering(good)


def test_only_one_agent_serves_a_device(served: Served) -> None:
    command = [sys.executable, "-m", "mlops_box.edge.device", "serve", "--root", str(served.place.root)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=LONG_S)
    assert (second.returncode, "served already" in second.stderr) == (2, True)


def test_stopped_it_ends_with_its_server(served: Served, good: int) -> None:
    server = served.server()
    served.heard()
    assert served.stop() == 0
    assert not server.is_running()
    assert "STOPPING=1" in served.heard()
    served.start()
    served.wait_answering(good)


def test_counts_are_read_from_metrics_by_version() -> None:
    page = (
        'mlops_box_requests_total{model="m",version="13",variant="champion",outcome="ok"} 7\n'
        'mlops_box_requests_total{model="m",version="13",variant="champion",outcome="not_finite"} 2.0\n'
        'mlops_box_requests_total{model="m",version="12",variant="champion",outcome="ok"} 900\n'
        'mlops_box_requests_total{model="m",version="13",variant="champion",outcome="contract"} 5\n'
    )
    counts = read_counts(page, 13)
    assert (counts.good, counts.spoilt) == (7, 2)
