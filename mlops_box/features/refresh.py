"""The online store brought up to what was materialised: newest observations, and the events that windows reach back to."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from mlops_box.features.archive import FeatureArchive, Mark
from mlops_box.features.chunks import EventParts
from mlops_box.features.definition import Definition, Source
from mlops_box.features.events import Event, EventLog, content_id, source_key
from mlops_box.features.online import BEGINNING_US, Observation, OnlineStore, mark, mark_in, set_mark
from mlops_box.features.push import kept_from, lookback_us, read_observations

# Requests may be about a moment shortly before an entity's newest observation.
RECENT_US = 3_600 * 1_000_000
# Events that are pushed this late change features at once; those of earlier times wait for materialising.
LATE_US = 86_400 * 1_000_000
# A push that is sent again is known as the same for at least this long.
REMEMBERED_US = 7 * 86_400 * 1_000_000
_SEEDED_AT_ONCE = 20_000


def refresh_observations(
    store: OnlineStore, archive: FeatureArchive, definition: Definition, now: Mark
) -> int:
    """Put the newest observations of files that are not in the store yet; a transaction a file, so that it goes on where it
    was interrupted. Returns how many."""
    name, first = f"refreshed:{definition.digest}", f"first_file:{definition.digest}"
    number = store.view_number(definition.digest, definition.name)
    files = archive.files(definition)
    done = mark(store.db, name)
    count = 0
    if files and mark(store.db, first) != files[0].number:
        # The history was made anew: what was observed up to its mark counts no more.
        with store.write() as tx:
            tx.execute(
                "DELETE FROM observations WHERE view = ? AND max(time_us, known_us) <= ?",
                (number, now.until_us),
            )
            set_mark(tx, first, files[0].number)
            set_mark(tx, name, 0)
        done = 0
    for file in files:
        if file.number <= done:
            continue
        newest = list(_newest(definition, archive.read(file), now.until_us - RECENT_US))
        with store.write() as tx:
            count += store.put(tx, number, newest)
            set_mark(tx, name, file.number)
    return count


def seed_events(store: OnlineStore, parts: EventParts, definition: Definition, now: Mark) -> int:
    """Bring the events of the sources' files that a push's windows may reach back to; returns how many are new."""
    log, count = EventLog(store), 0
    need_us = _needed_from(definition, now)
    for source in definition.sources:
        key = source_key(definition, source.name)
        kept_us = mark(store.db, kept_from(key), BEGINNING_US)
        until_us = mark(store.db, _kept_until(key), BEGINNING_US)
        is_first = until_us == BEGINNING_US
        after_us = until_us if not is_first and kept_us <= need_us else BEGINNING_US
        table = parts.own_events(source, after_us=after_us, until_us=now.until_us, from_us=need_us)
        events = _as_events(source, table)
        while batch := list(itertools.islice(events, _SEEDED_AT_ONCE)):
            with store.write() as tx:
                count += len(log.append(tx, key, source, batch, pushed=False))
        with store.write() as tx:
            set_mark(tx, kept_from(key), need_us if is_first else min(kept_us, need_us))
            set_mark(tx, _kept_until(key), max(until_us, now.until_us))
    return count


def prune(store: OnlineStore, archive: FeatureArchive, marks: Mapping[Definition, Mark]) -> int:
    """Drop the events that no definition's windows reach back to, and the observations that newer ones have replaced for
    an hour; returns how many rows.

    Args:
        marks: How far each active definition is.
    """
    dropped = 0
    for key, need_us in _needs(marks).items():
        old_us = min(need_us, min(now.until_us for now in marks.values()) - REMEMBERED_US)
        with store.write() as tx:
            tx.execute("DELETE FROM entity_events WHERE source = ? AND time_us < ?", (key, need_us))
            dropped += tx.execute(
                "DELETE FROM events WHERE source = ? AND ((pushed = 0 AND time_us < ?) OR "
                "(pushed = 1 AND number <= ? AND time_us < ? AND known_us < ?))",
                (key, need_us, archive.folded(key), old_us, old_us),
            )
            set_mark(tx, kept_from(key), max(need_us, mark_in(tx, kept_from(key), BEGINNING_US)))
    for definition, now in marks.items():
        number = store.view_number(definition.digest, definition.name)
        with store.write() as tx:
            dropped += tx.execute(
                "DELETE FROM observations WHERE view = ?1 AND time_us < ?2 AND EXISTS (SELECT 1 FROM observations AS newer "
                "WHERE newer.view = ?1 AND newer.entity = observations.entity AND newer.time_us <= ?2 "
                "AND newer.time_us > observations.time_us)",
                (number, now.until_us - RECENT_US),
            )
    return dropped


def _needed_from(definition: Definition, now: Mark) -> int:
    """The time from which on a definition needs its events online."""
    return max(BEGINNING_US, now.until_us - lookback_us(definition) - LATE_US)


def _needs(marks: Mapping[Definition, Mark]) -> dict[str, int]:
    """By source: the time from which on its events are needed online."""
    found: dict[str, int] = {}
    for definition, now in marks.items():
        need_us = _needed_from(definition, now)
        for source in definition.sources:
            key = source_key(definition, source.name)
            found[key] = min(need_us, found.get(key, need_us))
    return found


def _kept_until(key: str) -> str:
    return f"kept_until:{key}"


def _newest(definition: Definition, table: pa.Table, recent_us: int) -> Iterator[tuple[str, Observation]]:
    """Each entity's last observation of a sorted table, and all from ``recent_us`` on."""
    last: tuple[str, Observation] | None = None
    for found in read_observations(definition, table):
        if last is not None and (last[0] != found[0] or last[1].time_us >= recent_us):
            yield last
        last = found
    if last is not None:
        yield last


def _as_events(source: Source, table: pa.Table) -> Iterator[Event]:
    """The rows of a file as events. Equal rows are several events, and of the same ids whenever the file is read."""
    seen: Counter[str] = Counter()
    columns = [_plain(table[column.name]) for column in source.columns]
    names = [column.name for column in source.columns]
    for values in zip(*columns, strict=True):
        row = dict(zip(names, values, strict=True))
        id_ = content_id(source, row)
        seen[id_] += 1
        known_us = row[source.known] if source.known else None
        time_us = row[source.time]
        yield Event(
            id_ if seen[id_] == 1 else f"{id_}#{seen[id_]}",
            row,
            time_us,
            known_us if known_us is not None else time_us,
        )


def _plain(column: pa.ChunkedArray) -> list[Any]:
    """Values as events hold them: times and days as integers."""
    if pa.types.is_timestamp(column.type):
        return list(column.cast(pa.timestamp("us")).cast(pa.int64()).to_pylist())
    if pa.types.is_date(column.type):
        return list(column.cast(pa.int32()).to_pylist())
    return list(column.to_pylist())
