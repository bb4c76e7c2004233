"""What has arrived from devices: every record once, however batches overlap, repeat or overtake each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mlops_box.clock import Clock, isoformat
from mlops_box.db import Database, Row, Transaction
from mlops_box.edge.device.batch import Batch, Range, Record, holds
from mlops_box.edge.devices import Way
from mlops_box.serving.records import segment_of


def merged(ranges: Iterable[Range]) -> list[Range]:
    """The same numbers as the fewest ranges, in order; ends belong to them.

    >>> merged([(5, 9), (1, 3), (4, 4), (12, 12)])
    [(1, 9), (12, 12)]
    """
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


@dataclass(frozen=True)
class Arrival:
    """What a batch brought.

    Attributes:
        digest: SHA-256 of its envelope.
        segment_id: Where its predictions and ground truth lie; ``None``: it had none that are new.
        fresh: Records that were not here.
        aside_digest: Object with the records that could not be used; ``None``: there are none.
    """

    batch: Batch
    digest: str
    way: Way
    segment_id: str | None
    fresh: int
    aside_digest: str | None


class ArrivalStore:
    """Which records of which device are here."""

    def __init__(self, db: Database, clock: Clock):
        self._db = db
        self._clock = clock

    def ranges(self, device: str, boot: str, *, tx: Transaction | None = None) -> list[Range]:
        """The sequence numbers of one boot that are here, merged."""
        rows = (tx or self._db).read(
            "SELECT first_seq, last_seq FROM device_ranges WHERE device = ? AND boot = ? ORDER BY first_seq",
            (device, boot),
        )
        return [(row["first_seq"], row["last_seq"]) for row in rows]

    def fresh(self, batch: Batch, ranges: list[Range]) -> list[Record]:
        """The records of a batch that are in none of the ranges."""
        known = {batch.boot: ranges}
        return [record for record in batch.records if not holds(known, batch.boot, record.seq)]

    def add(self, tx: Transaction, arrival: Arrival) -> None:
        """Note a batch with records; its numbers are here from now on."""
        batch = arrival.batch
        tx.insert(
            "device_batches",
            {
                "device": batch.device, "boot": batch.boot, "first_seq": batch.first, "last_seq": batch.last,
                "digest": arrival.digest, "segment_id": arrival.segment_id, "records": len(batch.records),
                "fresh": arrival.fresh, "aside_digest": arrival.aside_digest, "way": arrival.way,
                "received_at": isoformat(self._clock.now()),
            },
        )  # fmt: skip
        ranges = self.ranges(batch.device, batch.boot, tx=tx)
        tx.execute("DELETE FROM device_ranges WHERE device = ? AND boot = ?", (batch.device, batch.boot))
        numbers = [(record.seq, record.seq) for record in batch.records]
        for first, last in merged([*ranges, *numbers]):
            row: Row = {"device": batch.device, "boot": batch.boot, "first_seq": first, "last_seq": last}
            tx.insert("device_ranges", row)

    def is_foreign(self, device: str, prefix: str) -> bool:
        """Whether prediction ids that begin so were given out by this box or another device: no device may speak of them."""
        taken = self._db.one(
            "SELECT 1 FROM segments WHERE id = :prefix "
            "UNION SELECT 1 FROM device_ids WHERE prefix = :prefix AND device <> :device",
            {"prefix": prefix, "device": device},
        )
        return taken is not None

    def add_ids(self, tx: Transaction, device: str, segment_id: str, ids: Iterable[str]) -> None:
        """Note which segment holds the predictions of these ids."""
        by_prefix: dict[str, list[str]] = {}
        for id_ in ids:
            by_prefix.setdefault(segment_of(id_), []).append(id_)
        for prefix, found in sorted(by_prefix.items()):
            row: Row = {
                "prefix": prefix, "segment_id": segment_id, "device": device,
                "first_id": min(found), "last_id": max(found),
            }  # fmt: skip
            tx.insert("device_ids", row)
