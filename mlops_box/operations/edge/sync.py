"""Take over what devices remember: every record once, into the prediction log and the windows of its version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_box.box import Box
from mlops_box.canonical import canonical_json
from mlops_box.edge.arrivals import Arrival
from mlops_box.edge.device.batch import ACKNOWLEDGEMENT, MAX_ENVELOPE_BYTES, Record, acknowledgement
from mlops_box.edge.device_clock import DeviceClock
from mlops_box.edge.devices import Way
from mlops_box.edge.incoming import Incoming, read_incoming
from mlops_box.edge.keys import KeyRing
from mlops_box.edge.signing import sign
from mlops_box.errors import BoxError, NotFoundError, SourceError, UsageError
from mlops_box.files import write_whole
from mlops_box.models.values import REFERENCE_FILE
from mlops_box.operations.monitor_reference import References

if TYPE_CHECKING:
    from mlops_box.edge.device_records import Found, Version
    from mlops_box.models.signature import Signature
    from mlops_box.serving.prediction_store import SealedSegment


@dataclass(frozen=True)
class Receipt:
    """What became of a batch.

    Attributes:
        fresh: Records that were not here.
        aside: Of these, records that could not be used; they are kept as an object.
    """

    device: str
    boot: str
    records: int
    fresh: int
    aside: int

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class ImportOutcome:
    """What became of files.

    Attributes:
        acknowledgements: Files to carry back, one a device.
    """

    receipts: tuple[Receipt, ...]
    acknowledgements: tuple[Path, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "batches": [receipt.to_dict() for receipt in self.receipts],
            "acknowledgements": [str(path) for path in self.acknowledgements],
        }


def receive(box: Box, envelope: bytes, *, way: Way) -> Receipt:
    """Take over a batch; again, it changes nothing.

    Args:
        way: How it came. Only of what came over a network the clocks can be compared.

    Raises:
        UnknownDeviceError: No device of this box signed it.
        UsageError: It is no batch, or was altered.
        StorageError: The disk is full; nothing was taken over.
    """
    incoming = read_incoming(envelope, box.devices)
    device, batch = incoming.device, incoming.batch
    clock = box.devices.clock_of(device)
    if way != "file":
        clock = clock.compared(incoming.reading, _now_us(box))
    while True:
        ranges = box.arrivals.ranges(device.name, batch.boot)
        fresh = box.arrivals.fresh(batch, ranges)
        taken = _prepare(box, incoming, fresh, clock)
        with box.db.write() as tx:
            # Another process may have taken some of it in meanwhile.
            if box.arrivals.ranges(device.name, batch.boot, tx=tx) != ranges:
                continue
            box.devices.seen(tx, device, way, incoming.report, clock)
            if fresh:
                taken.store(box, tx, incoming, way)
        return Receipt(device.name, batch.boot, len(batch.records), len(fresh), len(taken.found.aside))


def acknowledge(box: Box, device: str, boots: Iterable[str]) -> bytes:
    """A signed acknowledgement of all that is here of some boots."""
    ranges = {boot: box.arrivals.ranges(device, boot) for boot in sorted(set(boots)) if boot}
    return sign(acknowledgement(device, ranges), KeyRing(box.home.keys).signers(), kind=ACKNOWLEDGEMENT)


def import_files(box: Box, files: Sequence[Path], *, answers: Path | None = None) -> ImportOutcome:
    """Take over batches that were carried here.

    Args:
        answers: Folder for an acknowledgement a device, ``DEVICE.ack``.

    Raises:
        UsageError: A file is no batch, or of no device of this box. The others were taken over, and are acknowledged.
    """
    if answers is not None and not answers.is_dir():
        raise UsageError(f"{answers} is no folder", hint="is the stick mounted?")
    receipts: list[Receipt] = []
    failed: list[tuple[Path, BoxError]] = []
    for file in files:
        try:
            receipts.append(receive(box, _read(file), way="file"))
        except UsageError as error:
            failed.append((file, error))
    written = _write_answers(box, receipts, answers) if answers is not None else ()
    if failed:
        file, first = failed[0]
        more = f" (and {len(failed) - 1} more files were refused)" if len(failed) > 1 else ""
        raise UsageError(f"{file.name}: {first.message}{more}", hint=first.hint)
    return ImportOutcome(tuple(receipts), written)


@dataclass(frozen=True)
class _Taken:
    """What of a batch is to be stored; its objects are."""

    found: Found
    segment: SealedSegment | None
    counts_digests: tuple[str, ...]
    aside_digest: str | None
    fresh: int

    def store(self, box: Box, tx: Any, incoming: Incoming, way: Way) -> None:
        batch, name = incoming.batch, incoming.device.name
        if self.segment is not None:
            box.predictions.add(tx, self.segment)
            box.arrivals.add_ids(tx, name, self.segment.segment_id, self.found.prediction_ids)
        for item, digest in zip(self.found.counts, self.counts_digests, strict=True):
            box.windows.devices.add(tx, item, digest)
        segment_id = self.segment.segment_id if self.segment is not None else None
        box.arrivals.add(tx, Arrival(batch, incoming.digest, way, segment_id, self.fresh, self.aside_digest))
        facts = {
            "boot": batch.boot, "first": batch.first, "last": batch.last, "fresh": self.fresh, "way": way,
            "digest": incoming.digest, "aside": len(self.found.aside),
        }  # fmt: skip
        box.ledger.append(tx, "device.synced", f"device:{name}", facts)


def _prepare(box: Box, incoming: Incoming, fresh: Sequence[Record], clock: DeviceClock) -> _Taken:
    """Read the records and store their objects; nothing names them yet."""
    from mlops_box.edge.device_records import RecordReader

    boot, now_us, name = incoming.batch.boot, _now_us(box), incoming.device.name
    references = References(box)
    found = RecordReader(
        name,
        boot,
        version=cache(lambda model, number: _version(box, references, model, number)),
        model=cache(lambda model: _signature(box, model)),
        happened_us=lambda sent: clock.happened_us(boot, sent.mono_us, sent.at_us, now_us=now_us),
        is_foreign=cache(lambda prefix: box.arrivals.is_foreign(name, prefix)),
    ).read_all(fresh)
    note = f"from the device {name}: {incoming.batch.first} to {incoming.batch.last} of {boot}"
    aside = canonical_json(found.aside).encode()
    return _Taken(
        found,
        box.predictions.prepare(found.logged, note=note) if found.logged else None,
        tuple(box.windows.devices.put_object(item.counts) for item in found.counts),
        box.objects.put_bytes(aside, kind="device-aside") if found.aside else None,
        len(fresh),
    )


def _version(box: Box, references: References, model: str, number: int) -> Version | None:
    import pyarrow as pa

    from mlops_box.edge.device_records import Version
    from mlops_box.monitoring.count_tables import count_window

    try:
        version = box.models.get(f"{model}@{number}")
    except UsageError:
        return None
    if REFERENCE_FILE not in version.files:
        return Version(version.signature, None)
    return Version(version.signature, count_window(references.whole(version), pa.table({})))


def _signature(box: Box, model: object) -> Signature | None:
    versions = box.models.list(model, limit=1) if isinstance(model, str) else []
    return versions[0].signature if versions else None


def _write_answers(box: Box, receipts: Sequence[Receipt], folder: Path) -> tuple[Path, ...]:
    boots: dict[str, set[str]] = {}
    for receipt in receipts:
        boots.setdefault(receipt.device, set()).add(receipt.boot)
    written = []
    for device, found in sorted(boots.items()):
        file = folder / f"{device}.ack"
        write_whole(file, acknowledge(box, device, found))
        written.append(file)
    return tuple(written)


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_ENVELOPE_BYTES + 1)
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {file}") from None
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror or error}") from error


def _now_us(box: Box) -> int:
    return round(box.clock.now().timestamp() * 1_000_000)
