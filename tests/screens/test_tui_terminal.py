"""The whole loop from one screen: the real program in a terminal, against a live box, by keys alone."""

from __future__ import annotations

import contextlib
import json
import random
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.terminal import Terminal, terminal
from mlops_box.box import Box
from mlops_box.home import Home
from mlops_box.operations.train import train
from mlops_box.project import load_project
from mlops_box.serving.address import ServerAddress

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from box_kit import RunningBox
from flow_kit import tiny_project

WATCHED = """
[monitor]
window = "1h"
min_rows = 100
false_alarms = "2/day"

[retrain]
mode = "suggest"
on = ["drift"]
cooldown = "0s"

[serve.rollout]
shadow = "1s"
canary = [50]
step = "1s"
min_requests = 20
cooldown = "0s"
"""


QUESTION = "y yes +n no|enter do it +esc no"


class Traffic:
    """An application that asks for one row after another, of the upper end of the range."""

    def __init__(self, url: str):
        self._url = f"{url}/models/tiny/predict"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go)

    def ask(self, rows: list[dict[str, float]]) -> Any:
        body = json.dumps({"rows": rows}).encode()
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def _go(self) -> None:
        chance = random.Random(7)
        while not self._over.wait(0.02):
            with contextlib.suppress(OSError):
                self.ask([{"x": chance.uniform(0.8, 1.0)}])

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningBox]:
    """A server that answers with ``tiny@1``."""
    home, project = Home(tmp_path / "box"), tiny_project(tmp_path / "tiny")
    declaration = project / "mlops.toml"
    declaration.write_text(declaration.read_text().replace("[schedule]", WATCHED + "\n[schedule]"))
    with Box.open(home, actor="ana") as box:
        train(box, load_project(project))
    live = RunningBox(home, project)
    code, body = live.command("up", "--detach", "--no-scheduler", "--no-grpc", "--port", str(live.port))
    assert code == 0, body
    yield live
    live.command("down")


def answer(screen: Terminal, key: str, *shown: str) -> None:
    """Once the question shows all that, answer it; what is typed next meets the view again."""
    screen.wait_for(QUESTION, *shown)
    screen.press(key)
    screen.wait_until_gone(QUESTION)


def say_why(screen: Terminal, why: str) -> None:
    """Fill in the reason and say yes."""
    screen.wait_for(QUESTION)
    screen.press(*why, "enter")
    answer(screen, "y", rf"--reason '?{why}")


@pytest.mark.slow
def test_the_whole_loop_from_one_screen(running: RunningBox) -> None:
    address = ServerAddress.read(running.home.run)
    assert address is not None
    with terminal(running.home.root, "--view", "runs") as screen, Traffic(address.url) as traffic:
        # Train a second version; it has to earn its place by a rollout.
        screen.wait_for("train +tiny +✓ ok", "serving up")
        screen.press("T")
        answer(screen, "y", "takes over from tiny@1 by a rollout", "mlops-box train --project")
        screen.wait_for("2 +train|runs +2")
        screen.press("3")
        screen.wait_for("models +1", "v2 accepted")
        # No patience: it is promoted.
        screen.press("enter")
        screen.wait_for("models › tiny", "v2 +✓ accepted")
        screen.press("P")
        screen.wait_for("champion of tiny: v1 -> v2|tiny@2 is the champion")
        say_why(screen, "no patience")
        screen.wait_for("v2 +✓ accepted +champion")
        # Traffic has moved to one end of the range: monitoring finds drift, and suggests.
        traffic.ask([{"x": 0.8 + place / 1000} for place in range(200)])
        screen.press("6")
        screen.wait_for("No alerts")
        screen.press("M")
        answer(screen, "enter", "mlops-box monitor")
        screen.wait_for("! warning|✗ error", "tiny@2", "1 to decide")
        screen.press("R")
        answer(screen, "y", "mlops-box decisions accept")
        # The new version comes in by a rollout, which live traffic carries through.
        screen.press("3")
        screen.wait_for("models › tiny|models +1")
        screen.press("enter")
        screen.wait_for("v3 +✓ accepted")
        screen.wait_for("v3 +✓ accepted +champion")
        screen.press("B")
        screen.wait_for("champion of tiny: v3 -> v2")
        say_why(screen, "not convinced")
        screen.wait_for("v2 +✓ accepted +champion")
        screen.press(":", *"history", "enter")
        screen.wait_for(
            "mlops-box train --project", "mlops-box models promote tiny@2", "mlops-box rollback tiny"
        )
        screen.press("q", "q", "q")
        assert screen.process.wait(timeout=60) == 0
    with Box.open(running.home, read_only=True) as box:
        assert box.models.champion_ref("tiny") == "tiny@2"
        acts = [entry.act for entry in box.ledger.walk()]
        assert acts.index("decision.pending") < acts.index("model.roll_back")
        assert [one.state for one in box.decisions.list(model="tiny")] == ["done"]
