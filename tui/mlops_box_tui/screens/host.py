"""The machine: CPU, memory, disk, GPUs, and what the box's own processes use of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.text import Text
from textual import work
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from mlops_box.errors import BoxError
from mlops_box.operations.views import Gpus, HostReading, own_processes, read_gpus, read_host
from mlops_box.units import format_size
from mlops_box_tui.look import UNKNOWN, Look
from mlops_box_tui.screens.evidence import share
from mlops_box_tui.screens.plain import PlainScreen
from mlops_box_tui.widgets.grids import facts, heading, rows

EVERY_S = 2.0


class HostScreen(PlainScreen):
    """Opened by ``:host``; reads only while it is on top."""

    def __init__(self) -> None:
        super().__init__()
        self.reading: HostReading | None = None
        self.gpus: Gpus | None = None
        self._asking_gpus = False

    def middle(self) -> Iterable[Widget]:
        with VerticalScroll(id="host") as pane:
            pane.can_focus = True
            yield Static(id="host-body", markup=False)

    def on_mount(self) -> None:
        self.query_one("#host").focus()
        self.head(Text(" this machine", style="bold"))
        self.poll(force=True)

    def poll(self, *, force: bool = False) -> None:
        age_s = self.app.box.clock.monotonic_s() - self.reading.at_s if self.reading else EVERY_S
        if force or age_s >= EVERY_S:
            self._poll_host()
            self._poll_gpus()

    @work(exclusive=True, group="poll-host")
    async def _poll_host(self) -> None:
        box, before = self.app.box, self.reading
        try:
            own = await self.app.reader.ask("host", None, own_processes)
        except BoxError as error:
            self.app.report_read(error)
            return
        self.app.report_read(None)
        assert own is not None
        now_s = box.clock.monotonic_s()
        self.reading = await asyncio.to_thread(read_host, box.home, own.value, at_s=now_s, before=before)
        self.redraw()

    @work(group="poll-gpus")
    async def _poll_gpus(self) -> None:
        # nvidia-smi may take seconds: one at a time.
        if not self._asking_gpus:
            self._asking_gpus = True
            try:
                self.gpus = await asyncio.to_thread(read_gpus)
            finally:
                self._asking_gpus = False
            self.redraw()

    def redraw(self) -> None:
        look, reading = self.app.look, self.reading
        if reading is None:
            return
        self.query_one("#host-body", Static).update(Group(
            facts(_machine(reading), look),
            heading("GPU"), _gpus(self.gpus, look),
            heading("processes of the box"),
            rows((">pid", "what", ">cpu", ">memory"),
                 [(str(process.pid), process.what, _percent(process.cpu), format_size(process.rss_bytes))
                  for process in reading.processes],
                 look, empty="none"),
        ))  # fmt: skip


def _machine(reading: HostReading) -> list[tuple[str, object]]:
    used = reading.memory_total - reading.memory_available
    load = " ".join(f"{value:.2f}" for value in reading.load) if reading.load else UNKNOWN
    return [
        ("cpu", f"{_percent(reading.cpu)} of {reading.cpus} CPUs"),
        ("load", f"{load}  (1, 5, 15 minutes)"),
        ("memory", _used(used, reading.memory_total)),
        ("disk", f"{_size(reading.disk_free)} free of {_size(reading.disk_total)} where the box's home is"),
    ]


def _gpus(gpus: Gpus | None, look: Look) -> RenderableType:
    if gpus is None:
        return Text("asking nvidia-smi", style="dim")
    if gpus.problem is not None:
        return look.text(gpus.problem, "quiet")
    lines = [
        (gpu.index, gpu.name, _percent(gpu.busy), _used(gpu.memory_used, gpu.memory_total),
         UNKNOWN if gpu.temperature is None else f"{gpu.temperature:g} °C")
        for gpu in gpus.found
    ]  # fmt: skip
    return rows(("gpu", "name", ">busy", ">memory", ">temperature"), lines, look, empty="no GPU found")


def _used(used: int | None, total: int | None) -> str:
    return f"{_size(used)} of {_size(total)}"


def _size(size_bytes: int | None) -> str:
    return UNKNOWN if size_bytes is None else format_size(size_bytes)


def _percent(value: float | None) -> str:
    return share(value) or UNKNOWN
