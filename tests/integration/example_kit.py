"""An example copied away, with a home of its own and everything that its README does in it."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
DATA = REPOSITORY.parent / "shared" / "data"


def public(name: str) -> Path:
    """A file of the public data sets that lie beside the checkout."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the public data set is not here: ../shared/data/{name}")
    return path


class Example:
    """A copy of an example with a home of its own."""

    def __init__(self, name: str, place: Path):
        self.folder = place / name
        self.home = place / "home"
        shutil.copytree(
            REPOSITORY / "examples" / name, self.folder, ignore=shutil.ignore_patterns("data", "__pycache__")
        )
        (self.folder / "data").mkdir()

    def python(self, *arguments: str, code: int = 0, limit_s: float = 240) -> str:
        """Run python in the example's folder, with its home; returns standard output."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=environment | {"MLOPS_BOX_HOME": str(self.home)},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit_s, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout

    def box(self, *arguments: str, code: int = 0) -> Any:
        """The JSON of one mlops-box command."""
        return json.loads(self.python("-m", "mlops_box", *arguments, "--json", code=code))

    def post(self, model: str, door: str, body: dict[str, Any]) -> dict[str, Any]:
        """Over real HTTP, as an application does."""
        endpoint = self.box("status")["endpoint"]
        request = urllib.request.Request(
            f"{endpoint}/models/{model}/{door}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            parsed: dict[str, Any] = json.load(answer)
        return parsed

    def champion(self, model: str) -> str:
        return f"{model}@{self.box('models', 'aliases', model)['champion']}"

    def screen(self, view: str) -> set[str]:
        """The texts that a view of the terminal screen shows."""
        self.python("-m", "mlops_box", "tui", "--view", view, "--screenshot", "screen.svg")
        drawn = re.findall(
            r"<text[^>]*>([^<]*)</text>", (self.folder / "screen.svg").read_text(encoding="utf-8")
        )
        return {html.unescape(text).strip() for text in drawn}

    def goes_down(self) -> None:
        """Down, without a trace and with everything in order."""
        self.box("down")
        assert self.box("status", code=6)["phase"] == "down"
        assert self.box("verify")["problems"] == []


def until(question: Callable[[], Any], *, what: str, limit_s: float = 120) -> Any:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if answer := question():
            return answer
        time.sleep(1)
    raise AssertionError(f"still no {what} after {limit_s:.0f} s")
