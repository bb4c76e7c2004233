"""What may be typed behind ``:``. One table: what is understood, completed and listed by the help comes from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mlops_box.errors import UsageError


@dataclass(frozen=True)
class Word:
    """A word that is a command, besides the names of the views.

    Attributes:
        says: What it does, for the help.
        takes: What may stand behind it, for the help; empty: nothing.
        needs: It cannot do without.
        shows: It opens one thing whole: the kind of thing.
        also: Other words for the same.
        choices: What stands behind it, where that is one of few; the first is meant when nothing does.
    """

    name: str
    says: str
    takes: str = ""
    needs: bool = False
    shows: str = ""
    also: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()

    @property
    def usage(self) -> str:
        """``:run ID``."""
        return f":{self.name} {self.takes}".rstrip()


def _shows(kind: str, says: str, takes: str) -> Word:
    return Word(kind, says, takes, needs=True, shows=kind)


WORDS: tuple[Word, ...] = (
    _shows("model", "the versions of a model; :model NAME@3 one version", "NAME"),
    _shows("run", "one run whole", "ID"),
    _shows("alert", "one alert whole", "ID"),
    _shows("decision", "one decision whole", "ID"),
    _shows("rollout", "the rollout of a model, or its last", "MODEL"),
    _shows("batch", "a snapshot or a refused batch whole", "ID"),
    _shows("device", "one device whole", "NAME"),
    Word("sql", "a SELECT over a snapshot; without a name, over the newest", "[SNAPSHOT]"),
    Word("host", "the machine and the box's processes"),
    Word("logs", "the box's log files, followed"),
    Word("history", "what was done in this session, as commands", also=("log",)),
    Word("theme", "other colours", "[dark|light]", choices=("dark", "light")),
    Word("pause", "stop reading the box; again to go on"),
    Word("help", "the keys that act right now"),
    Word("quit", "leave", also=("q", "exit")),
)
# Other words for views.
VIEW_ALIASES = {"pulse": "home"}


@dataclass(frozen=True)
class Command:
    """``verb`` is ``view``, ``show`` or the name of a word; ``what`` says which, or what stood behind it."""

    verb: str
    what: str = ""
    rest: str = ""


def parse_command(typed: str, views: Iterable[str]) -> Command:
    """Read a command.

    Raises:
        UsageError: There is no such command, or it lacks a name.
    """
    name, _, rest = typed.strip().partition(" ")
    name, rest = name.lower(), rest.strip()
    word = next((one for one in WORDS if name in (one.name, *one.also)), None)
    if word is None:
        view = VIEW_ALIASES.get(name, name)
        if view in views:
            return Command("view", view, rest)
        raise UsageError(f"no command :{name}", hint="? lists them")
    if word.needs and not rest:
        raise UsageError(f":{word.name} needs a name", hint=word.usage)
    if word.shows:
        return Command("show", word.shows, rest)
    if word.choices:
        return Command(word.name, rest or word.choices[0])
    return Command(word.name, rest if word.takes else "")


def completions(
    views: Iterable[str], states: Mapping[str, Iterable[str]], models: Iterable[str]
) -> list[str]:
    """Words to complete from, most wanted first."""
    found = list(views)
    for view, words in states.items():
        found += [f"{view} {word}" for word in words]
    found += [f"model {model}" for model in models]
    for word in WORDS:
        found += [f"{word.name} {choice}" for choice in word.choices] or [
            f"{word.name} " if word.takes else word.name
        ]
    return found


def command_help(views: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Every command and what it does."""
    names = " ".join(f":{view}" for view in views)
    return (
        (":VIEW [WORDS]", f"a view, filtered, as in :runs failed; {names}"),
        *((word.usage, _says(word)) for word in WORDS),
    )


def _says(word: Word) -> str:
    also = ", ".join(f":{name}" for name in word.also)
    return f"{word.says}; also {also}" if also else word.says
