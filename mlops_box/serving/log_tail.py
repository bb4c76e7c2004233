"""The newest part of the prediction log: bounded to read, whatever the log's size, and cheap to follow.

What is read of a segment is kept by its reader; the next reading takes only what was written since. Segments that devices
sent are left out: what a device answered is no traffic of this box's server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlops_box.clock import Clock, from_us, isoformat, parse_time, to_us
from mlops_box.db import Database, Row
from mlops_box.objects import ObjectStore
from mlops_box.serving.answered import AnsweredRequest, Counted, answered, sealed_requests
from mlops_box.serving.records import PredictionRecord, Record, TruthRecord, segment_of
from mlops_box.serving.sealing import Signatures
from mlops_box.serving.segment_lines import read_on

MAX_BYTES = 8 * 1024 * 1024
MAX_SEGMENTS = 32
MAX_SEALED = 16
# A parquet file is read whole; one with more rows than this is not begun.
MAX_SEALED_ROWS = 1_000_000
MAX_TRUTHS = 20_000


@dataclass(frozen=True)
class TailQuestion:
    """Which requests are wanted.

    Attributes:
        number: Of this version; of all when ``None``.
        since: All from this moment on are counted, as far as the bounds allow.
        limit: So many of the newest are kept whole, older ones than ``since`` too.
        hidden: Columns whose values are not to leave the log.
        max_bytes: Of each segment that is still written.
    """

    model: str
    number: int | None
    since: datetime
    limit: int = 200
    hidden: frozenset[str] = frozenset()
    max_bytes: int = MAX_BYTES


@dataclass(frozen=True, eq=False)
class Source:
    """What was read of one segment.

    Attributes:
        end: How far, in bytes.
        known_since_us: Of earlier requests some may be missing; ``None``: none is.
        truths: By prediction id: when it came, and its text.
    """

    end: int = 0
    known_since_us: int | None = None
    counted: Counted = field(default_factory=lambda: Counted.of(()))
    newest: tuple[AnsweredRequest, ...] = ()
    truths: Mapping[str, tuple[int, str]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class LogTail:
    """The newest requests of a model.

    Attributes:
        known_since: Every request from this moment on is counted; of earlier ones some may be missing.
        requests: The newest, newest first, with the truth that has come for them.
        sources: What the next reading goes on from.
    """

    question: TailQuestion
    known_since: datetime
    counted: Counted
    requests: tuple[AnsweredRequest, ...]
    sources: Mapping[str, Source]


class TailReader:
    """Reads the end of the prediction log, beside the processes that write it."""

    def __init__(self, folder: Path, db: Database, objects: ObjectStore, clock: Clock):
        self._folder = folder
        self._db = db
        self._objects = objects
        self._clock = clock

    def read(self, question: TailQuestion, before: LogTail | None = None) -> LogTail:
        """The newest requests; with ``before``, an answer to the same question at an earlier moment, only what is new is
        read.

        Raises:
            IntegrityError: A sealed segment is damaged or gone.
        """
        known = before.sources if before is not None and _is_same(before.question, question) else {}
        now = self._clock.now()
        sources: dict[str, Source] = {}
        missing: dict[str, datetime] = {}
        live = self._db.read(
            "SELECT id, path, closed_at FROM segments WHERE state IN ('open', 'closed') AND path <> '' "
            "ORDER BY closed_at IS NOT NULL, closed_at DESC, opened_at DESC LIMIT ?",
            (MAX_SEGMENTS + 1,),
        )
        signatures = Signatures(self._db)
        for place, row in enumerate(live):
            source = None
            if place < MAX_SEGMENTS:
                source = self._live(row, question, known.get(row["id"]), signatures)
            if source is None:
                missing[row["id"]] = parse_time(row["closed_at"]) if row["closed_at"] else now
            else:
                sources[row["id"]] = source
        missing = self._sealed(question, known, sources, missing)
        requests = _newest(sources.values(), question.limit)
        truths = self._truths(question, known, sources, requests)
        begun = [from_us(one.known_since_us) for one in sources.values() if one.known_since_us is not None]
        counted = Counted.joined([source.counted for source in sources.values()])
        return LogTail(
            question,
            max([question.since, *begun, *missing.values()]),
            counted.since(to_us(question.since)),
            tuple(_with_truth(request, truths) for request in requests),
            sources,
        )

    def _live(
        self, row: Row, question: TailQuestion, before: Source | None, signatures: Signatures
    ) -> Source | None:
        """What a segment holds that is still written, or waits to be sealed; ``None``: it cannot be told."""
        path = self._folder / row["path"]
        try:
            size = path.stat().st_size
            if before is not None and before.end == size:
                return before
            inside = False
            if before is None or not 0 <= size - before.end <= question.max_bytes:
                start = _start_of_line(path, size - question.max_bytes)
                before, inside = Source(end=start), start > 0
        except FileNotFoundError:
            return None
        found, end = read_on(path, before.end, at_most_bytes=question.max_bytes)
        found = [record for record in found if _is_of(record, row["id"])]
        if inside:
            if not found:
                return None
            before = replace(before, known_since_us=found[0].at_us)
        return _extended(before, found, end, question, signatures)

    def _sealed(
        self,
        question: TailQuestion,
        known: Mapping[str, Source],
        sources: dict[str, Source],
        missing: Mapping[str, datetime],
    ) -> dict[str, datetime]:
        """Adds sealed segments, newest first, as far back as is wanted; returns which are missing, and until when they may
        hold records."""
        rows = self._db.read(
            "SELECT segment_id, digest, rows, COALESCE(closed_at, sealed_at) AS closed_at FROM sealed JOIN segments "
            "ON segments.id = sealed.segment_id WHERE sealed.model = ? AND kind = 'prediction' AND pid <> 0 "
            "ORDER BY segments.closed_at DESC LIMIT ?",
            (question.model, MAX_SEALED + 1),
        )
        left = dict(missing)
        have = sum(len(source.newest) for source in sources.values())
        for place, row in enumerate(rows):
            closed_at = parse_time(row["closed_at"])
            # One that was sealed while it was read is not read twice.
            if row["segment_id"] in sources:
                continue
            if closed_at < question.since and have >= question.limit:
                break
            if place == MAX_SEALED or row["rows"] > MAX_SEALED_ROWS:
                left[row["segment_id"]] = closed_at
                break
            left.pop(row["segment_id"], None)
            source = known.get(row["digest"]) or self._sealed_source(row["digest"], question)
            sources[row["digest"]] = source
            have += len(source.newest)
        return left

    def _sealed_source(self, digest: str, question: TailQuestion) -> Source:
        table = pq.read_table(pa.BufferReader(self._objects.read(digest)))
        keep = pc.is_valid(table["id"])
        if question.number is not None:
            keep = pc.and_(keep, pc.equal(table["number"], question.number))
        counted, newest = sealed_requests(table.filter(keep), question.model, question.limit, question.hidden)
        return Source(counted=counted.since(to_us(question.since)), newest=newest)

    def _truths(
        self,
        question: TailQuestion,
        known: Mapping[str, Source],
        sources: dict[str, Source],
        requests: tuple[AnsweredRequest, ...],
    ) -> dict[str, str]:
        """By id, for what is kept whole; adds the sealed truths to ``sources``.

        A sealed truth tells of predictions before it, so what was taken from it for earlier requests stands.
        """
        ids = {row.id for request in requests for row in request.first}
        rows = self._db.read(
            "SELECT digest FROM sealed WHERE model = ? AND kind = 'truth' AND time_max >= ? "
            "ORDER BY time_max DESC LIMIT ?",
            (question.model, isoformat(requests[-1].at) if requests else "", MAX_SEALED),
        )
        for row in rows if ids else ():
            key = f"truth {row['digest']}"
            sources[key] = known.get(key) or self._sealed_truth(row["digest"], ids)
        newest: dict[str, tuple[int, str]] = {}
        for source in sources.values():
            for id_, told in source.truths.items():
                if id_ in ids and (id_ not in newest or told[0] >= newest[id_][0]):
                    newest[id_] = told
        return {id_: text for id_, (_, text) in newest.items()}

    def _sealed_truth(self, digest: str, ids: set[str]) -> Source:
        table = pq.read_table(pa.BufferReader(self._objects.read(digest)))
        table = table.filter(pc.is_in(table["id"], value_set=pa.array(sorted(ids), pa.string())))
        rows = table.sort_by([("at", "ascending"), ("order", "ascending")]).to_pylist()
        return Source(truths={row["id"]: (to_us(row["at"]), row["truth"]) for row in rows})


def _extended(
    before: Source, found: list[Record], end: int, question: TailQuestion, signatures: Signatures
) -> Source:
    """A source with what was written since."""
    records = [
        record
        for record in found
        if isinstance(record, PredictionRecord)
        and record.model == question.model
        and question.number in (None, record.number)
    ]
    newest = tuple(
        answered(record, signatures.get(record.model, record.number), question.hidden)
        for record in records[-question.limit :]
    )
    truths = dict(before.truths)
    for record in found:
        if isinstance(record, TruthRecord) and record.model == question.model:
            truths.update((truth.id, (record.at_us, truth.text)) for truth in record.truths)
    counted = Counted.joined([before.counted, Counted.of(records)]).since(to_us(question.since))
    kept = dict(list(truths.items())[-MAX_TRUTHS:])
    return Source(end, before.known_since_us, counted, (*before.newest, *newest)[-question.limit :], kept)


def _start_of_line(path: Path, offset: int) -> int:
    """The first line that begins behind ``offset``; 0 where there is nothing before it."""
    if offset <= 0:
        return 0
    with path.open("rb") as file:
        file.seek(offset)
        file.readline()
        return file.tell()


def _is_of(record: Record, segment_id: str) -> bool:
    """Whether a record belongs to the segment it was found in: raw values, which a reader that begins in the middle may
    meet, could spell a line of another."""
    return not isinstance(record, PredictionRecord) or segment_of(record.ids[0]) == segment_id


def _is_same(before: TailQuestion, now: TailQuestion) -> bool:
    return replace(before, since=now.since) == now and before.since <= now.since


def _newest(sources: Iterable[Source], limit: int) -> tuple[AnsweredRequest, ...]:
    every: list[AnsweredRequest] = [request for source in sources for request in source.newest]
    return tuple(sorted(every, key=lambda request: (request.at_us, request.id), reverse=True)[:limit])


def _with_truth(request: AnsweredRequest, truths: Mapping[str, str]) -> AnsweredRequest:
    if not any(row.id in truths for row in request.first):
        return request
    return replace(request, first=tuple(replace(row, truth=truths.get(row.id)) for row in request.first))
