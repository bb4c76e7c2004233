"""What can be done from the terminal can be done by a command, and the other way round."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from mlops_box_tui import keys
from mlops_box_tui.acts.act import Act, command_line

from mlops_box.cli.main import command
from mlops_box.home import Home

HOME = Home(Path("/some where/box"))

# One row that every act can read, and a form that fills every field.
ROW = SimpleNamespace(
    id="01row", model="churn", ref="churn@3", project="churn", kind="train", state="running", aliases=()
)
FORM = {"reason": "because", "note": "known", "for": "2h", "project": "/p", "snapshot": "5f5f", "decision": "01d",
        "target": "linux-arm64-cp311", "out": "churn.mbx", "break_glass": "yes", "row": "{}"}  # fmt: skip

# Commands (or whole groups) that only look.
LOOKS = {
    "status", "dashboard", "doctor", "why", "verify", "schema", "completion", "tui", "report", "requests", "ledger",
    "data", "policy backtest", "runs list", "runs show", "runs log", "models list", "models show", "models diff", "models aliases",
    "models card", "rollout list", "rollout status", "alerts list", "alerts show", "decisions list", "decisions show",
    "tokens list", "edge inspect", "edge keys show", "edge simulate", "edge targets", "edge verify",
    "edge devices list", "edge devices show", "features list", "features show", "features status", "features lineage",
    "features lookup", "features parity", "features why",
}  # fmt: skip

# Commands that change something and have no key, each with its reason.
WITHOUT_A_KEY = {
    "init": "makes a project's folder from a data file, before there is anything to look at",
    "demo": "makes a box of its own",
    "score": "reads and writes files of the user's choice, row by row: a shell completes their names",
    "feedback": "ground truth comes from programs, by id",
    "backup": "writes a folder of the user's choice; a schedule calls it",
    "models export": "writes a folder of plain files for other tools, of the user's choice",
    "alerts notify": "every monitor run does it; by hand it is for testing targets",
    "tokens create": "prints a secret once: a screen that is shared or recorded is the wrong place",
    "tokens revoke": "goes with tokens create",
    "edge keys rotate": "keys are changed with the fleet's plan at hand, not in passing",
    "edge keys revoke": "goes with edge keys rotate",
    "edge devices": "devices are enrolled and removed with their own keys at hand",
    "edge import": "reads a file that a device wrote, from wherever it was carried to",
    "edge pull": "reaches out to a device; its schedule does it",
    "features push": "values come from programs",
    "features materialize": "their schedule does it",
}


def acts() -> list[Act[Any]]:
    found = {act for _, place in keys.PLACES for act in place.__dict__.get("ACTS", ())}
    return sorted(found, key=lambda act: act.id)


def leaves(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[str]:
    if not isinstance(group, click.Group):
        yield " ".join(path)
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        yield from leaves(found, (*path, name))


def parsed(arguments: list[str]) -> str:
    """The command that a line names, all its arguments and options read as click reads them; nothing is run."""
    here: click.Command = command
    context, path, rest = None, [], list(arguments)
    while isinstance(here, click.Group):
        context = here.make_context(here.name, rest, parent=context)
        name, found, rest = here.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        path.append(str(name))
        here = found
    here.make_context(path[-1], rest, parent=context)
    return " ".join(path)


@pytest.mark.parametrize("act", acts(), ids=lambda act: act.id)
def test_every_act_shows_a_command_that_exists(act: Act[Any]) -> None:
    for kind in ("train", "check", "monitor"):
        row = SimpleNamespace(**{**vars(ROW), "kind": kind})
        assert parsed(act.cli(row, FORM)) in set(leaves(command))


@pytest.mark.parametrize("text", ["--force", "-x", "two words", "$(reboot)", "'", "[red]x[/]"])
def test_what_is_typed_stays_one_argument(text: str) -> None:
    for act in acts():
        line = act.cli(ROW, {**FORM, "reason": text, "note": text})
        for option in ("--reason", "--note"):
            if option in line:
                assert line[line.index(option) + 1] == text
        parsed(line)
        assert shlex.split(command_line(HOME, line))[1 : len(line) + 1] == line


def test_every_command_that_changes_something_has_a_key_or_a_reason() -> None:
    with_key = {parsed(act.cli(SimpleNamespace(**{**vars(ROW), "kind": kind}), FORM))
                for act in acts() for kind in ("train", "check", "monitor")}  # fmt: skip

    def within(leaf: str, names: Any) -> bool:
        return any(leaf == name or leaf.startswith(f"{name} ") for name in names)

    for leaf in leaves(command):
        places = [leaf in with_key, within(leaf, LOOKS), within(leaf, WITHOUT_A_KEY) and leaf not in with_key]
        if within(leaf, LOOKS):
            places[2] = False
        assert sum(places) == 1, f"mlops-box {leaf}: give it an act, or a reason in WITHOUT_A_KEY"


def test_an_act_of_no_danger_changes_nothing_that_cannot_be_changed_back() -> None:
    harmless = {act.id for act in acts() if act.danger == "none"}
    # Looking at data and traffic, writing a file, starting servers; the rest is undone by z.
    assert harmless == {
        "check",
        "monitor",
        "export",
        "up",
        "ack",
        "snooze",
        "unack",
        "rollout-pause",
        "rollout-resume",
    }
    assert {act.id for act in acts() if act.danger == "name"} == {"delete"}


def test_acts_have_upper_case_keys_of_their_own_in_each_view() -> None:
    # G looks: to the last row. Nothing else that is upper case does.
    assert all(act.key.isupper() and act.key != "G" and act.tooltip.endswith(".") for act in acts())
    for _, place in keys.PLACES:
        own = [act.key for act in place.__dict__.get("ACTS", ())]
        assert len(own) == len(set(own)), place
