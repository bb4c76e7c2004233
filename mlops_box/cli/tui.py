"""``mlops-box tui``: starts the terminal screen, a face of its own, by its module name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box
from mlops_box.errors import UsageError


@click.command(short_help="Open the terminal screen.")
@home_option
@click.option(
    "--view", default="home", show_default=True, help="The first view: home, runs, models, serving ..."
)
@click.option(
    "--theme", default="dark", show_default=True, help="dark, light, or the name of a Textual theme."
)
@click.option("--ascii", "ascii_only", is_flag=True, help="Draw with ASCII alone, for serial consoles.")
@click.option("--readonly", is_flag=True, help="Grey all keys that act, and say why.")
@click.option(
    "--screenshot", type=click.Path(path_type=Path, dir_okay=False), help="Write the view as SVG and leave."
)
@click.option("--size", default="120x36", show_default=True, help="Columns x rows of the screenshot.")
@click.option("--press", default="", help="Keys to press before the screenshot, with commas between.")
@click.option(
    "--web", is_flag=True, help="Serve the screen to browsers of this machine, read-only, until Ctrl+C."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8421,
    show_default=True,
    help="Of --web; 0 for a free one.",
)
@click.option("--act", is_flag=True, help="With --web: let the keys act in the browser too.")
@json_option
def command(
    home: Path | None, view: str, theme: str, ascii_only: bool, readonly: bool, screenshot: Path | None,
    size: str, press: str, web: bool, port: int, act: bool, as_json: bool,
) -> int:  # fmt: skip
    """Open the terminal screen.

    Live runs, models, serving, drift, alerts, decisions and data; ? lists the keys. It reads box.db and works while
    the servers are down. With --web it prints an address for the browser; it listens on 127.0.0.1 alone, so that
    from another machine one comes by ssh -L 8421:127.0.0.1:8421 THIS-MACHINE.
    """
    if web and screenshot is not None:
        raise UsageError("--web serves, --screenshot writes a file: one of them")
    if act and (readonly or not web):
        raise UsageError("--act lets the keys of --web act, and --readonly forbids it: one of them")
    if as_json and screenshot is None and not web:
        raise UsageError("a screen has no JSON", hint="mlops-box status --json")
    program = [sys.executable, "-m", "mlops_box_tui", "--view", view, "--theme", theme, "--size", size]
    program += [f"--press={press}", *["--ascii"] * ascii_only, *["--readonly"] * readonly]
    program += [*["--web", "--port", str(port)] * web, *["--act"] * act, *["--json"] * (web and as_json)]
    if web or (screenshot is None and sys.stdin.isatty() and sys.stdout.isatty()):
        # The screen takes this process's place: its memory, its signals, and no second look at the box.
        os.execv(sys.executable, [*program, *(["--home", str(home)] if home is not None else [])])
    with open_box(home, read_only=True) as box:
        program += ["--home", str(box.home.root)]
    if screenshot is not None:
        program += ["--screenshot", str(screenshot)]
    code = subprocess.run(program, check=False).returncode
    if code == 0 and screenshot is not None:
        facts = {"file": str(screenshot), "view": view, "size": size}
        emit(facts, as_json=as_json, text=f"wrote {screenshot}")
    return code
