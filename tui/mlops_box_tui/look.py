"""How states, numbers, times and curves look. A state is always glyph, word and colour, so that each alone suffices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from rich.console import OverflowMethod
from rich.text import Text

from mlops_box.units import format_duration
from mlops_box_tui.text import clean, to_ascii

Tone = Literal["good", "bad", "warn", "busy", "quiet", "plain", "accent"]

UNKNOWN = "?"
_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = "_.-:=+*#"

# state -> (glyph, glyph in ASCII, word, tone)
_STATES: dict[str, tuple[str, str, str, Tone]] = {
    "running": ("●", "*", "running", "busy"),
    "completed": ("✓", "+", "ok", "good"),
    "failed": ("✗", "x", "failed", "bad"),
    "refused": ("✗", "x", "refused", "bad"),
    "rejected": ("✗", "x", "rejected", "bad"),
    "crashed": ("✗", "x", "crashed", "bad"),
    "cancelled": ("■", "-", "cancelled", "quiet"),
    "lost": ("?", "?", "owner gone", "warn"),
    "accepted": ("✓", "+", "accepted", "good"),
    "open": ("!", "!", "open", "warn"),
    "acknowledged": ("○", "o", "acked", "quiet"),
    "resolved": ("✓", "+", "resolved", "good"),
    "error": ("✗", "x", "error", "bad"),
    "warning": ("!", "!", "warning", "warn"),
    "info": ("·", ".", "info", "quiet"),
    "withheld": ("■", "-", "withheld", "quiet"),
    "suggested": ("!", "!", "suggested", "warn"),
    "pending": ("◌", "o", "pending", "busy"),
    "issued": ("●", "*", "issued", "busy"),
    "done": ("✓", "+", "done", "good"),
    "fine": ("✓", "+", "fine", "good"),
    "not_fine": ("✗", "x", "drift", "bad"),
    "worse": ("✗", "x", "worse", "bad"),
    "cannot_tell": ("?", "?", "cannot tell", "quiet"),
    "passed": ("✓", "+", "passed", "good"),
    "unjudged": ("?", "?", "not judged", "quiet"),
    "rolled_back": ("✗", "x", "rolled back", "bad"),
    "up": ("●", "*", "up", "good"),
    "down": ("■", "-", "down", "quiet"),
    "unready": ("!", "!", "not ready", "warn"),
    "new": ("·", ".", "new", "quiet"),
    "trouble": ("!", "!", "trouble", "warn"),
    "removed": ("■", "-", "removed", "quiet"),
    "silent": ("✗", "x", "no answer", "bad"),
}
STATE_WORDS = tuple(_STATES)


@dataclass(frozen=True)
class Look:
    """Colours of the theme and whether the terminal knows Unicode.

    Attributes:
        tones: Tone to a rich style.
        ascii_only: Draw with ASCII alone.
        now: What "3m ago" is measured from.
    """

    tones: Mapping[str, str]
    ascii_only: bool
    now: datetime

    @staticmethod
    def from_theme(variables: Mapping[str, str], *, ascii_only: bool, now: datetime) -> Look:
        """The look of a Textual theme, from its CSS variables."""
        names = {
            "good": "text-success", "bad": "text-error", "warn": "text-warning", "busy": "text-primary",
            "accent": "text-accent",
        }  # fmt: skip
        tones = {tone: _colour(variables.get(name, "")) for tone, name in names.items()}
        return Look({**tones, "quiet": "dim", "plain": ""}, ascii_only, now)

    def style(self, tone: Tone) -> str:
        return self.tones.get(tone, "")

    def text(self, value: object, tone: Tone = "plain") -> Text:
        """Foreign text in a tone; an absent value is a dash."""
        shown = clean(value) if value is not None and value != "" else self.dash
        return Text(self.fit(shown), style=self.style(tone), no_wrap=True, overflow=self.overflow)

    def fit(self, text: str) -> str:
        return to_ascii(text) if self.ascii_only else text

    @property
    def overflow(self) -> OverflowMethod:
        """What becomes of text that does not fit: the ellipsis is no ASCII."""
        return "crop" if self.ascii_only else "ellipsis"

    @property
    def dash(self) -> str:
        return "-" if self.ascii_only else "–"

    @property
    def dot(self) -> str:
        return "|" if self.ascii_only else "·"

    @property
    def arrow(self) -> str:
        return ">" if self.ascii_only else "›"

    def state(self, state: str, word: str | None = None) -> Text:
        """Glyph, word and colour of a state; one that this program does not know is shown as it is."""
        glyph, ascii_glyph, own_word, tone = _STATES.get(state, ("?", "?", clean(state), "plain"))
        shown = self.fit(f"{ascii_glyph if self.ascii_only else glyph} {word or own_word}")
        return Text(shown, style=self.style(tone), no_wrap=True, overflow=self.overflow)

    def aliases(self, names: Sequence[str], *, apart: str = " ") -> Text:
        """A version's aliases; what serves stands out."""
        if not names:
            return self.text(None, "quiet")
        return Text(apart).join(self.text(name, "good" if name == "champion" else "accent") for name in names)

    def number(self, value: float | None, *, digits: int = 4, tone: Tone = "plain") -> Text:
        """Significant digits; unknown is ``?``, never 0."""
        return Text(number(value, digits=digits), style=self.style(tone if value is not None else "quiet"))

    def count(self, value: int | None, *, tone: Tone = "plain") -> Text:
        """Thousands apart."""
        if value is None:
            return Text(UNKNOWN, style="dim")
        return Text(f"{value:,}".replace(",", " "), style=self.style(tone))

    def spark(self, values: Sequence[float], *, width: int | None = None, tone: Tone = "busy") -> Text:
        """A small curve from its own minimum to its own maximum."""
        blocks = _ASCII_BLOCKS if self.ascii_only else _BLOCKS
        return Text(
            sparkline(values[-width:] if width else values, blocks), style=self.style(tone), no_wrap=True
        )

    def bars(self, shares: Sequence[float], *, tone: Tone = "busy") -> Text:
        """A small histogram: from zero to its own maximum."""
        blocks = _ASCII_BLOCKS if self.ascii_only else _BLOCKS
        top = max(shares, default=0.0)
        if top <= 0:
            return Text(self.dash, style="dim")
        drawn = "".join(
            blocks[min(len(blocks) - 1, round(share / top * (len(blocks) - 1)))] for share in shares
        )
        return Text(drawn, style=self.style(tone), no_wrap=True)

    def when(self, moment: datetime | None) -> Text:
        """Today the time, otherwise the date and the time (UTC)."""
        if moment is None:
            return Text(self.dash, style="dim")
        same_day = moment.date() == self.now.date()
        return Text(moment.astimezone(UTC).strftime("%H:%M:%S" if same_day else "%m-%d %H:%M"))

    def ago(self, moment: datetime | None) -> Text:
        """``4m ago``; a time that lies ahead is shown as such."""
        if moment is None:
            return Text(self.dash, style="dim")
        seconds = (self.now - moment).total_seconds()
        return Text(f"in {age(-seconds)}" if seconds < -1 else f"{age(seconds)} ago")

    def took(self, start: datetime | None, end: datetime | None) -> Text:
        """How long something took, or has taken so far (``end`` absent)."""
        if start is None:
            return Text(UNKNOWN, style="dim")
        seconds = ((end or self.now) - start).total_seconds()
        return Text(format_duration(max(0.0, seconds)), style="" if end else self.style("busy"))


def age(seconds: float) -> str:
    """One unit, rounded down: ``0s``, ``59s``, ``4m``, ``3h``, ``12d``."""
    whole = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if whole >= size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def number(value: float | None, *, digits: int = 4) -> str:
    """Significant digits without an exponent where that is readable."""
    if value is None or math.isnan(value):
        return UNKNOWN
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 10**digits:
        return f"{value:,.0f}".replace(",", " ") if abs(value) < 1e9 else f"{value:.{digits - 1}e}"
    if abs(value) < 1e-4:
        return f"{value:.1e}"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(places, digits)}f}"


def sparkline(values: Sequence[float], blocks: str = _BLOCKS) -> str:
    """One character a value; a flat curve lies in the middle."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    if high == low:
        return blocks[len(blocks) // 2] * len(values)
    scale = (len(blocks) - 1) / (high - low)
    return "".join(blocks[round((value - low) * scale)] if math.isfinite(value) else " " for value in values)


def _colour(value: str) -> str:
    """A theme's colour as a rich style; ``auto`` colours depend on what lies behind and stay the default."""
    if value.startswith("ansi_"):
        return value.removeprefix("ansi_").split()[0]
    return value if value.startswith("#") and len(value) == 7 else ""
