"""One device: what lies in its slots, what it sent, how far its data drifted."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from mlops_box.box import Box
from mlops_box.operations.views import DeviceDetail, DeviceRow, device_detail
from mlops_box.operations.views.devices import SlotView
from mlops_box_tui.look import UNKNOWN, Look
from mlops_box_tui.screens.detail import Body, DetailScreen, Link
from mlops_box_tui.widgets.grids import facts, heading, rows, tree


class DeviceScreen(DetailScreen[DeviceDetail]):
    """A device by its name."""

    TABS = ("health", "drift", "batches", "history")

    def fetch(self, box: Box) -> DeviceDetail:
        return device_detail(box, self.subject)

    def heading(self, detail: DeviceDetail, look: Look) -> Text:
        row = detail.row
        return Text.assemble(
            " ", look.text(row.name, "accent"), "  ", look.state(row.state), ("  serves ", "dim"), look.text(row.serving),
            ("  last seen ", "dim"), look.ago(row.last_seen),
        )  # fmt: skip

    def body(self, tab: str, detail: DeviceDetail, look: Look) -> Body:
        match tab:
            case "health":
                return Body(_health(detail, look))
            case "drift":
                return Body([_drift(detail, look)])
            case "batches":
                return Body([_batches(detail, look)])
        return Body(_history(detail, look))

    def links(self, detail: DeviceDetail) -> Sequence[Link]:
        serving = detail.row.serving
        return [Link("version", serving, "it serves this")] if serving else []


def slot_state(slot: SlotView, look: Look) -> Text:
    """Whether what lies there has proven itself on the device."""
    words = {"good": ("passed", "good"), "bad": ("failed", "bad"), "trial": ("pending", "on trial")}
    state, word = words.get(slot.mark, ("unjudged", "unknown"))
    return look.state(state, word)


def _health(detail: DeviceDetail, look: Look) -> list[RenderableType]:
    row = detail.row
    slots = [
        (
            slot.name,
            slot.version or "empty",
            slot_state(slot, look),
            slot.role,
            "it answers" if slot.serving else "",
        )
        for slot in row.slots
    ]
    return [
        facts(
            [
                ("trouble", row.trouble), ("backlog", f"{told(row, row.backlog)} records it still held"),
                ("dropped", f"{told(row, row.dropped)} records its full log let go"), ("rows here", detail.rows),
                ("clock behind", f"{row.clock_offset_s:.3f} s" if row.clock_offset_s is not None else None),
                ("seen by", row.way), ("epoch", detail.epoch), ("key", detail.key_id),
                ("added", f"{detail.added_at:%Y-%m-%d %H:%M:%S} UTC by {detail.added_by}"),
                ("marked bad", ", ".join(detail.bad)),
            ],
            look,
        ),
        heading("slots"),
        rows(("slot", "version", "mark", "role", ""), slots, look, empty="it has not told of its slots"),
    ]  # fmt: skip


def told(row: DeviceRow, count: int) -> str:
    """What a device reported; one that never came has reported nothing, not zero."""
    return UNKNOWN if row.last_seen is None else str(count)


def _drift(detail: DeviceDetail, look: Look) -> RenderableType:
    lines = [
        (window.starts_at, window.version, window.rows, column, psi)
        for window in detail.drift
        for column, psi in window.psi
    ]
    columns = ("window", "version", ">rows", "column", ">psi")
    return rows(columns, lines, look, empty="it has counted no window yet")


def _batches(detail: DeviceDetail, look: Look) -> RenderableType:
    lines = [
        (batch.received_at, batch.way, batch.boot, f"{batch.first}-{batch.last}", batch.fresh, batch.aside_digest)
        for batch in detail.batches
    ]  # fmt: skip
    columns = ("received", "way", "boot", ">records", ">new", "set aside")
    return rows(columns, lines, look, empty="no batch came yet")


def _history(detail: DeviceDetail, look: Look) -> list[RenderableType]:
    if not detail.history:
        return [Text("it has not told what it did", style="dim")]
    return [part for act in detail.history for part in (tree(act, look), Text())]
