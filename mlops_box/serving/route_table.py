"""What serves at one moment: a value that is read whole and replaced whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlops_box.ids import ModelRef
from mlops_box.models.store import CHAMPION, LAST_GOOD
from mlops_box.serving.rollout.contest import Contest
from mlops_box.serving.slot import Slot
from mlops_box.serving.slot_pool import Key
from mlops_box.serving.swap import SwapReport
from mlops_box.serving.wanted import Wanted


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
        retry: A refusal may be over soon: its file may be repaired, the disk or the memory recover.
        reports: How a new version compares with the one it replaces.
        contests: By model: its champion beside the candidate of a rollout.
    """

    wanted: Wanted
    slots: Mapping[str, Slot]
    problems: Mapping[str, str]
    retry: bool
    reports: Mapping[str, SwapReport] = field(default_factory=dict)
    contests: Mapping[str, Contest] = field(default_factory=dict)


@dataclass(frozen=True)
class RouteTable:
    """The champions that answer, and which number an alias stands for.

    Attributes:
        slots: By model.
        routes: By model, also where no version could be loaded.
        aliases: By model, as box.db has them; ``champion`` may be ahead of what serves.
    """

    slots: Mapping[str, Slot] = field(default_factory=dict)
    routes: Mapping[str, Route] = field(default_factory=dict)
    aliases: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def after(self, prepared: Prepared, held: Mapping[str, str]) -> RouteTable:
        """The table once ``prepared`` answers; the models in ``held`` stay with what serves them now."""
        problems = {**prepared.problems, **held}
        slots = {}
        routes = {}
        for model, (number, _) in prepared.wanted.champions.items():
            slot = (self.slots if model in held else prepared.slots).get(model)
            if slot is not None:
                slots[model] = slot
            routes[model] = Route(model, number, slot.version.number if slot else None, problems.get(model))
        return RouteTable(slots, routes, prepared.wanted.aliases)

    @property
    def serving(self) -> set[Key]:
        return {(model, slot.version.number) for model, slot in self.slots.items()}

    @property
    def last_good(self) -> set[Key]:
        """Where a roll-back would go, model by model."""
        return {(model, found[LAST_GOOD]) for model, found in self.aliases.items() if LAST_GOOD in found}

    def number(self, ref: ModelRef) -> int | None:
        """The number a reference means; ``None`` when no such alias is known here."""
        if ref.number is not None:
            return ref.number
        if ref.alias == CHAMPION:
            slot = self.slots.get(ref.name)
            return slot.version.number if slot is not None else None
        return self.aliases.get(ref.name, {}).get(ref.alias or CHAMPION)
