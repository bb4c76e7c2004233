"""Which of Textual's themes is meant by dark and light, on terminals of many colours and of sixteen."""

from __future__ import annotations

from rich.console import Console
from textual.constants import COLOR_SYSTEM

NAMES = ("dark", "light")
_MANY = {"dark": "textual-dark", "light": "textual-light"}
# The terminal's own sixteen: shades would all become the same black, grey or white.
_SIXTEEN = {"dark": "ansi-dark", "light": "ansi-light"}


def theme_of(name: str, *, sixteen_colours: bool) -> str:
    """The name of Textual's theme; other names than dark and light stand for themselves."""
    return (_SIXTEEN if sixteen_colours else _MANY).get(name, name)


def has_sixteen_colours() -> bool:
    """Whether the terminal promises no more (``TERM`` names neither 256 colours nor ``COLORTERM`` more)."""
    system = Console(force_terminal=True).color_system if COLOR_SYSTEM == "auto" else COLOR_SYSTEM
    return system == "standard"
