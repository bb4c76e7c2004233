"""Which version answers: the champion of each model, or the one that was asked for.

The router follows box.db: a promotion is seen when the database's version changes, the new version is loaded beside
the old one, proven, compared with it, and put in place by one assignment. A request that has its slot keeps it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from mlops_box.db import Database
from mlops_box.errors import BoxError, StorageError
from mlops_box.ids import ModelRef
from mlops_box.models.store import ModelStore
from mlops_box.project import ProjectRegistry
from mlops_box.serving.rollout.contest import Contest
from mlops_box.serving.rollout.contests import Contests
from mlops_box.serving.route_table import Prepared, Route, RouteTable
from mlops_box.serving.slot import LookupFor, Slot
from mlops_box.serving.slot_pool import Key
from mlops_box.serving.swap import SwapReport, compare
from mlops_box.serving.versions import Versions
from mlops_box.serving.wanted import Wanted, read_wanted

log = logging.getLogger(__name__)

# Where nobody says how much; a server does.
_SPARE_BYTES = 256 * 1024 * 1024


class Router:
    """Holds the loaded versions. :meth:`champion` and :meth:`loaded` are for the event loop, the rest is for other
    threads.

    Args:
        spare_bytes: What versions may take in memory that are no champion: the previous champions, for instant undo, and
            those that were asked for by number or alias.
        on_load: Told of every champion that was loaded or refused: model, ``ok`` or the error's code, seconds.
        contests: Where the candidates of rollouts are put; ``None``: nowhere, champions answer every request.
        lookup_for: Gives the lookup of the features that a version pins.
    """

    def __init__(
        self,
        db: Database,
        models: ModelStore,
        projects: ProjectRegistry,
        *,
        spare_bytes: int = _SPARE_BYTES,
        on_load: Callable[[str, str, float], None] = lambda *_: None,
        contests: Contests | None = None,
        lookup_for: LookupFor = lambda _: None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ):
        self._db = db
        self._models = models
        self._versions = Versions(
            models, projects, spare_bytes=spare_bytes, lookup_for=lookup_for, monotonic_s=monotonic_s
        )
        self._on_load = on_load
        self._contests = contests
        self._monotonic_s = monotonic_s
        self._changing = threading.Lock()
        self._table = RouteTable()
        # What is being prepared, and what served before: neither is let go while there is room.
        self._wanted: set[Key] = set()
        self._previous: dict[str, int] = {}
        self._no_room: set[Key] = set()
        self._swaps: dict[str, SwapReport] = {}
        self._seen_version: int | None = None
        self._flipped: deque[tuple[RouteTable, Prepared]] = deque()

    def champion(self, model: str) -> Slot | None:
        """The slot that answers for a bare name."""
        return self._table.slots.get(model)

    def routes(self) -> list[Route]:
        return [route for _, route in sorted(self._table.routes.items())]

    def last_swap(self, model: str) -> SwapReport | None:
        """How the version that serves compares with the one before it."""
        return self._swaps.get(model)

    def loaded_versions(self) -> set[Key]:
        """What is in memory: champions and spare versions."""
        return self._table.serving | self._versions.keys

    def loaded(self, ref: ModelRef) -> Slot | None:
        """The slot of ``name@7`` or ``name@alias`` if it is in memory already."""
        table = self._table
        number = table.number(ref)
        slot = table.slots.get(ref.name)
        if slot is not None and slot.version.number == number:
            return slot
        return self._versions.find((ref.name, number)) if number is not None else None

    def load(self, ref: ModelRef) -> Slot:
        """The slot of a version, loaded now when it is not; it takes as long as loading takes, and disturbs nobody.

        Raises:
            NotFoundError: No such model, version or alias.
            GateError: The version was rejected.
            IntegrityError: It failed its golden rows, now or less than a second ago.
        """
        version = self._models.get(ref)
        current = self._table.slots.get(version.model)
        if current is not None and current.version.number == version.number:
            return current
        slot = self._versions.take((version.model, version.number), asked=True)
        self._shrink()
        return slot

    def refresh(self, *, force: bool = False) -> bool:
        """Follow box.db if it changed, or if a champion that was refused is worth another try; returns whether something
        was looked at.

        A version that cannot be loaded is refused: what served before goes on, and :meth:`routes` says why.
        """
        version = self._db.data_version()
        if version == self._seen_version and not force and not self._is_due():
            return False
        self.flip(self.prepare(read_wanted(self._db)))
        self.settle()
        self._seen_version = version
        return True

    def prepare(self, wanted: Wanted) -> Prepared:
        """Load what is wanted beside what serves; nothing answers differently until :meth:`flip`."""
        slots: dict[str, Slot] = {}
        problems: dict[str, str] = {}
        reports: dict[str, SwapReport] = {}
        with self._changing:
            self._wanted = {(model, number) for model, (number, _) in wanted.champions.items()}
            self._no_room.clear()
            self._versions.renew({model: digest for model, (_, digest) in wanted.champions.items()})
            for model, (number, digest) in wanted.champions.items():
                slot = self._table.slots.get(model)
                try:
                    slot = self._follow(slot, (model, number), digest, reports)
                except BoxError as error:
                    problems[model] = error.message
                if slot is not None:
                    slots[model] = slot
            contests = self._challenge(wanted, self._contests) if self._contests is not None else {}
        return Prepared(wanted, slots, problems, bool(problems), reports, contests)

    def flip(self, prepared: Prepared, held: Mapping[str, str] | None = None) -> None:
        """Let the prepared slots answer from now on: one assignment, so the event loop may do it.

        Args:
            held: Models that stay with what serves them now, and why: another worker could not load the new version.
        """
        before = self._table
        self._table = before.after(prepared, held or {})
        if self._contests is not None:
            slots = self._table.slots
            self._contests.put(
                {
                    model: contest
                    for model, contest in prepared.contests.items()
                    if model in slots and slots[model].version.number == contest.challenger.base
                }
            )
        self._flipped.append((before, prepared))

    def settle(self) -> None:
        """After :meth:`flip`: remember what it replaced, and let go of what there is no room for."""
        with self._changing:
            while self._flipped:
                before, prepared = self._flipped.popleft()
                self._note_swaps(before, self._table, prepared)
        if self._contests is not None:
            self._contests.settle()
        self._shrink()

    def warm_undo(self) -> None:
        """Load the champions before the present ones, as far as there is room: a roll-back then waits for no load."""
        for key in self._table.last_good:
            if key in self.loaded_versions() or key in self._no_room or self._versions.is_refused(key):
                continue
            try:
                self._versions.take(key)
            except BoxError as error:
                log.warning("%s@%d cannot be kept warm for a roll-back: %s", *key, error.message)
                continue
            if key in self._shrink():
                self._no_room.add(key)

    def _challenge(self, wanted: Wanted, contests: Contests) -> dict[str, Contest]:
        """Load the candidates beside their champions; one that cannot be loaded is out before its first request."""
        found = {}
        for model, challenger in wanted.challengers.items():
            key = (model, challenger.number)
            self._wanted.add(key)
            slot, problem = None, ""
            try:
                slot = self._versions.take_under(key, wanted.champions[model][1])
            except StorageError as error:
                log.error("%s@%d cannot be read, its rollout waits: %s", *key, error.message)
                continue
            except BoxError as error:
                problem = error.message
            found[model] = contests.prepare(challenger, slot, problem)
        return found

    def _follow(self, current: Slot | None, key: Key, digest: str, reports: dict[str, SwapReport]) -> Slot:
        model, number = key
        is_new = current is None or current.version.number != number
        if current is not None and not is_new and current.project_digest == digest:
            return current
        standing = self._versions.standing(key)
        if standing is not None:
            raise standing
        started_s = self._monotonic_s()
        try:
            slot = self._versions.take_under(key, digest)
        except BoxError as error:
            self._on_load(model, error.code, self._monotonic_s() - started_s)
            log.error("%s@%d is refused, %s goes on: %s", *key, current and current.ref, error.message)
            raise
        if is_new:
            load_s = self._monotonic_s() - started_s
            self._on_load(model, "ok", load_s)
            reports[model] = compare(current, slot, self._versions.golden_rows(slot), load_s=load_s)
        return slot

    def _is_due(self) -> bool:
        """Whether a champion that does not serve is worth a try."""
        return any(
            not route.is_warm and self._versions.standing((route.model, route.champion)) is None
            for route in self.routes()
        )

    def _note_swaps(self, before: RouteTable, now: RouteTable, prepared: Prepared) -> None:
        for model, number in before.serving - now.serving:
            self._previous[model] = number
        for model, report in prepared.reports.items():
            if (model, report.after) in now.serving:
                self._swaps[model] = report
                log.info("%s", report.text())

    def _shrink(self) -> list[Key]:
        table = self._table
        undo = table.last_good | set(self._previous.items())
        return self._versions.shrink(serving=table.serving | self._wanted, undo=undo)
