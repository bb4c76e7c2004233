"""What a device sends home and what comes back: signed batches of its log, and signed acknowledgements.

A batch is a DSSE envelope around gzip around JSON lines: a header, then one record a line. All its records are of one
boot, in the order of their sequence numbers; what the log had dropped before is missing between them. An acknowledgement names, for each boot, the ranges of sequence numbers that the box holds.

Format 1. To change it: raise ``FORMAT``, keep reading what older devices send, and say here what differs.
"""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any, Collection, Dict, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from . import dsse
from .errors import Refused
from .strict_json import canonical_json, parse_object, whole

FORMAT = 1
BATCH = "application/vnd.mlops-box.sync+json"
ACKNOWLEDGEMENT = "application/vnd.mlops-box.sync-ack+json"
# A batch of this many bytes of bodies stays below 8 MiB on the wire whatever is in it.
BATCH_BYTES = 4 * 1024 * 1024
MAX_ENVELOPE_BYTES = 8 * 1024 * 1024
MAX_UNPACKED_BYTES = 16 * 1024 * 1024
MAX_HEADER_BYTES = 256 * 1024

Range = Tuple[int, int]
Ranges = Dict[str, List[Range]]


class Record(NamedTuple):
    """One record of the log as it travels.

    Attributes:
        mono_us, at_us: When it was written, by the machine's monotonic clock and by its wall clock (since 1970).
        kind: ``prediction``, ``truth`` or ``window``.
        body: JSON, as the log has it.
    """

    seq: int
    mono_us: int
    at_us: int
    kind: str
    body: str


class Batch(NamedTuple):
    """A batch that was read, its signature good.

    Attributes:
        header: ``device``, ``clock``, ``health`` and what else the device says of itself.
        boot: The boot of all its records; empty where there are none.
    """

    header: dict[str, Any]
    boot: str
    first: int
    last: int
    records: tuple[Record, ...]

    @property
    def device(self) -> str:
        return str(self.header["device"])


def write_batch(facts: Mapping[str, Any], boot: str, records: Sequence[Record], seed: bytes) -> bytes:
    """The envelope of a batch; the same records and facts give the same bytes.

    Args:
        facts: ``device``, ``clock`` and ``health`` of the header.
        seed: The device's private key.
    """
    header = dict(facts, format=FORMAT, boot=boot, records=len(records))
    if records:
        header.update(first=records[0].seq, last=records[-1].seq)
    lines = [canonical_json(header), *(canonical_json(record._asdict()) for record in records)]
    return dsse.wrap(BATCH, gzip.compress(b"\n".join(lines) + b"\n", 6, mtime=0), seed)


def read_batch(envelope: bytes, trusted: Mapping[str, bytes]) -> Batch:
    """The batch in an envelope.

    Args:
        trusted: Key id to public key of whom it may come from.

    Raises:
        Refused: Too large, altered, signed by nobody trusted, or no batch.
    """
    if len(envelope) > MAX_ENVELOPE_BYTES:
        raise Refused(
            f"the batch has {len(envelope)} bytes, {MAX_ENVELOPE_BYTES} are allowed", rule="batch.size"
        )
    first_line, _, rest = _unpacked(dsse.unwrap(envelope, BATCH, trusted)).partition(b"\n")
    if len(first_line) > MAX_HEADER_BYTES:
        raise Refused("the batch's header is too large", rule="batch.malformed")
    header = parse_object(first_line, "the batch's header")
    if header.get("format") != FORMAT:
        raise Refused(
            f"the batch has format {header.get('format')!r}, this program reads {FORMAT}",
            rule="batch.format",
        )
    try:
        return _checked(header, tuple(_records(rest)))
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise Refused(f"the batch is malformed: {error}", rule="batch.malformed") from error


def acknowledgement(device: str, ranges: Mapping[str, Sequence[Range]]) -> bytes:
    """The payload of an acknowledgement, to be signed by the box."""
    listed = {boot: [list(item) for item in found] for boot, found in ranges.items()}
    return canonical_json({"format": FORMAT, "device": device, "ranges": listed})


def read_acknowledgement(
    envelope: bytes, device: str, trusted: Mapping[str, bytes], revoked: Collection[str] = ()
) -> Ranges:
    """What the box holds of this device.

    Raises:
        Refused: Altered, signed by nobody trusted, for another device, or no acknowledgement.
    """
    raw = parse_object(dsse.unwrap(envelope, ACKNOWLEDGEMENT, trusted, revoked), "the acknowledgement")
    try:
        ranges = {
            str(boot): [(whole(first), whole(last)) for first, last in found]
            for boot, found in raw["ranges"].items()
        }
        named, format_ = raw["device"], raw["format"]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise Refused(f"the acknowledgement is malformed: {error}", rule="ack.malformed") from error
    if format_ != FORMAT:
        raise Refused(
            f"the acknowledgement has format {format_!r}, this agent reads {FORMAT}", rule="ack.format"
        )
    if named != device:
        raise Refused(f"the acknowledgement is for {named}, this is {device}", rule="ack.device")
    return ranges


def holds(ranges: Mapping[str, Sequence[Range]], boot: str, seq: int) -> bool:
    """Whether a record is acknowledged."""
    return any(first <= seq <= last for first, last in ranges.get(boot, ()))


def _unpacked(payload: bytes) -> bytes:
    """Raises :class:`Refused` for what is no gzip, is cut short, or grows beyond the bound."""
    reader = zlib.decompressobj(31)
    try:
        data = reader.decompress(payload, MAX_UNPACKED_BYTES)
    except zlib.error as error:
        raise Refused(f"the batch is no gzip: {error}", rule="batch.malformed") from error
    if reader.unconsumed_tail or reader.unused_data or not reader.eof:
        raise Refused(
            f"the batch is cut short, or holds more than {MAX_UNPACKED_BYTES} bytes", rule="batch.size"
        )
    return data


def _records(lines: bytes) -> Iterator[Record]:
    for line in lines.split(b"\n"):
        if line:
            raw = json.loads(line)
            yield Record(
                whole(raw["seq"]),
                whole(raw["mono_us"]),
                whole(raw["at_us"]),
                str(raw["kind"]),
                str(raw["body"]),
            )


def _checked(header: dict[str, Any], records: tuple[Record, ...]) -> Batch:
    if len(records) != header["records"]:
        raise ValueError(f"{len(records)} records where {header['records']} were announced")
    if not records:
        return Batch(header, "", 0, -1, ())
    boot, first, last = str(header["boot"]), whole(header["first"]), whole(header["last"])
    sequence = [record.seq for record in records]
    if not boot or [first, last] != [sequence[0], sequence[-1]] or sorted(set(sequence)) != sequence:
        raise ValueError("its records are not in the order of their numbers")
    return Batch(header, boot, first, last, records)
