"""Serving: what the inference server answers with. Asked over loopback, not read from box.db."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.screen import Screen

from mlops_box.operations.views import Page, Query, RecentTraffic, ServedModel, ServingStatus
from mlops_box.units import format_duration
from mlops_box_tui.acts.act import act_bindings
from mlops_box_tui.acts.models import ROLL_BACK
from mlops_box_tui.acts.rollouts import ROLLOUT_ACTS
from mlops_box_tui.acts.servers import DOWN, UP
from mlops_box_tui.acts.serving import TRY
from mlops_box_tui.look import UNKNOWN, Look, number
from mlops_box_tui.screens.logs import LogScreen
from mlops_box_tui.screens.served import ServedScreen
from mlops_box_tui.views.base import ListView
from mlops_box_tui.views.rollout_key import open_rollout, rollout_key
from mlops_box_tui.widgets.table import Column

POINTS = 12


class ServingView(ListView[ServedModel]):
    """One line a version that answers."""

    NAME = "serving"
    ACTS = (TRY, ROLL_BACK, UP, DOWN, *ROLLOUT_ACTS)
    COLUMNS = (
        Column("model", "model", 15, flex=True),
        Column("number", "version", 7),
        Column("state", "state", 11),
        Column("rate", "req/min", 7, right=True),
        Column("requests", "requests", 10, drop=1, right=True),
        Column("p50", "p50 1min", 8, right=True),
        Column("p99", "p99 1min", 8, right=True),
        Column("errors", "err 1min", 8, right=True),
        Column("queued", "waiting", 8, drop=2, right=True),
        Column("traffic", "traffic", POINTS, drop=3),
        Column("latency", "latency p99", POINTS, drop=4),
    )
    EMPTY = ("", "")
    STATES = ()
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "logs", "logs", id="serving.logs", tooltip="Follow the box's log files."),
        rollout_key("serving"),
        *act_bindings(ACTS),
    ]

    def __init__(self, *, scope: str | None = None, filter_text: str = ""):
        super().__init__(scope=scope, filter_text=filter_text)
        self._shown_of: tuple[ServingStatus, Query] | None = None

    def poll(self, *, force: bool = False) -> None:
        """The app asks the server for everybody; this only takes what it heard."""
        self.app.poll_serving()
        # What the server said while another view was shown, or this one was being made, has not been drawn yet.
        if self._shown_of != (self.app.serving, self.question):
            self.serving_changed()

    def serving_changed(self) -> None:
        """The app heard from the server."""
        status = self.app.serving
        if status is None:
            return
        self._shown_of = (status, self.question)
        self.app.report_read(None)
        terms = self.question.text.casefold().split()
        rows = tuple(
            row for row in status.models
            if all((term.lstrip("!") in row.key.casefold()) != term.startswith("!") for term in terms)
        )  # fmt: skip
        self.page = Page(rows, len(rows), len(status.models), 0)
        self.redraw()

    def key_of(self, row: ServedModel) -> str:
        return row.key

    @property
    def trail(self) -> str:
        status = self.app.serving
        if status is None or status.port is None:
            return "serving"
        return f"serving › {status.host}:{status.port}"

    def cells(self, row: ServedModel, look: Look) -> tuple[Text, ...]:
        status = self.app.serving
        traffic = self.app.traffic.get(row.key)
        recent = traffic.recent() if traffic is not None else None
        spans = traffic.spans(POINTS) if traffic is not None else ()
        slow = [span.quantile_s(0.99) for span in spans]
        return (
            look.text(row.model, "accent"), look.text(f"v{row.number}" if row.number is not None else "?"),
            look.state(status.state, "serving" if status.state == "up" else None) if status and row.current
            else look.state("down", "replaced"),
            look.number(recent.per_minute if recent else None, digits=3),
            look.count(int(row.requests) if row.requests is not None else None),
            _latency(recent, 0.5, look), _latency(recent, 0.99, look), _errors(recent, look),
            look.count(int(row.queued_rows) if row.queued_rows is not None else None),
            look.spark([span.per_minute for span in spans]),
            look.spark([math.nan if value is None else value for value in slow]),
        )  # fmt: skip

    def preview(self, row: ServedModel, look: Look) -> Sequence[Text]:
        status = self.app.serving
        if status is None:
            return ()
        traffic = self.app.traffic.get(row.key)
        recent = traffic.recent() if traffic is not None else None
        over = (
            f"the last {format_duration(recent.seconds)}" if recent else "two looks at the server: one so far"
        )
        return (
            Text.assemble(look.state(status.state), "  ", look.text(status.detail), ("  process ", "dim"),
                          look.text(status.pid)),
            Text.assemble(("req/min, p50, p99, errors over ", "dim"), (over, "dim"),
                          ("; requests, and rows ", "dim"), (look.count(None if row.rows is None else int(row.rows)).plain, "dim"),
                          (", since the server started", "dim")),
        )  # fmt: skip

    def _draw_empty(self, look: Look) -> None:
        status = self.app.serving
        if status is not None:
            self.__dict__["EMPTY"] = _nothing(status)
        super()._draw_empty(look)

    def detail(self, row: ServedModel) -> Screen[None] | None:
        return ServedScreen(row.ref) if row.number is not None else None

    def action_rollout(self) -> None:
        open_rollout(self)

    def action_logs(self) -> None:
        self.app.push_screen(LogScreen(self.app.box.home.logs))


def _latency(recent: RecentTraffic | None, share: float, look: Look) -> Text:
    """Unknown before two looks; a dash where nothing was asked meanwhile."""
    if recent is None:
        return Text(UNKNOWN, style="dim")
    seconds = recent.quantile_s(share)
    return look.text(None if seconds is None else f"{number(seconds * 1000, digits=2)}ms")


def _errors(recent: RecentTraffic | None, look: Look) -> Text:
    if recent is None:
        return Text(UNKNOWN, style="dim")
    share = recent.error_share
    return look.text(
        None if share is None else f"{share * 100:.2g}%", "bad" if (share or 0) > 0.01 else "plain"
    )


def _nothing(status: ServingStatus) -> tuple[str, str]:
    match status.state:
        case "down":
            return (
                f"The inference server is down: {status.detail}. Start everything with:",
                "mlops-box up --detach",
            )
        case "silent":
            return (
                f"The inference server does not answer ({status.detail}). See its log with t, or:",
                "mlops-box status",
            )
        case "unready":
            return f"The inference server is not ready ({status.detail}).", "mlops-box status"
    return (
        "The inference server is up and serves no model. A champion is made by training:",
        "mlops-box train --project DIR",
    )
