"""How a program of ours meets an error: one text for people, one JSON shape for programs, one exit code."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from mlops_box.errors import BoxError, ExitCode


def show_error(body: dict[str, Any], *, as_json: bool) -> None:
    """Print an error's ``to_dict()``: JSON to standard output, or two lines for a person to standard error."""
    if as_json:
        click.echo(json.dumps(body, default=str))
        return
    error = body["error"]
    click.echo(click.style("error: ", fg="red", bold=True) + str(error["message"]), err=True)
    if error["hint"]:
        click.echo(click.style("  try: ", bold=True) + str(error["hint"]), err=True)


def run_program(command: click.Command) -> None:
    """Run the command of a program that the supervisor started: errors go to its log, a line of JSON each."""
    try:
        command.main(standalone_mode=False)
    except BoxError as error:
        sys.stderr.write(json.dumps(error.to_dict()) + "\n")
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(ExitCode.USAGE)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
