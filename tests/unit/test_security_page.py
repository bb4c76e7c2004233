"""docs/security.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import click
from mlops_box_services.bounded_http import ConnectionBounds
from mlops_box_services.exchange import BODY_TIMEOUT_S
from mlops_box_services.server import KEEP_ALIVE_S

from mlops_box.cli.main import command
from mlops_box.serving.access import HOSTS_VARIABLE, MAX_CONNECTIONS, TOKEN_VARIABLE
from mlops_box.serving.authorization import FAILURES_AT_ONCE, FAILURES_PER_S
from mlops_box.serving.door import DEFAULT_MAX_ROWS
from mlops_box.serving.guard import MAX_BODY_BYTES

PAGE = (Path(__file__).parents[2] / "docs/security.md").read_text()


def test_the_limits_are_those_of_the_code() -> None:
    bounds = ConnectionBounds()
    for text in (
        f"{MAX_BODY_BYTES >> 20} MiB, announced or not",
        f"`max_rows` under `[serve]`, {DEFAULT_MAX_ROWS}",
        f"{bounds.head_bytes >> 10} KiB, {bounds.headers} headers",
        f"{bounds.framing_bytes >> 20} MiB | 400",
        f"head is there | {bounds.head_s:.0f} s",
        f"body is there | {BODY_TIMEOUT_S:.0f} s, then {bounds.message_s:.0f} s",
        f"is read | {bounds.write_s:.0f} s",
        f"{KEEP_ALIVE_S} s; {bounds.pressed_idle_s:.0f} s while",
        f"{MAX_CONNECTIONS} a process",
        f"beyond {FAILURES_PER_S:.0f} a second (after the first {FAILURES_AT_ONCE:.0f})",
        f"{HOSTS_VARIABLE}=box.local",
        f"{TOKEN_VARIABLE}=1",
    ):
        assert text in PAGE, text
    assert bounds.message_s > BODY_TIMEOUT_S


def test_every_command_on_the_page_can_be_typed() -> None:
    lines = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
    assert len(lines) >= 6
    for line in lines:
        program, *words = line.split()
        assert program == "mlops-box"
        context = click.Context(command, info_name=program)
        found: click.Command = command
        while isinstance(found, click.Group):
            below = found.get_command(context, words.pop(0))
            assert below is not None, line
            found = below
        found.make_context(line, words)
