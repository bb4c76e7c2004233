"""One version that serves: its traffic, its newest requests, its rollout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import DataTable

from mlops_box.box import Box
from mlops_box.operations.rollout import RolloutStatus, status
from mlops_box_tui.acts.act import act_bindings
from mlops_box_tui.acts.models import ROLL_BACK, VersionSubject
from mlops_box_tui.acts.rollouts import ROLLOUT_ACTS
from mlops_box_tui.acts.servers import UP
from mlops_box_tui.acts.serving import TRY
from mlops_box_tui.look import Look
from mlops_box_tui.screens.detail import Body, DetailScreen, Link
from mlops_box_tui.screens.logs import LogScreen
from mlops_box_tui.screens.request import RequestScreen
from mlops_box_tui.screens.request_list import RequestPane
from mlops_box_tui.screens.rollout import RolloutScreen
from mlops_box_tui.screens.served_traffic import traffic_body
from mlops_box_tui.views.rollout_key import rollout_key
from mlops_box_tui.widgets.grids import facts
from mlops_box_tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from mlops_box.operations.views.requests import LoggedTraffic
    from mlops_box.serving.log_tail import LogTail

WINDOWS = (timedelta(minutes=15), timedelta(hours=1))
# A window is drawn in whole parts, the first of which may begin a little before it.
HORIZON = WINDOWS[-1] + timedelta(minutes=5)


@dataclass(frozen=True)
class ServedSeen:
    """What the box's files tell of a version that serves.

    Attributes:
        rollout: Of its model: the one under way, or the last; ``None``: there was none.
    """

    tail: LogTail
    traffic: LoggedTraffic
    aliases: tuple[str, ...]
    rollout: RolloutStatus | None


class ServedScreen(DetailScreen[ServedSeen]):
    """A version by ``name@7``: read from the log, and from what the server told since the app was opened."""

    TABS = ("traffic", "requests", "rollout")
    ACTS = (TRY, ROLL_BACK, UP, *ROLLOUT_ACTS)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "window", "window", id="served.window", tooltip="The last 15 minutes, or the last hour."),
        Binding("f", "follow", "follow", id="served.follow", tooltip="New requests come on top, or the list is held."),
        Binding("slash", "filter", "filter", key_display="/", id="served.filter",
                tooltip="Only requests that match: text, !text, ~text, variant:canary, answer:1, truth:0, outcome:ok."),
        Binding("t", "logs", "logs", show=False, id="served.logs", tooltip="Follow the box's log files."),
        rollout_key("served"),
        *act_bindings(ACTS),
    ]  # fmt: skip

    def __init__(self, subject: str):
        super().__init__(subject)
        self.window = WINDOWS[0]

    @property
    def model(self) -> str:
        return self.subject.partition("@")[0]

    # Reading.

    def fetch(self, box: Box) -> ServedSeen:
        from mlops_box.operations.views.requests import logged_traffic, newest_requests

        now = box.clock.now()
        before = self.detail.tail if self.detail is not None else None
        tail = newest_requests(box, self.subject, since=now - HORIZON, before=before)
        number = self.subject.partition("@")[2]
        aliases = [name for name, held in box.models.aliases(self.model).items() if str(held) == number]
        traffic = logged_traffic(tail, now=now, window=self.window)
        return ServedSeen(tail, traffic, tuple(aliases), next(iter(status(box, self.model)), None))

    def poll(self, *, force: bool = False) -> None:
        """The log grows without a word in box.db; reading it again costs what was added."""
        self.app.poll_serving()
        super().poll(force=True)

    # Drawing.

    def pane(self, name: str) -> Widget:
        return RequestPane(id="tab-requests") if name == "requests" else super().pane(name)

    async def draw_tab(self, name: str, detail: ServedSeen, look: Look) -> None:
        if name == "requests":
            self.requests.show(detail.tail.requests)
        else:
            await super().draw_tab(name, detail, look)

    @property
    def requests(self) -> RequestPane:
        return self.query_one(RequestPane)

    def focus_of(self, name: str) -> Widget:
        return self.requests.table if name == "requests" else super().focus_of(name)

    def heading(self, detail: ServedSeen, look: Look) -> Text:
        line = Text.assemble(" ", look.text(self.subject, "accent"), "  ", self._state(look), "  ")
        if detail.aliases:
            line.append_text(Text.assemble(look.aliases(detail.aliases, apart="  "), "  "))
        return line.append_text(
            Text.assemble(("window ", "dim"), look.text(window_text(self.window)), (" (w)", "dim"))
        )

    def _state(self, look: Look) -> Text:
        server = self.app.serving
        if server is None:
            return Text("asking the server", style="dim")
        if server.state != "up":
            return look.state(server.state, f"server {look.state(server.state).plain[2:]}")
        served = next((one for one in server.models if one.key == self.subject), None)
        if served is None or not served.current:
            return look.state("down", "does not answer for its model")
        return look.state("up", "serving")

    def body(self, tab: str, detail: ServedSeen, look: Look) -> Body:
        if tab == "traffic":
            known = self.app.traffic.get(self.subject)
            return traffic_body(detail.traffic, known, self.app.serving, self.window, look)
        return Body([_rollout(detail.rollout, look)])

    def links(self, detail: ServedSeen) -> Sequence[Link]:
        found = [Link("version", self.subject, "the version: metrics, gates, lineage, files")]
        if detail.rollout is not None:
            found.append(Link("rollout", self.model, "how it came to serve, or how the next one comes"))
        return found

    def subject_of(self, detail: ServedSeen) -> VersionSubject:
        return VersionSubject(self.model, self.subject)

    # Keys.

    def action_window(self) -> None:
        self.window = WINDOWS[(WINDOWS.index(self.window) + 1) % len(WINDOWS)]
        self.poll()

    def action_follow(self) -> None:
        self.requests.follow()

    def action_filter(self) -> None:
        self.open_tab("requests")
        self.requests.open_filter()

    def action_logs(self) -> None:
        self.app.push_screen(LogScreen(self.app.box.home.logs))

    def action_rollout(self) -> None:
        self.app.push_screen(RolloutScreen(self.model))

    def action_back(self) -> None:
        if not self.requests.clear_filter():
            super().action_back()

    def action_copy(self) -> None:
        row = self.requests.row if self.tab == "requests" else None
        self.app.copy_to_clipboard(row.id if row is not None else self.subject)
        self.app.notify(f"copied {row.id if row is not None else self.subject}", markup=False, timeout=2)

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        row = self.requests.row if event.data_table is self.requests.table else None
        if row is None or self.detail is None:
            super().on_data_table_row_selected(event)
            return
        event.stop()
        self.app.push_screen(RequestScreen(row))

    def on_prompt_dismissed(self, event: Prompt.Dismissed) -> None:
        event.stop()
        self._focus_tab()

    def on_prompt_entered(self, event: Prompt.Entered) -> None:
        event.stop()
        self._focus_tab()


def window_text(window: timedelta) -> str:
    """``15 min`` or ``1 h``."""
    minutes = window // timedelta(minutes=1)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h"


def _rollout(seen: RolloutStatus | None, look: Look) -> RenderableType:
    if seen is None:
        return Text("no rollout of this model yet", style="dim")
    rollout = seen.rollout
    return facts(
        [
            ("rollout", f"{rollout.ref} over {rollout.base_ref}"), ("state", rollout.stage_text),
            ("waits for" if rollout.is_open else "reason", seen.waits_for), ("more", "o opens it"),
        ],
        look,
    )  # fmt: skip
