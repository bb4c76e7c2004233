"""What this device has to say to the box, batch by batch, and what it may forget once the box has it."""

from __future__ import annotations

import sys
import time
from typing import Any, Iterator, NamedTuple

from . import batch
from .batch import BATCH_BYTES, Record
from .boot import boot_id, device_facts
from .commands.status import report
from .errors import Refused
from .keys import load_keys
from .log import Entry, RingLog
from .place import Place

_ACTS = 10


class Made(NamedTuple):
    """A batch as it goes out.

    Attributes:
        name: Of its file: device, boot, first and last record.
        last: Its last record's number; of an empty batch, the number it was asked to begin behind.
    """

    name: str
    last: int
    records: int
    envelope: bytes


class Outgoing:
    """The log, read for the box. Several may be at work at once: the box takes every record once.

    Args:
        place: A device folder after ``init``.

    Raises:
        Refused: It has no name, key or trusted keys.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._name = str(device_facts(place.require()).get("name", ""))
        if not self._name or not place.device_key.exists():
            raise Refused(
                f"{place.root} has no device name or key yet", hint="mlops-edge init", rule="device.key"
            )
        self._seed = place.device_key.read_bytes()
        # Only who appends makes room: here the bound does not matter.
        self._log = RingLog(place.log, sys.maxsize)

    def __enter__(self) -> Outgoing:
        return self

    def __exit__(self, *error: object) -> None:
        self._log.close()

    def next(self, after: int = 0) -> Made:
        """The batch of the records behind one; empty, but signed and with the device's report, where there are none."""
        records = list(_of_one_boot(self._log.read(after, BATCH_BYTES)))
        boot = records[0].boot if records else ""
        sent = [Record(item.seq, item.mono_us, item.at_us, item.kind, item.body) for item in records]
        envelope = batch.write_batch(self._facts(len(sent)), boot, sent, self._seed)
        last = sent[-1].seq if sent else after
        first = sent[0].seq if sent else after
        return Made(f"{self._name}-{boot or boot_id()}-{first}-{last}.mbs", last, len(sent), envelope)

    def all(self) -> Iterator[Made]:
        """Everything that is not acknowledged; one empty batch where that is nothing."""
        made = self.next()
        yield made
        while made.records:
            made = self.next(made.last)
            if made.records:
                yield made

    def take(self, envelope: bytes) -> int:
        """Forget what the box says it holds, from the oldest record up to the first that it does not.

        Returns:
            How many records went.

        Raises:
            Refused: No acknowledgement of a trusted box for this device; nothing was forgotten.
        """
        keys = load_keys(self._place)
        ranges = batch.read_acknowledgement(envelope, self._name, keys.trusted, keys.revoked)
        through = 0
        entries = self._log.read(through, BATCH_BYTES)
        while entries:
            for entry in entries:
                if not batch.holds(ranges, entry.boot, entry.seq):
                    return self._log.acknowledge(through)
                through = entry.seq
            entries = self._log.read(through, BATCH_BYTES)
        return self._log.acknowledge(through)

    def _facts(self, records: int) -> dict[str, Any]:
        """What every header says: who, by which clocks, and how the device is."""
        facts = device_facts(self._place)
        dropped = self._log.dropped
        return {
            "device": self._name,
            "starts": int(facts.get("boot_counter", 0)),
            "clock": {
                "boot": boot_id(),
                "mono_us": time.monotonic_ns() // 1000,
                "wall_us": time.time_ns() // 1000,
            },
            "backlog": max(0, self._log.backlog - records),
            "dropped": sum(dropped.values()),
            "health": {**report(self._place, _ACTS), "dropped": dropped, "log_bytes": self._log.used_bytes},
        }


def _of_one_boot(entries: list[Entry]) -> Iterator[Entry]:
    for entry in entries:
        if entry.boot != entries[0].boot:
            return
        yield entry
