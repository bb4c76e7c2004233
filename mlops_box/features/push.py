"""Push: events in, and what they change of their entities' features, in one transaction.

An acknowledged push is on the disk with everything that follows from it, and the next lookup sees it. Who pushes waits for
other pushers, never for readers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlops_box.clock import Clock
from mlops_box.db import Transaction
from mlops_box.errors import NotFoundError, UsageError
from mlops_box.features.compute import RESERVED, observations
from mlops_box.features.definition import Definition, Source
from mlops_box.features.events import Event, EventDoor, EventLog, entity_of, source_key
from mlops_box.features.online import BEGINNING_US, Observation, OnlineStore, key_text, mark_in
from mlops_box.features.pushed import Push, Pushed, ViewUpdate


class Pusher:
    """Takes pushes. Use from one thread.

    Args:
        active: Gives the definitions whose features are kept up to date, the newest of a name first.
        scratch: A folder for what does not fit into memory.
    """

    def __init__(
        self, store: OnlineStore, active: Callable[[], Sequence[Definition]], clock: Clock, *, scratch: Path
    ):
        self._store = store
        self._active = active
        self._clock = clock
        self._scratch = scratch
        self._log = EventLog(store)

    def push(self, to: str, rows: Sequence[Any], *, ids: Sequence[str] | None = None) -> Pushed:
        """Store events and what they change.

        Args:
            to: The name of a view or a source.
            rows: Objects by column.
            ids: What tells two events apart; ``None``: their content.

        Raises:
            EventsRefused: An event breaks the contract of its source; none was stored.
            NotFoundError: There is no such view or source.
            UsageError: The view has several sources: name one of them.
            SourceError: A view's SQL fails on the events; none was stored.
            StorageError: They could not be stored.
        """
        return self.push_all([Push(to, rows, ids)])[0]

    def check(self, push: Push) -> None:
        """Look at events without storing any; raises as :meth:`push`."""
        active = self._active()
        self._read(push, *source_of(push.to, active), active)

    def push_all(self, pushes: Sequence[Push]) -> list[Pushed]:
        """Several pushes in one transaction; all or none. Raises as :meth:`push`."""
        active = self._active()
        read = [(owner, source, self._read(push, owner, source, active)) for push in pushes
                for owner, source in [source_of(push.to, active)]]  # fmt: skip
        results: list[tuple[str, Pushed]] = []
        fresh: dict[str, list[Event]] = {}
        # Outside the transaction: a number that is remembered must not be undone with it.
        numbers = {one.digest: self._store.view_number(one.digest, one.name) for one in active}
        with self._store.write() as tx:
            for owner, source, events in read:
                key = source_key(owner, source.name)
                stored = self._log.append(tx, key, source, events)
                fresh.setdefault(key, []).extend(stored)
                results.append((key, Pushed(source.name, len(stored), len(events) - len(stored))))
            updates = [
                (definition, self._update(tx, definition, numbers[definition.digest], fresh))
                for definition in active
            ]
        return [
            Pushed(told.source, told.events, told.known, tuple(
                update for definition, update in updates if update is not None and _reads(definition, key)
            ))
            for key, told in results
        ]  # fmt: skip

    def _read(
        self, push: Push, owner: Definition, source: Source, active: Sequence[Definition]
    ) -> list[Event]:
        key = source_key(owner, source.name)
        needed = {column for definition in active if _reads(definition, key) for column in definition.keys}
        return EventDoor(source, needed).read(push.rows, arrived=self._clock.now(), ids=push.ids)

    def _update(
        self, tx: Transaction, definition: Definition, number: int, fresh: Mapping[str, Sequence[Event]]
    ) -> ViewUpdate | None:
        """Compute anew what fresh events change of one view; ``None``: nothing."""
        changed = _changed_since(definition, fresh)
        if not changed:
            return None
        back_us = lookback_us(definition)
        complete_us = max(
            mark_in(tx, kept_from(source_key(definition, source.name)), BEGINNING_US)
            for source in definition.sources
        )
        ready = {entity: time for entity, time in changed.items() if time - back_us >= complete_us}
        if ready:
            from_us = min(ready.values()) - back_us
            events = {
                source.name: self._events(tx, definition, source, list(ready), from_us)
                for source in definition.sources
            }
            found = observations(definition, events, scratch=self._scratch)
            # Before its first fresh event an entity's windows may reach back beyond what was read.
            current = (
                (entity, observation)
                for entity, observation in read_observations(definition, found)
                if observation.time_us >= ready[entity]
            )
            self._store.put(tx, number, current)
        return ViewUpdate(definition.ref, len(changed), len(changed) - len(ready))

    def _events(
        self, tx: Transaction, definition: Definition, source: Source, entities: Sequence[str], from_us: int
    ) -> pa.Table:
        key = source_key(definition, source.name)
        self._log.index(tx, key, definition.keys)
        return self._log.of_entities(tx, key, source, definition.keys, entities, from_us)


def source_of(name: str, active: Iterable[Definition]) -> tuple[Definition, Source]:
    """The source that a view or source of that name takes events for, and a definition that reads it.

    Raises:
        NotFoundError: There is no such view or source.
        UsageError: The view has several sources.
    """
    active = list(active)
    for definition in active:
        if definition.name == name:
            if len(definition.sources) > 1:
                names = ", ".join(source.name for source in definition.sources)
                raise UsageError(f"feature view {name!r} has several sources", hint=f"push to one of {names}")
            return definition, definition.sources[0]
    for definition in active:
        for source in definition.sources:
            if source.name == name:
                return definition, source
    raise NotFoundError(
        f"there is no feature view or source {name!r}", hint="mlops-box features list shows them"
    )


def read_observations(definition: Definition, table: pa.Table) -> Iterable[tuple[str, Observation]]:
    """Computed observations by entity, as the online store keeps them."""
    keys = zip(*(table[key].to_pylist() for key in definition.keys), strict=True)
    times = [table[name].cast(pa.int64()).to_pylist() for name in RESERVED]
    features = zip(*(table[name].to_pylist() for name in definition.features), strict=True)
    for entity, time_us, known_us, since_us, values in zip(keys, *times, features, strict=True):
        yield key_text(entity), Observation(time_us, known_us, since_us, list(values))


def lookback_us(definition: Definition) -> int:
    """How far back a row looks, in microseconds; over the whole history where nothing is declared."""
    back = definition.lookback
    return round(back.total_seconds() * 1_000_000) if back is not None else -BEGINNING_US // 2


def kept_from(source: str) -> str:
    """The mark of the time from which on all of a source's events are kept online; it is absent where all of them are."""
    return f"kept_from:{source}"


def _reads(definition: Definition, key: str) -> bool:
    return any(source_key(definition, source.name) == key for source in definition.sources)


def _changed_since(definition: Definition, fresh: Mapping[str, Sequence[Event]]) -> dict[str, int]:
    """The entities that fresh events are about, and the time of each one's earliest."""
    found: dict[str, int] = {}
    for source in definition.sources:
        for event in fresh.get(source_key(definition, source.name), ()):
            entity = entity_of(event, definition.keys)
            found[entity] = min(event.time_us, found.get(entity, event.time_us))
    return found
