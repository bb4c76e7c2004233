"""``mlops-box``: one command a module, imported only when it is called."""

from __future__ import annotations

import errno
import importlib
import os
import sys

import click

from mlops_box import __version__
from mlops_box.errors import BoxError, ExitCode, StorageError, UsageError
from mlops_box.program import show_error

# name -> (module under mlops_box.cli, one line of help). The help stands here so that `--help` imports nothing else;
# a test holds it equal to the command's own.
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init", "Make a project from a data file."),
    "check": ("check", "Check a project's data against its contract and mint a snapshot."),
    "train": ("train", "Train, evaluate, gate and register a model version."),
    "up": ("up", "Start the scheduler, the runner and the inference server."),
    "down": ("down", "Stop what `up` started."),
    "status": ("status", "Show what runs, what serves and what is wrong."),
    "predict": ("predict", "Predict rows with a model."),
    "score": ("score", "Predict a whole file with a model."),
    "requests": ("requests", "The newest answered requests, from the prediction log."),
    "feedback": ("feedback", "Send ground truth for earlier predictions."),
    "monitor": ("monitor", "Compare live traffic with the reference, alert, decide."),
    "tui": ("tui", "Open the terminal screen."),
    "demo": ("demo", "See the whole loop in a throw-away box."),
    "dashboard": ("dashboard", "Print a Grafana dashboard or Prometheus alert rules."),
    "doctor": ("doctor", "Check the installation and say how to mend it."),
    "why": ("why", "Explain an alert, a model version, a decision, a run or a prediction."),
    "verify": ("verify", "Verify the ledger, the database and every stored object."),
    "backup": ("backup", "Copy the whole box, consistently, while it runs."),
    "data": ("data", "Snapshots, refusals and quarantine."),
    "runs": ("runs", "Runs and their steps."),
    "models": ("models", "Model versions, aliases, gates and cards."),
    "features": ("features", "Features: what is known of entities, and since when."),
    "rollout": ("rollout", "How a new version takes over: look, hold, skip, end."),
    "rollback": ("rollback", "Put the previous champion back."),
    "report": ("report", "Write a model's life over time as one HTML page."),
    "edge": ("edge", "Signed bundles that carry a model to a device."),
    "alerts": ("alerts", "Alerts: list, show, acknowledge."),
    "decisions": ("decisions", "What the policy decided; accept a suggestion or decline it."),
    "policy": ("policy", "The retraining policy: replay it over stored history."),
    "ledger": ("ledger", "The record of every act."),
    "tokens": ("tokens", "Who may call the server from elsewhere."),
    "schema": ("schema", "Print the JSON Schema of mlops.toml."),
    "completion": ("completion", "Print the shell completion script."),
}


_STORAGE_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class LazyGroup(click.Group):
    """Commands from :data:`COMMANDS`; each module offers one click command called ``command``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"mlops_box.cli.{COMMANDS[cmd_name][0]}")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name not in COMMANDS and not name.startswith("-"):
            import difflib

            near = difflib.get_close_matches(name, COMMANDS, n=1)
            raise click.UsageError(
                f"No such command {name!r}." + (f" Did you mean {near[0]!r}?" if near else ""), ctx
            )
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mlops-box")
def command() -> None:
    """From a data file and a training function to a model that is checked, trained, gated, served, watched,
    retrained, rolled back and shipped. On one machine.

    \b
    Exit codes: 0 done, 1 unexpected failure, 2 bad input, 3 data refused by its contract, 4 model rejected by a gate,
    5 busy, 6 a server does not answer, 7 stored data damaged, 8 storage full or read-only, 130 interrupted.
    """


def main(arguments: list[str] | None = None) -> None:
    """Entry point: maps every error to its exit code; a person never sees a traceback for bad input."""
    arguments = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in arguments
    try:
        result = command.main(args=arguments, prog_name="mlops-box", standalone_mode=False)
        sys.exit(result if isinstance(result, int) else ExitCode.OK)
    except BoxError as error:
        show_error(error.to_dict(), as_json=as_json)
        sys.exit(error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(ExitCode.USAGE)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        wrong = UsageError(
            error.format_message(), hint=f"{context.command_path if context else 'mlops-box'} --help"
        )
        show_error(wrong.to_dict(), as_json=as_json)
        sys.exit(wrong.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read us has what it wanted (`| head`); Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.OK)
    except OSError as error:
        if error.errno not in _STORAGE_ERRNOS:
            raise
        problem = StorageError(f"{error.filename or 'the disk'}: {error.strerror}", hint="free some space")
        show_error(problem.to_dict(), as_json=as_json)
        sys.exit(problem.exit_code)
