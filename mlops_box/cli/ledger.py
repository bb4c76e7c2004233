"""``mlops-box ledger``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box, table


@click.group("ledger", short_help="The record of every act.")
def command() -> None:
    """The record of every act: hash-chained, append-only, verified by `mlops-box verify`."""


@command.command("list", short_help="The newest acts.")
@click.option("--subject", help="Only acts on this subject, for example run:ID or model:NAME.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=30, show_default=True)
@home_option
@json_option
def list_command(subject: str | None, limit: int, home: Path | None, as_json: bool) -> None:
    """The newest acts, newest first."""
    with open_box(home, read_only=True) as box:
        entries = box.ledger.entries(subject=subject, limit=limit)
    emit(
        [entry.to_dict() for entry in entries],
        as_json=as_json,
        text=lambda: table(
            ["SEQ", "AT", "ACTOR", "ACT", "SUBJECT"],
            [(one.seq, one.to_dict()["at"], one.actor, one.act, one.subject) for one in entries],
            empty="nothing has been done in this box yet; begin with mlops-box check",
        ),
    )


@command.command("show", short_help="One act with its facts.")
@click.argument("seq", type=click.IntRange(1))
@home_option
@json_option
def show(seq: int, home: Path | None, as_json: bool) -> None:
    """One act with its facts and its place in the chain."""
    with open_box(home, read_only=True) as box:
        entry = box.ledger.get(seq).to_dict()
    emit(entry, as_json=as_json, text=lambda: _story(entry))


@command.command("head", short_help="The number and hash of the newest act.")
@home_option
@json_option
def head(home: Path | None, as_json: bool) -> None:
    """The number and hash of the newest act.

    Note it elsewhere: `mlops-box verify --head SEQ:HASH` then shows whether entries were cut off since.
    """
    with open_box(home, read_only=True) as box:
        seq, digest = box.ledger.head()
    emit({"seq": seq, "hash": digest}, as_json=as_json, text=f"{seq}:{digest}")


@command.command("export", short_help="The whole ledger as JSON lines.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="A file instead of standard output."
)
@home_option
@json_option
def export(out: Path | None, home: Path | None, as_json: bool) -> None:
    """The whole ledger as JSON lines, oldest first, with everything that is needed to check the chain elsewhere.

    Standard output carries the lines themselves; with --out they go to a new file, and --json reports on it.
    """
    with open_box(home, read_only=True) as box:
        lines = (
            json.dumps(entry.to_dict(), ensure_ascii=False, sort_keys=True) for entry in box.ledger.walk()
        )
        if out is None:
            for line in lines:
                click.echo(line)
            return
        count = _write(out, "".join(f"{line}\n" for line in lines))
    emit({"file": str(out), "entries": count}, as_json=as_json, text=f"{count} entries written to {out}")


def _write(out: Path, text: str) -> int:
    from mlops_box.errors import StorageError, UsageError

    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{out} exists already", hint="name another file") from None
    except OSError as error:
        raise StorageError(
            f"cannot write {out}: {error.strerror or error}", hint="name another file"
        ) from error
    return text.count("\n")


def _story(entry: dict[str, Any]) -> str:
    lines = [
        f"{name:<8} {_printable(entry[name])}"
        for name in ("seq", "at", "actor", "act", "subject", "prev", "hash")
    ]
    facts = json.dumps(entry["facts"], indent=2, ensure_ascii=True)
    return "\n".join([*lines, "facts", facts])


def _printable(value: object) -> str:
    return "".join(character if character.isprintable() else "�" for character in str(value))
