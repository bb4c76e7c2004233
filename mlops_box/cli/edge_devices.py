"""``mlops-box edge devices``, ``edge import`` and ``edge pull``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box, printable, table

if TYPE_CHECKING:
    from mlops_box.operations.edge.sync import Receipt
    from mlops_box.operations.views.devices import CountedWindow, DeviceDetail, DeviceRow


@click.group("devices", short_help="The devices that may bring what they remember.")
def devices_group() -> None:
    """The devices that may bring what they remember."""


@devices_group.command("list", short_help="All devices, and how they are.")
@home_option
@json_option
def list_command(home: Path | None, as_json: bool) -> None:
    """All devices, and how they said they were when they were seen last."""
    from mlops_box.operations.views.devices import list_devices

    with open_box(home, read_only=True) as box:
        rows = list_devices(box)
    emit([row.to_dict() for row in rows], as_json=as_json, text=lambda: _devices_text(rows))


@devices_group.command("add", short_help="Accept a device by its key.")
@click.argument("name")
@click.argument("key")
@home_option
@json_option
def add(name: str, key: str, home: Path | None, as_json: bool) -> None:
    """Accept a device by its public key, as `mlops-edge init` prints it.

    NAME is what the device calls itself.
    """
    from mlops_box.operations.edge.devices import add_device

    with open_box(home) as box:
        device = add_device(box, name, key)
    facts = {"name": device.name, "key_id": device.key_id}
    emit(facts, as_json=as_json, text=f"device {device.name} may sync; its key is {device.key_id}")


@devices_group.command("remove", short_help="Accept nothing more from a device.")
@click.argument("name")
@home_option
@json_option
def remove(name: str, home: Path | None, as_json: bool) -> None:
    """Accept nothing more from a device; running servers know it at once. What came stays."""
    from mlops_box.operations.edge.devices import remove_device

    with open_box(home) as box:
        device = remove_device(box, name)
    emit({"name": device.name}, as_json=as_json, text=f"device {device.name} is accepted no more")


@devices_group.command("show", short_help="One device: slots, clock, backlog, what it brought.")
@click.argument("name")
@home_option
@json_option
def show(name: str, home: Path | None, as_json: bool) -> None:
    """One device: slots, versions marked bad, clock, backlog, what it brought, and drift where its version answers."""
    from mlops_box.operations.views.devices import device_detail

    with open_box(home, read_only=True) as box:
        detail = device_detail(box, name)
    emit(detail.to_dict(), as_json=as_json, text=lambda: _detail_text(detail))


@click.command("import", short_help="Take over batches that were carried here.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--ack", "answers", metavar="DIR", type=click.Path(path_type=Path),
    help="Write an acknowledgement a device, to carry back: mlops-edge sync --ack FILE.",
)  # fmt: skip
@home_option
@json_option
def import_command(files: tuple[Path, ...], answers: Path | None, home: Path | None, as_json: bool) -> None:
    """Take over predictions, ground truth and counts that devices wrote (mlops-edge sync --to DIR).

    In any order, in part or again: every record counts once. They are in the drift windows from the next
    `mlops-box monitor` on.
    """
    from mlops_box.operations.edge.sync import import_files

    with open_box(home) as box:
        done = import_files(box, files, answers=answers)
    written = [f"acknowledged in {path}" for path in done.acknowledgements]
    emit(done.to_dict(), as_json=as_json, text=lambda: "\n".join([_receipts_text(done.receipts), *written]))


@click.command("pull", short_help="Fetch what a device remembers from its server.")
@click.argument("name")
@click.argument("url")
@home_option
@json_option
def pull_command(name: str, url: str, home: Path | None, as_json: bool) -> None:
    """Fetch what a device remembers from its server, such as http://press-7:8080; it deletes what was taken over."""
    from mlops_box.operations.edge.pull import pull

    with open_box(home) as box:
        receipts = pull(box, name, url)
    facts: dict[str, Any] = {"batches": [receipt.to_dict() for receipt in receipts]}
    emit(facts, as_json=as_json, text=lambda: _receipts_text(receipts))


def _devices_text(rows: Sequence[DeviceRow]) -> str:
    return table(
        ["DEVICE", "STATE", "SERVING", "LAST SEEN", "WAY", "BACKLOG", "DROPPED", "TROUBLE"],
        [
            (row.name, row.state, row.serving, row.to_dict()["last_seen"], row.way, row.backlog, row.dropped, row.trouble)
            for row in rows
        ],
        empty="no device; mlops-box edge devices add NAME KEY",
    )  # fmt: skip


def _detail_text(detail: DeviceDetail) -> str:
    row = detail.row
    clock = "never compared" if row.clock_offset_s is None else f"{row.clock_offset_s:+.1f} s to this box's"
    facts = [
        ("device", f"{row.name}, {row.state}{': ' + row.trouble if row.trouble else ''}"),
        ("key", f"{detail.key_id}, added {detail.added_at:%Y-%m-%d} by {detail.added_by}"),
        ("seen", f"{row.to_dict()['last_seen'] or 'never'}{' by ' + row.way if row.way else ''}"),
        ("serving", row.serving or "unknown"),
        *(
            (f"slot {slot.name}", f"{slot.version or 'empty'} {slot.role}".strip())
            for slot in detail.row.slots
        ),
        ("bad", ", ".join(detail.bad) or "none"),
        ("clock", clock),
        (
            "log",
            f"{row.backlog:,} records there, {row.dropped:,} ever dropped; {detail.rows:,} predictions here",
        ),
        *(("window", _window_text(item)) for item in detail.drift),
    ]
    return "\n".join(f"{name:<9} {printable(text)}" for name, text in facts)


def _window_text(window: CountedWindow) -> str:
    shifts = ", ".join(f"{name} {value:.2f}" for name, value in window.psi[:3]) or "unknown"
    return f"{window.starts_at}, {window.rows} rows of {window.version}; largest PSI: {shifts}"


def _receipts_text(receipts: Sequence[Receipt]) -> str:
    lines = []
    for receipt in receipts:
        aside = f", {receipt.aside} of them cannot be used and are kept aside" if receipt.aside else ""
        lines.append(f"{receipt.device}: {receipt.records} records, {receipt.fresh} new{aside}")
    return "\n".join(lines) or "nothing new"
