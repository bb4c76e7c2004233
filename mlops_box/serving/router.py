"""Which version answers: the champion of each model, or the one that was asked for.

The router follows box.db: a promotion is seen when the database's version changes, the new version is loaded beside
the old one, proven, and put in place by one assignment. A request that has its slot keeps it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from mlops_box.db import Database
from mlops_box.errors import BoxError, StorageError
from mlops_box.ids import ModelRef
from mlops_box.models.store import ModelStore
from mlops_box.project import ProjectRegistry
from mlops_box.serving.slot import Slot, load_slot

log = logging.getLogger(__name__)

Key = tuple[str, int]


@dataclass(frozen=True)
class Route:
    """What serves a model, and what should.

    Attributes:
        champion: The number box.db names.
        serving: The number that answers; ``None`` when none could be loaded.
        problem: Why they differ.
    """

    model: str
    champion: int
    serving: int | None
    problem: str | None

    @property
    def is_warm(self) -> bool:
        return self.serving == self.champion and self.problem is None


@dataclass(frozen=True)
class _Table:
    """Read whole, replaced whole."""

    slots: dict[str, Slot]
    routes: dict[str, Route]


class Router:
    """Holds the loaded versions. :meth:`champion` is for the event loop, the rest is for other threads.

    Args:
        keep: Versions kept loaded that are no champion: the previous champions, for instant undo, and those that were
            asked for by number.
        after_swap: Called after a champion changed, in the thread of :meth:`refresh`.
        on_load: Told of every champion that was loaded or refused: model, ``ok`` or the error's code, seconds.
    """

    def __init__(
        self,
        db: Database,
        models: ModelStore,
        projects: ProjectRegistry,
        *,
        keep: int = 4,
        after_swap: Callable[[], None] = lambda: None,
        on_load: Callable[[str, str, float], None] = lambda *_: None,
    ):
        self._db = db
        self._models = models
        self._projects = projects
        self._keep = keep
        self._after_swap = after_swap
        self._on_load = on_load
        self._lock = threading.Lock()
        self._table = _Table({}, {})
        self._spare: OrderedDict[Key, Slot] = OrderedDict()
        self._refused: dict[Key, str] = {}
        self._seen_version: int | None = None
        self._retry = False

    def champion(self, model: str) -> Slot | None:
        """The slot that answers for a bare name."""
        return self._table.slots.get(model)

    def routes(self) -> list[Route]:
        return [route for _, route in sorted(self._table.routes.items())]

    def loaded_versions(self) -> set[Key]:
        """What is in memory: champions and spare versions."""
        champions = {(slot.version.model, slot.version.number) for slot in self._table.slots.values()}
        return champions | set(self._spare)

    def loaded(self, ref: ModelRef) -> Slot | None:
        """The slot of ``name@7`` if it is in memory already."""
        if ref.number is None:
            return self.champion(ref.name) if ref.alias == "champion" else None
        slot = self._table.slots.get(ref.name)
        if slot is not None and slot.version.number == ref.number:
            return slot
        return self._spare.get((ref.name, ref.number))

    def load(self, ref: ModelRef) -> Slot:
        """The slot of a version, loaded now when it is not; it takes as long as loading takes.

        Raises:
            NotFoundError: No such model, version or alias.
            GateError: The version was rejected.
            IntegrityError: It failed its golden rows.
        """
        version = self._models.get(ref)
        key = (version.model, version.number)
        with self._lock:
            current = self._table.slots.get(version.model)
            if current is not None and current.version.number == version.number:
                return current
            slot = self._spare.get(key)
            if slot is None:
                slot = load_slot(self._models, version, self._projects.for_model(version.model))
            self._keep_spare(key, slot)
            return slot

    def refresh(self, *, force: bool = False) -> bool:
        """Follow box.db if it changed; returns whether something was looked at.

        A version that cannot be loaded is refused: what served before goes on, and :meth:`routes` says why.
        """
        version = self._db.data_version()
        if version == self._seen_version and not force and not self._retry:
            return False
        with self._lock:
            self._retry = False
            wanted = self._wanted()
            slots: dict[str, Slot] = {}
            routes: dict[str, Route] = {}
            for model, (number, digest) in wanted.items():
                slot, problem = self._follow(model, number, digest)
                if slot is not None:
                    slots[model] = slot
                serving = slot.version.number if slot is not None else None
                routes[model] = Route(model, number, serving, problem)
            before, self._table = self._table.slots, _Table(slots, routes)
            self._retire(before, slots)
        self._seen_version = version
        if before != slots:
            self._after_swap()
        return True

    def _wanted(self) -> dict[str, tuple[int, str]]:
        rows = self._db.read(
            "SELECT aliases.model, aliases.number, COALESCE(projects.digest, '') AS digest FROM aliases "
            "LEFT JOIN projects ON projects.model = aliases.model WHERE aliases.alias = 'champion'"
        )
        return {row["model"]: (row["number"], row["digest"]) for row in rows}

    def _follow(self, model: str, number: int, digest: str) -> tuple[Slot | None, str | None]:
        current = self._table.slots.get(model)
        if current is not None and current.version.number == number and current.project_digest == digest:
            return current, None
        key = (model, number)
        if key in self._refused:
            return current, self._refused[key]
        started_s = time.monotonic()
        try:
            slot = self._fetch(key, digest, current)
        except BoxError as error:
            self._on_load(model, error.code, time.monotonic() - started_s)
            log.error(
                "%s@%d is refused, %s goes on: %s", model, number, current and current.ref, error.message
            )
            if isinstance(error, StorageError):
                self._retry = True
            else:
                self._refused[key] = error.message
            return current, error.message
        self._on_load(model, "ok", time.monotonic() - started_s)
        log.info("%s serves (before: %s)", slot.ref, current.ref if current else "nothing")
        return slot, None

    def _fetch(self, key: Key, digest: str, current: Slot | None) -> Slot:
        model, number = key
        project = self._projects.for_model(model)
        known = current if current and current.version.number == number else self._spare.pop(key, None)
        if known is not None:
            return known if known.project_digest == digest else known.with_project(project)
        version = self._models.get(ModelRef(model, number, None))
        return load_slot(self._models, version, project)

    def _retire(self, before: dict[str, Slot], now: dict[str, Slot]) -> None:
        for model, slot in before.items():
            if now.get(model) is not slot and (
                model not in now or now[model].version.number != slot.version.number
            ):
                self._keep_spare((model, slot.version.number), slot)

    def _keep_spare(self, key: Key, slot: Slot) -> None:
        self._spare[key] = slot
        self._spare.move_to_end(key)
        while len(self._spare) > self._keep:
            _, dropped = self._spare.popitem(last=False)
            # Slot and batcher refer to each other; without this a frozen heap would keep them for ever.
            dropped.lane = None
