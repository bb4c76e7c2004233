"""Which version answers: the champion of each model, or the one that was asked for.

The router follows box.db: a promotion is seen when the database's version changes, the new version is loaded beside
the old one, proven, and put in place by one assignment. A request that has its slot keeps it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mlops_box.db import Database
from mlops_box.errors import BoxError, StorageError
from mlops_box.ids import ModelRef
from mlops_box.models.store import ModelStore
from mlops_box.project import ProjectRegistry
from mlops_box.serving.slot import Slot, load_slot
from mlops_box.serving.wanted import Wanted, read_wanted

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
class Prepared:
    """Slots that could answer, loaded beside those that do.

    Attributes:
        slots: By model; where the wanted version was refused, what serves now.
        problems: Why a model's wanted version was refused.
        retry: A refusal may be over soon: the disk, not the version.
    """

    wanted: Wanted
    slots: Mapping[str, Slot]
    problems: Mapping[str, str]
    retry: bool


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
        self._failed_for_now = False
        self._flipped: deque[dict[str, Slot]] = deque()

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
        prepared = self.prepare(read_wanted(self._db))
        self._retry = prepared.retry
        self.flip(prepared)
        self.settle()
        self._seen_version = version
        return True

    def prepare(self, wanted: Wanted) -> Prepared:
        """Load what is wanted beside what serves; nothing answers differently until :meth:`flip`."""
        slots: dict[str, Slot] = {}
        problems: dict[str, str] = {}
        with self._lock:
            self._failed_for_now = False
            for model, (number, digest) in wanted.champions.items():
                slot, problem = self._follow(model, number, digest)
                if slot is not None:
                    slots[model] = slot
                if problem is not None:
                    problems[model] = problem
            return Prepared(wanted, slots, problems, self._failed_for_now)

    def flip(self, prepared: Prepared, held: Mapping[str, str] | None = None) -> None:
        """Let the prepared slots answer from now on: one assignment, so the event loop may do it.

        Args:
            held: Models that stay with what serves them now, and why: another worker could not load the new version.
        """
        before = self._table
        problems = {**prepared.problems, **(held or {})}
        slots = {
            model: slot
            for model in prepared.wanted.champions
            if (slot := (before.slots if held and model in held else prepared.slots).get(model)) is not None
        }
        routes = {}
        for model, (number, _) in prepared.wanted.champions.items():
            serving = slots[model].version.number if model in slots else None
            routes[model] = Route(model, number, serving, problems.get(model))
        self._table = _Table(slots, routes)
        self._flipped.append(before.slots)

    def settle(self) -> None:
        """After :meth:`flip`: let go of what it replaced. May wait for a load under way, hence not in the event loop."""
        changed = False
        with self._lock:
            now = self._table.slots
            while self._flipped:
                before = self._flipped.popleft()
                changed = changed or before != now
                self._retire(before, now)
        if changed:
            self._after_swap()

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
                self._failed_for_now = True
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
        if known is not None and known.suits(project):
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
