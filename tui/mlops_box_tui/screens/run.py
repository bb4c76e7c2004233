"""One run: its steps, parameters, curves, result and acts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from mlops_box.box import Box
from mlops_box.epochs import EpochProgress
from mlops_box.operations.views import RunDetail, run_detail
from mlops_box.runs import Run
from mlops_box_tui.acts.act import act_bindings
from mlops_box_tui.acts.runs import CANCEL, RERUN
from mlops_box_tui.look import Look, Tone
from mlops_box_tui.screens.acts import acts_table
from mlops_box_tui.screens.detail import Body, DetailScreen, Link
from mlops_box_tui.screens.epochs import epoch_line, left_line
from mlops_box_tui.text import clean_lines
from mlops_box_tui.widgets.chart import Chart, Series
from mlops_box_tui.widgets.grids import facts, heading, rows, tree


class RunScreen(DetailScreen[RunDetail]):
    """A run by its id or the beginning of it."""

    TABS = ("steps", "metrics", "log", "parameters", "result", "acts")
    ACTS = (RERUN, CANCEL)
    BINDINGS = act_bindings(ACTS)

    def fetch(self, box: Box) -> RunDetail:
        return run_detail(box, self.subject)

    @property
    def moving(self) -> bool:
        return self.detail is not None and self.detail.run.state == "running"

    def subject_of(self, detail: RunDetail) -> Run:
        return detail.run

    def heading(self, detail: RunDetail, look: Look) -> Text:
        run = detail.run
        lost = run.state == "running" and detail.owner_alive is False
        progress = _progress(detail, look)
        left = left_line(progress, look) if progress is not None else Text()
        return Text.assemble(
            " ", look.text(f"{run.kind} {run.project}"), "  ", look.state("lost" if lost else run.state), "  ",
            look.took(run.started_at, run.ended_at), left, ("  run ", "dim"), look.text(run.id, "quiet"),
        )  # fmt: skip

    def body(self, tab: str, detail: RunDetail, look: Look) -> Body:
        match tab:
            case "steps":
                return Body(_steps(detail, look))
            case "log":
                return Body([_log(detail, look)])
            case "metrics":
                return _metrics(detail, look)
            case "parameters":
                return Body([tree(detail.run.params, look)])
            case "result":
                result = detail.run.result
                return Body([tree(result, look) if result else Text("no result recorded", style="dim")])
        return Body([acts_table(detail.acts, look)])

    def links(self, detail: RunDetail) -> Sequence[Link]:
        found = []
        if detail.version:
            found.append(Link("version", detail.version, "registered by this run"))
        if detail.decision_id:
            found.append(Link("decision", detail.decision_id, "asked for this run"))
        if detail.alert_id:
            found.append(Link("alert", detail.alert_id, "led to the decision"))
        snapshot = (detail.run.result or {}).get("snapshot") or (detail.run.result or {}).get("snapshot_id")
        if isinstance(snapshot, str):
            found.append(Link("batch", snapshot, "the data of this run"))
        return found


def _steps(detail: RunDetail, look: Look) -> list[RenderableType]:
    run = detail.run
    parts: list[RenderableType] = []
    if run.error:
        error = Text(look.fit(clean_lines(run.error)), style=look.style("bad"))
        parts += [Text.assemble(look.state(run.state), (" because:", "dim")), error, Text()]
    parts.append(
        rows(
            ("step", "state", ">took", "detail"),
            [
                (s.name, look.state(s.state), look.took(s.started_at, s.ended_at), s.detail or "")
                for s in detail.steps
            ],
            look,
            empty="no step recorded",
        )
    )
    parts += [
        heading("run"),
        facts(
            [
                ("started", f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC"),
                ("ended", f"{run.ended_at:%Y-%m-%d %H:%M:%S} UTC" if run.ended_at else None),
                ("started by", run.trigger),
                ("process", f"{run.owner.pid}" if run.state == "running" else None),
                ("flow run", run.flow_run_id),
                ("version", detail.version),
            ],
            look,
        ),
    ]
    return parts


def _log(detail: RunDetail, look: Look) -> RenderableType:
    """The newest lines first: what one opens this for stands on top, and needs no scrolling while it grows."""
    log = detail.log
    if log.lines is None:
        return Text(
            "no log: the run said nothing, was made before runs kept one, or it is older than a month",
            style="dim",
        )
    shown = Text()
    for line in reversed(log.lines):
        at, _, said = line.partition(" ")
        level, _, words = said.partition(" ")
        tone: Tone = "bad" if level in ("error", "critical") else "warn" if level == "warning" else "plain"
        shown.append_text(
            Text.assemble(look.text(at[11:19], "quiet"), "  ", look.text(words.strip() or said, tone), "\n")
        )
    if log.cut:
        shown.append(f"older lines: mlops-box runs log {detail.run.id} --lines 100000", style="dim")
    return shown


def _metrics(detail: RunDetail, look: Look) -> Body:
    curves = {
        name: [(step, value) for step, value in points if math.isfinite(value)]
        for name, points in detail.points.items()
    }
    drawn = {name: points for name, points in curves.items() if points}
    result = detail.run.result or {}
    numbers = result.get("metrics") if isinstance(result.get("metrics"), dict) else {}
    progress = _progress(detail, look)
    parts: list[RenderableType] = [epoch_line(progress, look)] if progress is not None else []
    measured: list[RenderableType] = (
        [heading("result"), facts(sorted(numbers.items()), look)] if numbers else []
    )
    if not drawn:
        waits = progress is not None and progress.running
        said = "no epoch is done yet" if waits else "no curve recorded: only trainings in epochs draw one"
        return Body([*parts, Text(said, style="dim"), *measured])
    last = [(name, points[-1][0], float(points[-1][1]), *_best(points), look.spark([v for _, v in points], width=24))
            for name, points in drawn.items()]  # fmt: skip
    columns = ("curve", ">epoch", ">newest", ">lowest", ">in epoch", "trend")
    table = rows(columns, last, look, empty="")
    return Body(parts, _charts(drawn), below=[Text(), table, *measured])


def _charts(drawn: dict[str, list[tuple[int, float]]]) -> list[Chart]:
    series = [
        Series(name, [float(step) for step, _ in points], [value for _, value in points])
        for name, points in drawn.items()
    ]
    kinds = {name.split("_")[-1] for name in drawn}
    if len(kinds) == 1:
        # Curves of one kind (train_loss, validation_loss) share their axis.
        return [Chart(f"{kinds.pop()} by epoch", series, axis="count")]
    return [Chart(f"{one.name} by epoch", [one], axis="count") for one in series]


def _best(points: Sequence[tuple[int, float]]) -> tuple[float, int]:
    step, value = min(points, key=lambda point: (point[1], point[0]))
    return float(value), step


def _progress(detail: RunDetail, look: Look) -> EpochProgress | None:
    if detail.epochs is None:
        return None
    return detail.epochs.progress(look.now, running=detail.owner_alive is True)
