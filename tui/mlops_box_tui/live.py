"""What the app knows of the box at every moment: counts, freshness, the server's answers."""

from __future__ import annotations

from typing import Any

from textual import work
from textual.app import App

from mlops_box.box import Box
from mlops_box.errors import BoxError
from mlops_box.operations.views import Counts, ServingStatus, read_counts, read_serving
from mlops_box_tui.look import Look
from mlops_box_tui.reader import Reader, Seen
from mlops_box_tui.settings import Settings
from mlops_box_tui.traffic import Traffic

SERVING_EVERY_S = 2.0
# Of versions that no server tells of any more, the newest are remembered.
TRAFFIC_KEPT = 64


class LiveApp(App[None]):
    """An app over one box, kept up to date. What is drawn and which keys there are is a subclass's.

    Args:
        box: Opened with ``read_only=True``; the caller closes it.
        settings: Theme, characters, keys.
    """

    def __init__(self, box: Box, *, settings: Settings | None = None):
        super().__init__()
        self.box = box
        self.settings = settings or Settings()
        self.reader = Reader(box)
        self.counts: Counts | None = None
        self.model_names: tuple[str, ...] = ()
        self.serving: ServingStatus | None = None
        self.traffic: dict[str, Traffic] = {}
        self.trouble: BoxError | None = None
        self._checked_at_s: float | None = None
        self._counts_seen: Seen | None = None
        self._serving_at_s: float | None = None

    # What a subclass says.

    def redraw_status(self) -> None:
        """Something that the status line tells has changed."""

    def serving_heard(self) -> None:
        """The server has answered, or has not."""

    # What is known.

    @property
    def look(self) -> Look:
        """How things look now."""
        return Look.from_theme(
            self.theme_variables, ascii_only=self.settings.ascii_only, now=self.box.clock.now()
        )

    @property
    def checked_age_s(self) -> float | None:
        """How long ago what is shown was known to be true."""
        return None if self._checked_at_s is None else self.box.clock.monotonic_s() - self._checked_at_s

    def say_error(self, error: BoxError) -> None:
        """Tell a person what is wrong and what to do next."""
        hint = f"; try: {error.hint}" if error.hint else ""
        self.notify(f"{error.message}{hint}", severity="error", markup=False, timeout=10)

    def report_read(self, error: BoxError | None) -> None:
        """A view read the box, or could not."""
        if error is None:
            self._checked_at_s = self.box.clock.monotonic_s()
        elif self.trouble is None:
            self.say_error(error)
        self.trouble = error
        self.redraw_status()

    # Reading.

    @work(exclusive=True, group="poll-counts")
    async def read_counts(self, force: bool) -> None:
        """Read what the status line shows, unless nothing changed."""
        try:
            fetched = await self.reader.ask("counts", None if force else self._counts_seen, _counts_and_names)
        except BoxError as error:
            self._counts_seen = None
            self.report_read(error)
            return
        if fetched is not None:
            (self.counts, self.model_names), self._counts_seen = fetched.value, fetched.seen
            self.redraw_status()
        if self.serving is None or self._serving_age_s > 5 * SERVING_EVERY_S:
            self.poll_serving()

    @property
    def _serving_age_s(self) -> float:
        now_s = self.box.clock.monotonic_s()
        return float("inf") if self._serving_at_s is None else now_s - self._serving_at_s

    def poll_serving(self) -> None:
        """Ask the server how it is, but not more often than is useful."""
        if self._serving_age_s >= SERVING_EVERY_S:
            self._serving_at_s = self.box.clock.monotonic_s()
            self._ask_server()

    @work(thread=True, exclusive=True, group="poll-serving")
    def _ask_server(self) -> None:
        status = read_serving(self.box.home)
        self.call_from_thread(self._heard, status)

    def _heard(self, status: ServingStatus) -> None:
        self.serving = status
        now = self.box.clock.now()
        for row in status.models:
            if row.requests is not None:
                before = self.traffic.pop(row.key, None)
                self.traffic[row.key] = before.next(now, row) if before else Traffic.begun(now, row)
        for key in list(self.traffic)[:-TRAFFIC_KEPT]:
            del self.traffic[key]
        self.serving_heard()
        self.redraw_status()


def _counts_and_names(box: Box) -> tuple[Counts, tuple[str, ...]]:
    rows: Any = box.db.read("SELECT DISTINCT model FROM versions ORDER BY model LIMIT 1000")
    return read_counts(box), tuple(row["model"] for row in rows)
