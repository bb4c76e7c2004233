"""The two lines at the top: how the box is, and which view is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from textual.events import Click, Resize
from textual.message import Message
from textual.widgets import Static

from mlops_box_tui.look import age
from mlops_box_tui.widgets.told import Told

if TYPE_CHECKING:
    from mlops_box_tui.app import BoxApp

# Of a view's name: ten views fit 80 columns.
CUT_LETTERS = 4
NARROW_BELOW = 100


class StatusBar(Told):
    """Name of the box, freshness of what is shown, and what wants attention."""

    app: BoxApp

    def on_mount(self) -> None:
        self.redraw()

    def on_resize(self, event: Resize) -> None:
        self.redraw()

    def redraw(self) -> None:
        """Draw what the app knows now."""
        app, look = self.app, self.app.look
        # By the size: the screen learns its class only after it was drawn for the first time.
        narrow = app.size.width < NARROW_BELOW
        name = Text.assemble((" mlops-box ", "bold"), look.text(app.box.home.root.name, "quiet"))
        # 80 columns hold what wants attention, or the name, not both.
        parts = [Text.assemble(" ", self._freshness())] if narrow else [name, self._freshness()]
        parts += self._counts(narrow=narrow)
        serving = app.serving
        if serving is not None:
            parts.append(look.state(serving.state, f"serving {look.state(serving.state).plain[2:]}"))
        self.tell(Text("  " if narrow else "   ").join(parts), layout=False)

    def _counts(self, *, narrow: bool) -> list[Text]:
        counts, look = self.app.counts, self.app.look
        if counts is None:
            return []
        parts = []
        if counts.running:
            parts.append(look.state("running", f"{counts.running} running"))
        if counts.failed_24h:
            parts.append(look.state("failed", f"{counts.failed_24h} failed{'' if narrow else ' 24h'}"))
        alerts = counts.open_alerts
        if not alerts and not counts.monitored:
            # Nothing watched is not the same as nothing wrong.
            parts.append(look.state("unjudged", "not monitored"))
        else:
            words = f"{alerts} alert{'' if alerts == 1 else 's'}"
            parts.append(look.state("open" if alerts else "fine", words))
        if counts.suggestions:
            parts.append(look.state("suggested", f"{counts.suggestions} to decide"))
        return parts

    def _freshness(self) -> Text:
        app, look = self.app, self.app.look
        since = app.checked_age_s
        shown = "?" if since is None else age(since)
        if app.trouble:
            return look.state("failed", f"cannot read, {shown} old")
        if app.paused:
            return Text(look.fit(f"■ paused, {shown} old") if not look.ascii_only else f"= paused, {shown} old",
                        style=look.style("warn"))  # fmt: skip
        return Text(f"{'*' if look.ascii_only else '●'} live {shown}", style=look.style("good"))


class ViewBar(Static):
    """The views and their digits; a click goes there. Where they do not all fit, the names of the others are cut."""

    class Chosen(Message):
        """A view was clicked."""

        def __init__(self, view: str):
            super().__init__()
            self.view = view

    def __init__(self, views: list[tuple[str, str]], *, id: str | None = None):
        super().__init__(id=id)
        self._views = views
        self._current = views[0][1]
        self._spans: list[tuple[int, int, str]] = []

    def on_mount(self) -> None:
        self.mark(self._current)

    def on_resize(self, event: Resize) -> None:
        self.mark(self._current)

    def mark(self, current: str) -> None:
        """Show which view is open."""
        self._current = current
        line = self._line(cut=False)
        self.update(line if len(line) <= self.app.size.width else self._line(cut=True))

    def _line(self, *, cut: bool) -> Text:
        line = Text(" ")
        self._spans = []
        for digit, name in self._views:
            start = len(line)
            chosen = name == self._current
            shown = name[:CUT_LETTERS] if cut and not chosen else f"{name} "
            if digit:
                line.append(f" {digit}", style="reverse bold" if chosen else "dim")
            line.append(f" {shown}", style="reverse bold" if chosen else "")
            self._spans.append((start, len(line), name))
        return line

    def on_click(self, event: Click) -> None:
        for start, end, name in self._spans:
            if start <= event.x < end:
                self.post_message(self.Chosen(name))
