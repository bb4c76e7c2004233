"""The metrics of a model over its versions: one chart a metric, and the versions below it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import DataTable

from mlops_box.operations.views import MetricHistory, MetricPoint, ModelHistory, model_history
from mlops_box_tui.look import Look
from mlops_box_tui.looking import Looking
from mlops_box_tui.screens.detail import Link
from mlops_box_tui.screens.plain import PlainScreen
from mlops_box_tui.widgets.chart import Chart, ChartPane, Series
from mlops_box_tui.widgets.grids import change
from mlops_box_tui.widgets.table import Column, Line, ResourceTable

COLUMNS = (
    Column("version", "version", 8),
    Column("state", "state", 12),
    Column("value", "value", 12, right=True),
    Column("champion", "to champion", 12, right=True),
    Column("created", "created", 12, flex=True),
)


class MetricHistoryScreen(Looking, PlainScreen):
    """Opened from the models, the versions and a version; Enter opens a version."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right_square_bracket,m", "metric(1)", "next metric", key_display="]", id="metrics.next",
                tooltip="The next metric."),
        Binding("left_square_bracket", "metric(-1)", "metric before", key_display="[", show=False,
                id="metrics.before", tooltip="The metric before."),
    ]  # fmt: skip

    def __init__(self, model: str, number: int | None = None):
        """The cursor begins on version ``number``, or on the newest."""
        super().__init__()
        self.model = model
        self.history: ModelHistory | None = None
        self.place = 0
        self._begin_at = number

    @property
    def metric(self) -> MetricHistory | None:
        """The metric that is shown."""
        if self.history is None or not self.history.metrics:
            return None
        return self.history.metrics[self.place % len(self.history.metrics)]

    def middle(self) -> Iterable[Widget]:
        yield ChartPane()
        yield ResourceTable(COLUMNS)

    def on_mount(self) -> None:
        self.query_one(ResourceTable).focus()
        self.poll()

    def poll(self, *, force: bool = False) -> None:
        self._poll(force)

    @work(exclusive=True, group="poll-screen")
    async def _poll(self, force: bool) -> None:
        found = await self.look(
            ("metrics", self.model), lambda box: model_history(box, self.model), force=force
        )
        if found is not None:
            self.history = found
            self.redraw()

    def redraw(self) -> None:
        history, metric, look = self.history, self.metric, self.app.look
        if history is None:
            return
        if metric is None:
            self.head(
                Text.assemble(" ", look.text(history.model, "accent"), ("  no version has a metric", "dim"))
            )
            return
        self.head(_heading(history, metric, self.place % len(history.metrics), look))
        self.query_one(ResourceTable).show([_line(metric, point, look) for point in reversed(metric.points)])
        self._to_beginning()
        self._draw_chart()

    def _to_beginning(self) -> None:
        """Put the cursor where it begins, once the table has rows: it has none before its first layout."""
        table, wanted = self.query_one(ResourceTable), str(self._begin_at)
        if self._begin_at is None or not table.row_count:
            return
        self._begin_at = None
        if wanted in table.rows:
            table.move_cursor(row=table.get_row_index(wanted), animate=False)

    def _draw_chart(self) -> None:
        if self.metric is not None:
            key = self.query_one(ResourceTable).cursor_key
            self.query_one(ChartPane).show(metric_chart(self.metric, int(key) if key else None))

    def action_metric(self, step: int) -> None:
        self.place += step
        self.redraw()

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        event.stop()
        self._to_beginning()
        self._draw_chart()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        event.stop()
        self.app.open_link(Link("version", f"{self.model}@{event.row_key.value}", "drawn here"))


def metric_chart(metric: MetricHistory, chosen: int | None) -> Chart:
    """Accepted versions as a curve; rejected ones, the champion and the one under the cursor as marks of their own."""
    held = [(float(point.number), point.value, point) for point in metric.points if point.value is not None]

    def marked(name: str, points: list[tuple[float, float, MetricPoint]], **look: object) -> Series:
        return Series(name, [x for x, *_ in points], [y for _, y, _ in points], **look)  # type: ignore[arg-type]

    accepted = [one for one in held if one[2].accepted]
    levels = [y for _, y, _ in held]
    under = [one for one in held if one[2].number == chosen]
    ends = [(x, level) for x, *_ in under for level in (min(levels), max(levels))]
    series = [
        Series("cursor", [x for x, _ in ends], [y for _, y in ends], tone="quiet", marker=("┊", ":")),
        marked("accepted", accepted),
        # Each version is a point: the line between two says nothing.
        marked("", accepted, joined=False, tone="busy", marker=("•", "o")),
        marked(
            "rejected",
            [one for one in held if not one[2].accepted],
            joined=False,
            tone="bad",
            marker=("✗", "x"),
        ),
        marked(
            "champion", [one for one in held if one[2].champion], joined=False, tone="good", marker=("◆", "C")
        ),
    ]
    threshold = (metric.limit, f"gate of v{metric.limit_of}") if metric.limit is not None else None
    shown = tuple(one for one in series if one.xs)
    return Chart(f"{metric.name} by version", shown, axis="count", threshold=threshold)


def _heading(history: ModelHistory, metric: MetricHistory, place: int, look: Look) -> Text:
    better = {True: "higher is better", False: "lower is better", None: "which way is better is not known"}
    shown = len(metric.points)
    text = Text.assemble(
        " ", look.text(history.model, "accent"), "  ", look.text(metric.name),
        (f"  {better[metric.higher_is_better]}  metric {place + 1} of {len(history.metrics)}", "dim"),
    )  # fmt: skip
    if shown < history.versions:
        text.append(f"  the newest {shown} of {history.versions} versions", style="dim")
    return text


def _line(metric: MetricHistory, point: MetricPoint, look: Look) -> Line:
    champion = next((one.value for one in metric.points if one.champion), None)
    state = "accepted" if point.accepted else "rejected"
    difference = look.text("champion", "good") if point.champion else look.text(change(point.value, champion))
    cells = (
        look.text(f"v{point.number}", "accent"), look.state(state), look.number(point.value), difference,
        look.when(point.created_at),
    )  # fmt: skip
    return Line(f"{point.number}", cells)


def metrics_key(view: str) -> Binding:
    """The binding of a place that names a model."""
    return Binding(
        "m",
        "metrics",
        "metrics",
        show=False,
        id=f"{view}.metrics",
        tooltip="The metrics of this model over its versions, one chart each.",
    )
