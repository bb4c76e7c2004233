"""A figure as SVG that follows the reader's light or dark theme."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

# Stand-ins that matplotlib draws with; in the page they become CSS variables.
INK, FAINT, ACCENT, SECOND, BAD = "#010203", "#040506", "#070809", "#0a0b0c", "#0d0e0f"
_VARIABLES = {INK: "--ink-soft", FAINT: "--line", ACCENT: "--accent", SECOND: "--second", BAD: "--bad"}
_STYLE = {
    "svg.hashsalt": "mlops-box",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
}


@contextmanager
def figure(
    width_in: float, height_in: float, *, heights: Sequence[float] = (1,)
) -> Iterator[tuple[Any, Callable[[str], str]]]:
    """(axes, a function from title to SVG text); without pyplot, so that no global figure and no screen is needed.

    Args:
        heights: Relative heights of plots below each other on one x axis; with more than one, axes is an array.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        made = Figure(figsize=(width_in, height_in), layout="tight")
        FigureCanvasSVG(made)

        def finish(title: str) -> str:
            buffer = io.StringIO()
            nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            made.savefig(buffer, format="svg", transparent=True, metadata=nothing)
            return _embeddable(buffer.getvalue(), title)

        yield made.subplots(len(heights), sharex=True, height_ratios=list(heights)), finish


def _embeddable(svg: str, title: str) -> str:
    """The ``<svg>`` element alone, scalable, with theme colours and a name for screen readers."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", body, count=1)
    body = body.replace("<svg ", f'<svg role="img" aria-label="{html.escape(title)}" ', 1)
    for stand_in, variable in _VARIABLES.items():
        body = body.replace(stand_in, f"var({variable})")
    body = re.sub(r"<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    return re.sub(r"font-family: [^;\"]*", "font-family: inherit", body)


_ALONE = """<style>:root { --ink-soft: #5c6670; --line: #e3e1da; --accent: #2563a8; --second: #b4690e; --bad: #b3261e; }
svg { background: #ffffff; font-family: system-ui, "DejaVu Sans", sans-serif; }</style>"""


def alone(svg: str) -> str:
    """The same picture as a file of its own, with the colours that the page would have given it."""
    head = svg.index(">", svg.index("<svg")) + 1
    return svg[:head] + _ALONE + svg[head:]
