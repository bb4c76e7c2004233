"""Home: the box at a glance, a panel a resource."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, Vertical
from textual.events import Click
from textual.widgets import Static

from mlops_box.operations.views import Pulse, Query, read_pulse
from mlops_box_tui.look import Look, number
from mlops_box_tui.looking import Looking
from mlops_box_tui.views.run_state import run_state
from mlops_box_tui.widgets.setback import setback_line
from mlops_box_tui.widgets.told import Told

if TYPE_CHECKING:
    from mlops_box_tui.app import BoxApp


class Panel(Told, can_focus=True):
    """One resource in a few lines; Enter or a click opens its view."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "open", id="panel.open", tooltip="Open this panel's view."),
        Binding("j,down,l,right", "app.focus_next", "next", show=False, id="panel.next", tooltip="The next panel."),
        Binding("k,up,h,left", "app.focus_previous", "before", show=False, id="panel.before",
                tooltip="The panel before."),
    ]  # fmt: skip

    app: BoxApp

    def __init__(self, view: str, title: str):
        super().__init__(markup=False, id=f"panel-{view}")
        self.view = view
        self.border_title = title

    def show(self, lines: list[Text]) -> None:
        """One line each, cut where the panel ends."""
        for line in lines:
            line.no_wrap, line.overflow = True, self.app.look.overflow
        self.tell(*lines, layout=False)

    def action_open(self) -> None:
        self.app.go(self.view)

    def on_click(self, event: Click) -> None:
        event.stop()
        self.action_open()


class HomeView(Looking, Vertical):
    """Pulses."""

    NAME = "home"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "host", "machine", show=False, id="home.host",
                tooltip="The machine: CPU, memory, disk, GPUs and the box's processes."),
    ]  # fmt: skip

    app: BoxApp

    def __init__(self, *, scope: str | None = None, filter_text: str = ""):
        super().__init__()
        self.question = Query()
        self.pulse: Pulse | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="welcome", markup=False)
        with Grid(id="panels"):
            yield Panel("runs", "runs 24h")
            yield Panel("models", "models")
            yield Panel("serving", "serving")
            yield Panel("alerts", "alerts")
            yield Panel("decisions", "decisions")
            yield Panel("data", "data")

    def on_mount(self) -> None:
        self.query_one("#welcome").display = False
        self.redraw()

    def focus_first(self) -> None:
        """Take the keys."""
        self.query_one("#panel-runs").focus()

    def poll(self, *, force: bool = False) -> None:
        """Read again unless nothing changed."""
        self._poll(force)
        self.app.poll_serving()

    @work(exclusive=True, group="poll-view")
    async def _poll(self, force: bool) -> None:
        pulse = await self.look("pulse", read_pulse, force=force)
        if pulse is not None:
            self.pulse = pulse
            self.redraw()

    def serving_changed(self) -> None:
        """The app heard from the server."""
        self.redraw()

    def action_host(self) -> None:
        self.app.open_host()

    def filter(self, text: str) -> None:
        """Home has nothing to filter."""
        self.app.notify("home has nothing to filter: open a view first", markup=False, timeout=2)

    def clear_narrowing(self) -> bool:
        return False

    def command_filter(self, words: str) -> str:
        return words

    def redraw(self) -> None:
        """Draw what is at hand."""
        pulse, look = self.pulse, self.app.look
        if pulse is None:
            return
        welcome = self.query_one("#welcome", Static)
        welcome.display = pulse.runs_total == 0
        if welcome.display:
            welcome.update(Text.assemble(
                ("This box is empty. ", "bold"), "See the whole loop:  ", ("$ mlops-box demo", look.style("accent")),
            ))  # fmt: skip
        bodies: dict[str, list[Text]] = {
            "runs": _runs(pulse, look), "models": _models(pulse, look), "serving": _serving(self.app, look),
            "alerts": _alerts(pulse, look), "decisions": _decisions(pulse, look), "data": _data(pulse, look),
        }  # fmt: skip
        for view, body in bodies.items():
            panel = self.query_one(f"#panel-{view}", Panel)
            panel.show(body)
            panel.set_class(view == "alerts" and pulse.counts.open_alerts > 0, "-attention")


def _runs(pulse: Pulse, look: Look) -> list[Text]:
    if not pulse.runs_total:
        return [Text("no runs yet", style="dim")]
    counts = [
        look.state(state, f"{count} {look.state(state).plain[2:]}")
        for state, count in sorted(pulse.runs_24h.items())
    ]
    lines = [Text("  ").join(counts) if counts else Text("none in 24 hours", style="dim")]
    if any(pulse.runs_by_hour):
        lines.append(Text.assemble(look.bars(pulse.runs_by_hour), (f"  in all {pulse.runs_total}", "dim")))
    return lines + [
        Text.assemble(run_state(row, look), "  ", look.text(f"{row.kind} {row.project}"), "  ",
                      (look.ago(row.started_at).plain, "dim"))
        for row in pulse.newest_runs
    ]  # fmt: skip


def _models(pulse: Pulse, look: Look) -> list[Text]:
    if not pulse.models:
        return [Text("no models yet", style="dim")]
    lines = []
    for row in pulse.models:
        champion = (
            look.text(f"v{row.champion}", "good")
            if row.champion is not None
            else look.text("no champion", "warn")
        )
        line = Text.assemble(look.text(row.model, "accent"), "  ", champion)
        if len(row.trend) > 1:
            line.append_text(Text.assemble("  ", look.spark(row.trend)))
        if row.metric:
            line.append_text(Text.assemble("  ", look.text(f"{row.metric[0]} {number(row.metric[1])}")))
        if row.open_alerts:
            line.append_text(
                Text.assemble(
                    "  ", look.state("open", f"{row.open_alerts} alert{'s' * (row.open_alerts > 1)}")
                )
            )
        lines.append(line)
        if row.setback is not None:
            lines.append(Text.assemble("  ", setback_line(row.setback, look)))
    return lines


def _serving(app: BoxApp, look: Look) -> list[Text]:
    status = app.serving
    if status is None:
        return [Text("asking", style="dim")]
    lines = [Text.assemble(look.state(status.state), "  ", look.text(status.detail, "quiet"))]
    if status.state == "down":
        lines.append(Text.assemble(("$ ", "dim"), ("mlops-box up --detach", look.style("accent"))))
    elif status.port is not None:
        lines.append(look.text(f"http://{status.host}:{status.port}", "accent"))
    for row in status.models[:6]:
        p99 = row.quantile_s(0.99)
        line = Text.assemble(
            look.text(row.model, "accent"), look.text(f" v{row.number}" if row.number is not None else "")
        )
        line.append_text(Text.assemble("  ", look.count(int(row.requests) if row.requests is not None else None),
                                       (" requests", "dim")))  # fmt: skip
        if p99 is not None:
            line.append(f"  p99 {number(p99 * 1000, digits=2)}ms")
        lines.append(line)
    return lines


def _alerts(pulse: Pulse, look: Look) -> list[Text]:
    lines = [
        Text.assemble(look.state(row.severity), "  ", look.text(row.title), "  ", look.text(row.ref, "accent"), "  ",
                      (f"{look.ago(row.updated_at).plain}", "dim"))
        for row in pulse.alerts
    ]  # fmt: skip
    watched = (
        Text.assemble(("monitored ", "dim"), look.ago(pulse.last_monitored))
        if pulse.last_monitored
        else Text("traffic was never monitored: mlops-box monitor", style="dim")
    )
    # Nothing watched is not the same as nothing wrong.
    none = look.state("fine", "none open") if pulse.last_monitored else look.state("unjudged", "unknown")
    return [*(lines or [none]), watched]


def _decisions(pulse: Pulse, look: Look) -> list[Text]:
    if not pulse.decisions:
        return [Text("none yet", style="dim")]
    return [
        Text.assemble(look.state(row.state), "  ", look.text(f"{row.act} {row.model}", "accent"), "  ",
                      look.text(row.reason))
        for row in pulse.decisions
    ]  # fmt: skip


def _data(pulse: Pulse, look: Look) -> list[Text]:
    if not pulse.batches:
        return [Text("no snapshots yet", style="dim")]
    lines = []
    for row in pulse.batches:
        line = Text.assemble(look.state(row.state), "  ", look.text(row.project, "accent"), "  ",
                             (look.ago(row.at).plain, "dim"))  # fmt: skip
        if row.rows_quarantined:
            line.append_text(
                Text.assemble("  ", look.count(row.rows_quarantined, tone="warn"), (" quarantined", "dim"))
            )
        lines.append(line)
    return lines
