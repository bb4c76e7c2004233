"""Make the pages under docs/ that are read off the code; ``just docs`` runs it, a test holds them current.

Usage: python docs/make.py [--check]
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from mlops_box import errors
from mlops_box.cli.main import command
from mlops_box.errors import BoxError, ExitCode
from mlops_box.operations.dashboard import alert_rules_text, dashboard_json
from mlops_box.project import json_schema
from mlops_box.serving import metric_table, problems

DOCS = Path(__file__).parent

MEANINGS = {
    ExitCode.OK: "done",
    ExitCode.UNEXPECTED: "an unexpected failure: a bug; please report it with the traceback",
    ExitCode.USAGE: "what was asked for cannot be done as asked: wrong input, file, name or option",
    ExitCode.REFUSED: "the data broke its contract; nothing was published",
    ExitCode.GATE: "the model failed a gate; its version is kept as rejected",
    ExitCode.BUSY: "somebody else holds what is needed: a port, a lock, a running box",
    ExitCode.UNAVAILABLE: "a server or process does not answer",
    ExitCode.INTEGRITY: "stored data, the ledger or the database are not what they were",
    ExitCode.STORAGE: "the disk is full, read-only or out of quota",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C)",
}


def cli_page() -> str:
    """Every command with its ``--help``, at a fixed width."""
    parts = [
        "# The command line\n",
        "Made from the program itself by `just docs`. Every command that prints facts takes `--json`; standard output "
        "carries the answer, standard error the talk. Exit codes: [exit-codes.md](exit-codes.md).\n",
        *(_section(context) for context in _walk(_context(command, "mlops-box", None))),
    ]
    return "\n".join(parts)


def _context(found: click.Command, name: str, parent: click.Context | None) -> click.Context:
    # A command's own settings, and its parent's, as when it is run: click keeps the first help option that it made.
    return click.Context(
        found,
        info_name=name,
        parent=parent,
        terminal_width=100,
        max_content_width=100,
        **found.context_settings,
    )


def _walk(context: click.Context) -> Iterator[click.Context]:
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            below = context.command.get_command(context, name)
            assert below is not None
            yield from _walk(_context(below, name, context))


def _section(context: click.Context) -> str:
    depth = max(2, context.command_path.count(" ") + 1)
    text = "\n".join(line.rstrip() for line in context.command.get_help(context).splitlines())
    return f"{'#' * depth} {context.command_path}\n\n```text\n{text}\n```\n"


def exit_code_page() -> str:
    """The exit codes and the errors that lead to each."""
    lines = [
        "# Exit codes\n",
        "Scripts may rely on these numbers and on the `code` of an error. With `--json` an error is one object on standard "
        'output: `{"error": {"code", "message", "hint", "details"}}`. The inference server uses the same codes in its '
        "answers.\n",
        "| exit | meaning | `code` |",
        "| ---: | --- | --- |",
    ]
    kinds = {
        kind: None
        for module in (errors, problems)
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, BoxError)
    }
    for code in ExitCode:
        names = [f"`{kind.code}`" for kind in kinds if kind.exit_code is code and kind is not BoxError]
        lines.append(f"| {int(code)} | {MEANINGS[code]} | {', '.join(names)} |")
    return "\n".join(lines) + "\n"


def schema_page() -> str:
    """The JSON Schema of mlops.toml."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def metrics_page() -> str:
    """Every metric under /metrics."""
    lines = [
        "# Metrics\n",
        "What the inference server tells under `/metrics`, made from the code by `just docs`. What to look at: "
        "[operations.md](operations.md).\n",
        "| metric | kind | labels | what it says |",
        "| --- | --- | --- | --- |",
        *(
            f"| `{metric.sample}` | {metric.kind} | {', '.join(metric.labels)} | {metric.help} |"
            for metric in metric_table.TABLE
        ),
    ]
    return "\n".join(lines) + "\n"


def dashboard_page() -> str:
    """The Grafana dashboard."""
    return json.dumps(dashboard_json(), indent=2) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": cli_page,
    "exit-codes.md": exit_code_page,
    "mlops.schema.json": schema_page,
    "metrics.md": metrics_page,
    "grafana/mlops-box.json": dashboard_page,
    "grafana/alerts.yml": alert_rules_text,
}


def stale() -> list[str]:
    """Pages that are not what the code says now."""
    return [
        name
        for name, make in PAGES.items()
        if not (DOCS / name).exists() or (DOCS / name).read_text(encoding="utf-8") != make()
    ]


def main() -> None:
    if "--check" in sys.argv[1:]:
        if found := stale():
            sys.exit(f"not current: {', '.join(found)}; run `just docs`")
        return
    for name in stale():
        (DOCS / name).write_text(PAGES[name](), encoding="utf-8")
        sys.stdout.write(f"docs/{name}\n")


if __name__ == "__main__":
    main()
