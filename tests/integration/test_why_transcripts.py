"""What ``why`` prints, word for word, and the commands around it.

To renew a transcript after a wanted change: UPDATE_TRANSCRIPTS=1 pytest tests/integration/test_why_transcripts.py
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from monitor_case import MODEL, Case, rows

from mlops_box.cli.main import command
from mlops_box.operations.launch import DirectLauncher
from mlops_box.operations.monitor import monitor
from mlops_box.operations.why import explain

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Case, list[str]]]:
    """Shifted traffic with ground truth, an alert, a decision, a retraining."""
    case = Case(tmp_path_factory.mktemp("story"))
    case.train()
    ids = case.ask(rows(300, seed=3, shift=1.5, slope=3.0), truth=True)
    case.write(rows(800, seed=1) + rows(300, seed=3, shift=1.5, slope=3.0))
    monitor(case.box, launcher=DirectLauncher(case.box))
    yield case, ids
    case.box.close()


def subject_of(story: tuple[Case, list[str]], name: str) -> str:
    case, ids = story
    alerts = {alert.kind: alert.id for alert in case.box.alerts.list()}
    decisions = {item.state: item for item in case.box.decisions.list()}
    return {
        "alert-drift": alerts["drift"],
        "alert-quality": alerts["quality"],
        "decision-done": decisions["done"].id,
        "decision-withheld": decisions["withheld"].id,
        "version": f"{MODEL}@2",
        "run": decisions["done"].run_id or "",
        "snapshot": case.box.models.get(MODEL).snapshot_id,
        "prediction": ids[0],
    }[name]


def masked(text: str) -> str:
    """Random ids by order of appearance, digests and feature values by a mark."""
    names: dict[str, str] = {}

    def name(found: re.Match[str]) -> str:
        return names.setdefault(found[0], f"ID{len(names) + 1}")

    text = re.sub(r"\b0[0-9a-hjkmnp-tv-z]{21}\b", name, text)
    text = re.sub(r"snapshot [0-9a-f]{12}", "snapshot DIGEST", text)
    text = re.sub(r"largest difference [^)]+", "largest difference NUMBER", text)
    return re.sub(r"= -?\d+\.\d+", "= NUMBER", text)


@pytest.mark.parametrize(
    "name",
    ["alert-drift", "alert-quality", "decision-done", "decision-withheld", "version", "run", "snapshot", "prediction"],
)  # fmt: skip
def test_why_says_what_it_said(story: tuple[Case, list[str]], name: str) -> None:
    text = masked("\n".join(explain(story[0].box, subject_of(story, name)).lines)) + "\n"
    file = GOLDEN / f"why-{name}.txt"
    if os.environ.get("UPDATE_TRANSCRIPTS"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def run(case: Case, *arguments: str, code: int = 0) -> Any:
    home = str(case.box.home.root)
    result = CliRunner().invoke(command, [*arguments, "--home", home], catch_exceptions=True)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout) if "--json" in arguments else result.stdout


@pytest.mark.parametrize("name", ["alert-drift", "decision-done", "version", "run", "snapshot", "prediction"])
def test_the_command_prints_the_same_story_for_people_and_programs(
    story: tuple[Case, list[str]], name: str
) -> None:
    subject = subject_of(story, name)
    told = run(story[0], "why", subject, "--json")
    assert told["subject"] in (subject, f"{MODEL}@2")
    assert run(story[0], "why", subject).splitlines() == told["lines"]


def test_alerts_are_listed_shown_and_acknowledged(story: tuple[Case, list[str]]) -> None:
    case, _ = story
    listed = run(case, "alerts", "list", "--state", "open", "--json")
    assert {alert["kind"] for alert in listed} == {"drift", "quality"}
    assert "drift in" in run(case, "alerts", "list")
    drift = subject_of(story, "alert-drift")
    assert "what would have changed it" in run(case, "alerts", "show", drift)
    assert run(case, "alerts", "ack", drift, "--note", "known", "--json")["state"] == "acknowledged"
    assert run(case, "alerts", "show", drift, "--json")["note"] == "known"


def test_decisions_are_listed_and_only_suggestions_accepted(story: tuple[Case, list[str]]) -> None:
    case, _ = story
    states = {item["state"] for item in run(case, "decisions", "list", "--json")}
    assert states == {"done", "withheld"}
    done = subject_of(story, "decision-done")
    assert f"{MODEL}@2" in run(case, "decisions", "show", done)
    result = CliRunner().invoke(command, ["decisions", "accept", done, "--home", str(case.box.home.root)])
    assert "only a suggestion" in str(result.exception)


def test_the_monitor_command_reports_what_it_found(tmp_path: Path) -> None:
    case = Case(tmp_path, retrain='mode = "suggest"')
    case.train()
    case.ask(rows(300, seed=3, shift=1.5))
    text = run(case, "monitor", MODEL, "--direct")
    assert "volume" in text
    assert "suggested" in text
    (suggestion,) = run(case, "decisions", "list", "--json")
    accepted = run(case, "decisions", "accept", suggestion["id"], "--direct", "--json")
    assert (accepted["state"], accepted["facts"]["version"]) == ("done", f"{MODEL}@2")
    assert run(case, "monitor", "--direct", "--json")["windows"] == []
    case.box.close()
