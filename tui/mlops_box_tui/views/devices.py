"""Devices: what runs in the field, what it serves and how it was when it was seen last."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.screen import Screen

from mlops_box.box import Box
from mlops_box.operations.views import DeviceRow, Page, Query
from mlops_box.operations.views.devices import page_of_devices
from mlops_box_tui.look import UNKNOWN, Look
from mlops_box_tui.screens.device import DeviceScreen, slot_state
from mlops_box_tui.views.base import ListView
from mlops_box_tui.widgets.table import Column


class DevicesView(ListView[DeviceRow]):
    """One line a device."""

    NAME = "devices"
    COLUMNS = (
        Column("name", "device", 18, sortable=True),
        Column("serving", "serving", 18, flex=True),
        Column("state", "health", 11),
        Column("backlog", "backlog", 8, sortable=True, right=True),
        Column("slots", "slots", 14, drop=2),
        Column("dropped", "dropped", 8, sortable=True, drop=3, right=True),
        Column("way", "way", 5, drop=4),
        Column("last_seen", "last seen", 10, sortable=True, right=True),
        Column("trouble", "trouble", 26, drop=1),
    )
    EMPTY = (
        "No device. One is added by the key that mlops-edge init prints on it:",
        "mlops-box edge devices add NAME KEY",
    )
    STATES = ("new", "fine", "trouble", "removed")

    def fetch(self, box: Box, query: Query) -> Page[DeviceRow]:
        return page_of_devices(box, query)

    def key_of(self, row: DeviceRow) -> str:
        return row.name

    def cells(self, row: DeviceRow, look: Look) -> tuple[Text, ...]:
        # One that never came has reported nothing, not zero.
        came = row.last_seen is not None
        return (
            look.text(row.name, "accent"), look.text(row.serving), look.state(row.state),
            look.count(row.backlog if came else None), slots(row, look), look.count(row.dropped if came else None), look.text(row.way, "quiet"), look.ago(row.last_seen), look.text(row.trouble, "warn"),
        )  # fmt: skip

    def preview(self, row: DeviceRow, look: Look) -> Sequence[Text]:
        return (
            Text.assemble(look.text(row.name, "accent"), "  ", look.state(row.state), ("  serves ", "dim"),
                          look.text(row.serving)),
            Text.assemble(("clock behind by ", "dim"), look.number(row.clock_offset_s), ("s  ", "dim"),
                          look.text(row.trouble, "warn")),
        )  # fmt: skip

    def detail(self, row: DeviceRow) -> Screen[None]:
        return DeviceScreen(row.name)


def slots(row: DeviceRow, look: Look) -> Text:
    """``a*v3✓ b v2✓``: a star where the device answers from, then whether it has proven itself there."""
    if not row.slots:
        return Text(UNKNOWN, style="dim")
    model = (row.serving or "").partition("@")[0]
    parts = []
    for slot in row.slots:
        name, _, number = (slot.version or "").partition("@")
        shown = f"v{number}" if number and name == model else slot.version or "empty"
        part = look.text(f"{slot.name}{'*' if slot.serving else ' '}{shown}")
        if slot.version:
            mark = slot_state(slot, look)
            part.append(mark.plain[:1], style=mark.style)
        parts.append(part)
    return Text(" ").join(parts)
