"""Scroll bars for terminals without Unicode."""

from __future__ import annotations

from rich.color import Color
from rich.segment import Segment, Segments
from rich.style import Style
from textual.scrollbar import ScrollBarRender


class AsciiScrollBarRender(ScrollBarRender):
    """Blank cells on the bar's colours: block characters would need Unicode."""

    @classmethod
    def render_bar(
        cls,
        size: int = 25,
        virtual_size: float = 50,
        window_size: float = 20,
        position: float = 0,
        thickness: int = 1,
        vertical: bool = True,
        back_color: Color = Color.parse("#555555"),
        bar_color: Color = Color.parse("bright_magenta"),
    ) -> Segments:
        """One segment a cell, coloured by whether it belongs to the grip."""
        back, bar = Style(bgcolor=back_color), Style(bgcolor=bar_color)
        step = virtual_size / size if size and virtual_size else 1
        start = int(position / step)
        length = max(1, round(window_size / step))
        cells = [bar if start <= place < start + length else back for place in range(size)]
        if vertical:
            return Segments([Segment(" " * thickness, style) for style in cells], new_lines=True)
        return Segments((([Segment(" ", style) for style in cells] + [Segment.line()]) * thickness)[:-1])
