"""Foreign strings made harmless: names, log lines and error texts come from outside.

Nothing here is ever parsed as markup, and no control character reaches the terminal.
"""

from __future__ import annotations

import unicodedata

from rich.text import Text

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# Formatting characters reorder or hide what stands around them (Trojan Source, CVE-2021-42574).
_FORBIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean(value: object, *, limit: int = 2_000) -> str:
    """One line of plain text: control and formatting characters become ``�``, line breaks a space.

    Args:
        value: What to show; ``None`` becomes the empty text.
        limit: Longer texts end in ``…``.
    """
    if value is None:
        return ""
    text = str(value)
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isascii() and text.isprintable():
        return text
    return "".join(_harmless(character) for character in text)


def clean_lines(value: object, *, limit: int = 20_000) -> str:
    """As :func:`clean`, keeping line breaks."""
    text = "" if value is None else str(value)[:limit]
    return "\n".join(clean(line, limit=limit) for line in text.splitlines())


def plain(value: object, style: str = "") -> Text:
    """A cell or line of foreign text."""
    return Text(clean(value), style=style, no_wrap=True, overflow="ellipsis")


def to_ascii(text: str) -> str:
    """For terminals without Unicode: what ASCII lacks becomes ``?``, letters lose their accents."""
    if text.isascii():
        return text
    kept = unicodedata.normalize("NFKD", text.replace("…", "..").replace("→", "->").replace("–", "-"))
    return "".join(
        character if character.isascii() else "?"
        for character in kept
        if not unicodedata.combining(character)
    )


def _harmless(character: str) -> str:
    if character in "\n\r\t":
        return " "
    return REPLACEMENT if unicodedata.category(character) in _FORBIDDEN else character
