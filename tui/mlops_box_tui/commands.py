"""What may be typed behind ``:``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mlops_box.errors import UsageError

# Other words for views, and the commands that show one thing.
ALIASES = {
    "pulse": "home",
    "run": "run",
    "model": "model",
    "alert": "alert",
    "decision": "decision",
    "rollout": "rollout",
    "q": "quit",
    "log": "history",
}
SHOWS = ("run", "model", "alert", "decision", "rollout")


@dataclass(frozen=True)
class Command:
    """``verb`` is ``view``, ``show``, ``theme``, ``help``, ``history``, ``host``, ``pause``, ``sql`` or ``quit``; ``what`` says which."""

    verb: str
    what: str = ""
    rest: str = ""


def parse_command(typed: str, views: Iterable[str]) -> Command:
    """Read a command.

    Raises:
        UsageError: There is no such command, or it lacks a name.
    """
    word, _, rest = typed.strip().partition(" ")
    word, rest = word.lower(), rest.strip()
    word = ALIASES.get(word, word)
    if word in ("quit", "exit"):
        return Command("quit")
    if word in ("help", "history", "host", "pause"):
        return Command(word)
    if word == "sql":
        return Command("sql", rest)
    if word == "theme":
        return Command("theme", rest or "dark")
    if word in SHOWS:
        if not rest:
            raise UsageError(f":{word} needs a name", hint=f":{word} NAME")
        return Command("show", word, rest)
    if word in views:
        return Command("view", word, rest)
    raise UsageError(f"no command :{word}", hint="? lists them")


def completions(
    views: Iterable[str], states: Mapping[str, Iterable[str]], models: Iterable[str]
) -> list[str]:
    """Words to complete from, most wanted first."""
    found = list(views)
    for view, words in states.items():
        found += [f"{view} {word}" for word in words]
    found += [f"model {model}" for model in models]
    return [
        *found,
        "help",
        "history",
        "host",
        "pause",
        "sql ",
        "theme light",
        "theme dark",
        "quit",
        "run ",
        "alert ",
        "decision ",
        "rollout ",
    ]
