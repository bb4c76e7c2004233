"""The demo as a story of chapters; every chapter runs real commands against a real box."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import click

from mlops_box.cli import demo_data
from mlops_box.errors import BoxError, ExitCode, UnavailableError

MODEL = "biopsies"
MONITORING = """
[monitor]
window = "1h"
min_rows = 100
false_alarms = "2/day"   # so impatient that one drifted window acts; the default, 1/month, takes two of three

[retrain]
mode = "auto"            # off | suggest | auto
on = ["drift", "quality"]
cooldown = "0s"
"""


class Story:
    """Tells and does. Talk goes to standard output unless ``as_json``, which prints only the facts at the end."""

    def __init__(self, folder: Path, *, as_json: bool):
        self.home = folder / "home"
        self.project = folder / MODEL
        self.as_json = as_json
        self.started = time.monotonic()
        self.facts: dict[str, Any] = {}
        self._chapter = 0

    def say(self, text: str = "") -> None:
        if not self.as_json:
            click.echo(text)

    def chapter(self, title: str) -> None:
        self._chapter += 1
        self.say()
        self.say(
            click.style(f"{self._chapter}  {title}", bold=True, fg="cyan")
            + f"  [{time.monotonic() - self.started:.0f}s]"
        )

    def working(self, what: str) -> contextlib.AbstractContextManager[Any]:
        """A moving sign while something takes its time; nothing where nobody looks."""
        if self.as_json or not sys.stderr.isatty():
            return contextlib.nullcontext()
        from rich.console import Console

        return Console(stderr=True).status(f"{what} …")

    def run(self, *arguments: str, expect: int = 0, shown: int = 12) -> str:
        """Run ``mlops-box …`` in the project, show the command and the beginning of what it printed.

        Raises:
            BoxError: Another exit code than expected: the demo shows the whole output, it never pretends.
        """
        self.say(click.style(f"   $ mlops-box {shlex.join(arguments)}", fg="green"))
        where = self.project if self.project.exists() else self.project.parent
        environment = {**os.environ, "MLOPS_BOX_HOME": str(self.home), "NO_COLOR": "1", "COLUMNS": "110"}
        with self.working(arguments[0]):
            done = subprocess.run(
                [sys.executable, "-m", "mlops_box", *arguments],
                cwd=where, env=environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
        if done.returncode != expect:
            raise BoxError(
                f"mlops-box {shlex.join(arguments)} ended with {done.returncode}, not {expect}:\n{done.stdout}{done.stderr}",
                hint="mlops-box doctor checks the installation",
            )
        lines = [
            line for line in (done.stdout + (done.stderr if expect else "")).splitlines() if line.strip()
        ]
        for line in lines[:shown]:
            self.say(f"     {line}")
        if len(lines) > shown:
            self.say(f"     … {len(lines) - shown} more lines")
        if expect:
            self.say(click.style(f"     exit code {done.returncode}", dim=True))
        return done.stdout


def tell(folder: Path, *, keep: bool, as_json: bool) -> None:
    """The whole story in ``folder``; stops what it started whatever happens."""
    folder.mkdir(parents=True, exist_ok=True)
    story = Story(folder, as_json=as_json)
    story.say(
        click.style("mlops-box demo", bold=True) + ": from a data file to a model that looks after itself."
    )
    try:
        _chapters(story)
    finally:
        _stop(story)
    story.facts["seconds"] = round(time.monotonic() - story.started, 1)
    if as_json:
        click.echo(json.dumps({**story.facts, "home": str(story.home) if keep else None}))
        return
    _farewell(story, keep=keep)


def _chapters(story: Story) -> None:
    data = demo_data.load()
    source = story.project.parent / "biopsies.csv"
    demo_data.write_csv(source, data.history)

    story.chapter(f"A data file becomes a project: {len(data.history)} biopsies, 10 measurements each")
    story.run("init", MODEL, "--from", source.name, "--target", demo_data.TARGET, shown=8)
    _declare_auto(story.project / "mlops.toml")

    story.chapter("A broken export is refused at the door, with reasons, and leaves nothing behind")
    demo_data.write_csv(source, demo_data.dirty(data.history))
    story.run("check", expect=ExitCode.REFUSED, shown=14)
    story.facts["refused_exit_code"] = int(ExitCode.REFUSED)

    story.chapter("The clean file becomes a snapshot: same data, same id, for ever")
    demo_data.write_csv(source, data.history)
    story.run("check", shown=6)

    story.chapter("The box starts: scheduler, runner, inference server, all on 127.0.0.1")
    story.run("up", "--detach", "--port", "0", shown=6)
    endpoint = _endpoint(story)

    story.chapter("Train, evaluate, gate, register; what passes is served")
    story.run("train", shown=18)
    _wait_until_served(endpoint, f"{MODEL}@1")

    story.chapter("An application asks over HTTP; later it sends what turned out to be true")
    answered = _send(story, endpoint, data.usual)
    story.say(
        f"     {len(data.usual)} rows → {answered['model']}, first ids {', '.join(answered['ids'][:2])}, accuracy {answered['accuracy']:.3f}"
    )
    story.run("monitor", MODEL, shown=8)

    story.chapter("Somebody re-sets the microscope: everything looks a third larger")
    shifted = _send(story, endpoint, data.shifted)
    story.say(
        f"     {len(data.shifted)} rows → {shifted['model']}, accuracy {shifted['accuracy']:.3f} (it was {answered['accuracy']:.3f})"
    )
    demo_data.write_csv(source, data.history + data.shifted)
    story.facts |= {"accuracy_usual": answered["accuracy"], "accuracy_shifted": shifted["accuracy"]}

    story.chapter("The monitor notices, the policy decides, the scheduler retrains, the gates judge")
    story.run("monitor", MODEL, shown=14)
    with story.working("retraining"):
        new = _wait_for_new_champion(story, endpoint)
    again = _send(story, endpoint, data.later)
    story.say(
        f"     champion is now {new}; {len(data.later)} rows of biopsies nobody saw before → {again['model']}, "
        f"accuracy {again['accuracy']:.3f}"
    )
    story.facts |= {"champion": new, "accuracy_after": again["accuracy"]}

    story.chapter("Why?")
    story.run("alerts", "list", shown=8)
    story.run("why", new, shown=24)
    story.run("verify", shown=4)


def _declare_auto(file: Path) -> None:
    """Do what a person would do in an editor: set how it is watched and that it may retrain by itself."""
    text = file.read_text(encoding="utf-8")
    for table in ("monitor", "retrain"):
        text = re.sub(rf"(?ms)^\[{table}\]\n.*?(?=^\[|\Z)", "", text)
    file.write_text(text.rstrip() + "\n" + MONITORING, encoding="utf-8")


def _endpoint(story: Story) -> str:
    from mlops_box.home import Home
    from mlops_box.serving.address import ServerAddress

    address = ServerAddress.read(Home(story.home).run)
    if address is None:
        raise UnavailableError(
            "the inference server did not come up", hint=f"see the logs in {story.home / 'logs'}"
        )
    return address.url


def _send(story: Story, endpoint: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Predict rows, send their truth; returns the answer with ``accuracy`` added."""
    questions = [{name: value for name, value in row.items() if name != demo_data.TARGET} for row in rows]
    story.say(click.style(f"   POST {endpoint}/models/{MODEL}/predict", fg="green"))
    answer = _post(f"{endpoint}/models/{MODEL}/predict", {"rows": questions})
    truths = [row[demo_data.TARGET] for row in rows]
    right = sum(predicted == truth for predicted, truth in zip(answer["predictions"], truths, strict=True))
    feedback = [{"id": key, "value": truth} for key, truth in zip(answer["ids"], truths, strict=True)]
    _post(f"{endpoint}/models/{MODEL}/feedback", {"truth": feedback})
    return {**answer, "accuracy": right / len(rows)}


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        parsed: dict[str, Any] = json.load(answer)
    return parsed


def _served(endpoint: str) -> list[str]:
    with urllib.request.urlopen(f"{endpoint}/models", timeout=5) as answer:
        return [f"{item['model']}@{item['serving']}" for item in json.load(answer)["models"]]


def _wait_until_served(endpoint: str, ref: str, *, limit_s: float = 10) -> None:
    deadline = time.monotonic() + limit_s
    while ref not in _served(endpoint):
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"the server did not take up {ref} within {limit_s:.0f}s", hint="mlops-box status"
            )
        time.sleep(0.1)


def _wait_for_new_champion(story: Story, endpoint: str, *, limit_s: float = 90) -> str:
    """Until the policy's retraining ended and its version answers."""
    from mlops_box.box import Box

    deadline = time.monotonic() + limit_s
    with Box.open(story.home, read_only=True) as box:
        while time.monotonic() < deadline:
            champion = box.models.get(MODEL)
            under_way = [item for item in box.decisions.list() if item.state in ("pending", "issued")]
            if champion.number > 1 and not under_way:
                _wait_until_served(endpoint, champion.ref)
                return champion.ref
            time.sleep(0.25)
        states = [f"{run.kind} {run.id}: {run.state} {run.error or ''}" for run in box.runs.list(limit=3)]
    raise UnavailableError("no new champion came: " + "; ".join(states), hint=f"see {story.home / 'logs'}")


def _stop(story: Story) -> None:
    if not (story.home / "box.db").exists():
        return
    subprocess.run(
        [sys.executable, "-m", "mlops_box", "down"],
        env={**os.environ, "MLOPS_BOX_HOME": str(story.home)}, capture_output=True, timeout=60, check=False,
    )  # fmt: skip


def _farewell(story: Story, *, keep: bool) -> None:
    story.say()
    story.say(click.style(f"That was the whole loop, in {story.facts['seconds']:.0f} seconds.", bold=True))
    if keep:
        story.say(f"It is kept. Look around:\n   export MLOPS_BOX_HOME={story.home}\n   cd {story.project}")
        story.say("   mlops-box up --detach && mlops-box tui")
    else:
        story.say("The demo's box is gone again (mlops-box demo --keep keeps it). Now yours:")
        story.say("   mlops-box init NAME --from FILE --target COLUMN")
        story.say("   cd NAME && mlops-box check && mlops-box train && mlops-box up")
