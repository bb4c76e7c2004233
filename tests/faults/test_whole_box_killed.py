"""kill -9 of every part of a running box, one at a time: all of it comes back, and no answer that was given is lost."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_box.box import Box
from mlops_box.home import Home
from mlops_box.operations.train import train
from mlops_box.project import load_project
from mlops_box.runs import Run
from mlops_box.serving.address import ServerAddress

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
import flow_kit as kit
from box_kit import RunningBox


class Client(threading.Thread):
    """Asks for predictions without pause, whatever happens to the server; remembers what was acknowledged."""

    def __init__(self, home: Home):
        super().__init__(daemon=True)
        self.acknowledged: list[str] = []
        self.served: set[str] = set()
        self.failures = 0
        self._home = home
        self._ended = threading.Event()

    def run(self) -> None:
        row = 0
        while not self._ended.is_set():
            try:
                with contextlib.closing(self._connect()) as connection:
                    while not self._ended.is_set():
                        row += 1
                        self._ask(connection, row)
            except (OSError, http.client.HTTPException, ValueError):
                self.failures += 1
                time.sleep(0.02)

    def stop(self) -> None:
        self._ended.set()
        self.join(30)
        assert not self.is_alive()

    def _connect(self) -> http.client.HTTPConnection:
        address = ServerAddress.read(self._home.run)
        if address is None:
            raise ConnectionRefusedError("no server has published an address")
        return http.client.HTTPConnection(address.host, address.port, timeout=10)

    def _ask(self, connection: http.client.HTTPConnection, row: int) -> None:
        rows = [{"x": (row % 100) / 100}] * (1 + row % 3)
        body = json.dumps({"rows": rows}).encode()
        connection.request("POST", "/models/tiny/predict", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200:
            raise ConnectionError(f"HTTP {response.status}")
        assert len(answer["ids"]) == len(rows)
        self.acknowledged += answer["ids"]
        self.served.add(answer["model"])
        time.sleep(0.005)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningBox]:
    box = RunningBox(Home(tmp_path / "home"), kit.tiny_project(tmp_path / "tiny"), port=0)
    with Box.open(box.home) as opened:
        assert train(opened, load_project(box.project)).promoted
    box.up()
    yield box
    box.command("down")


@pytest.mark.slow
def test_a_box_whose_parts_are_killed_comes_back_and_loses_no_acknowledged_prediction(
    running: RunningBox,
) -> None:
    dice = random.Random(2026)
    parts = ["server", "runner", "prefect", "training"]
    dice.shuffle(parts)
    client = Client(running.home)
    client.start()
    for part in [*parts, "supervisor"]:
        _wait_for_answers(client, after=part)
        time.sleep(dice.uniform(0.2, 1.5))
        if part == "training":
            killed = _kill_a_training(running, dice)
        elif part == "supervisor":
            os.kill(running.state.owner.pid, signal.SIGKILL)
            running.up()
        else:
            _kill_part(running, part)
    _wait_for_answers(client, after="all of them")

    code, trained = running.command("train", "--project", str(kit.tiny_project(running.project)))
    assert code == 0, trained
    kit.until(lambda: "tiny@2" in client.served, timeout_s=10, what="an answer of the new champion")
    client.stop()

    assert running.command("status")[1]["phase"] == "ready"
    assert running.is_well()
    code, report = running.command("verify")
    assert code == 0, report
    _assert_ended_as_crashed(running, killed)
    _assert_no_run_is_left(running.home)
    _assert_all_are_logged_once(running.home, client)


def _wait_for_answers(client: Client, *, after: str) -> None:
    enough = len(client.acknowledged) + 50
    kit.until(lambda: len(client.acknowledged) >= enough, what=f"an answer after the kill of {after}")


def _kill_part(running: RunningBox, name: str) -> None:
    old = running.pid(name)
    os.kill(old, signal.SIGKILL)
    kit.until(
        lambda: running.is_well() and running.pid(name) != old, timeout_s=60, what=f"the return of {name}"
    )


def _kill_a_training(running: RunningBox, dice: random.Random) -> Run:
    slow = kit.tiny_project(running.project, sleep_s=60)
    with Box.open(running.home) as box, running.start("train", "--project", str(slow)) as command:
        run: Run = kit.until(
            lambda: box.runs.list(kind="train", state="running"), what="the start of the training"
        )[0]
        time.sleep(dice.uniform(0.0, 2.0))
        os.kill(run.owner.pid, signal.SIGKILL)
        out, err = command.communicate(timeout=30)
        assert command.returncode == 1, (out, err)
        assert box.models.aliases("tiny")["champion"] == 1
    return run


def _assert_ended_as_crashed(running: RunningBox, killed: Run) -> None:
    with Box.open(running.home) as box:
        assert box.runs.get(killed.id).state == "crashed"
    kit.until(
        lambda: running.ask(f"/flow_runs/{killed.flow_run_id}")["state_type"] == "CRASHED",
        what="the crash in Prefect",
    )


def _assert_no_run_is_left(home: Home) -> None:
    """The schedule may have begun one just now; that one has a process, and ends."""
    with Box.open(home) as box:
        left = box.runs.list(state="running")
        assert all(run.owner.is_alive() for run in left), left
        ids = [run.id for run in left]
        kit.until(lambda: all(box.runs.get(id_).state != "running" for id_ in ids), what="the end of a run")
        assert {run.state for run in box.runs.list(kind="train")} == {"completed", "crashed"}


def _assert_all_are_logged_once(home: Home, client: Client) -> None:
    with Box.open(home) as box:
        kit.until(lambda: box.predictions.request_rotation(), what="the end of the open segment")
        box.predictions.seal()
        logged = Counter(box.predictions.predictions("tiny")["id"].to_pylist())
    acknowledged = client.acknowledged
    assert len(set(acknowledged)) == len(acknowledged)
    missing = [id_ for id_ in acknowledged if logged[id_] == 0]
    double = [id_ for id_, times in logged.items() if times > 1]
    story = (
        f"{len(acknowledged)} acknowledged, {len(logged)} logged, {client.failures} requests failed meanwhile"
    )
    assert not missing, f"{len(missing)} missing of {story}: {missing[:5]}"
    assert not double, f"{len(double)} twice of {story}: {double[:5]}"
    assert len(acknowledged) >= 300, story
