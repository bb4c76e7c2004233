"""Versions of models, loaded from the box: under the declaration that counts now, and not again and again when broken."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from mlops_box.errors import BoxError
from mlops_box.ids import ModelRef
from mlops_box.models.golden import Golden
from mlops_box.models.store import ModelStore
from mlops_box.models.values import GOLDEN_FILE, PACKED_FILE
from mlops_box.project import ProjectRegistry, RegisteredProject
from mlops_box.serving.memory import give_back
from mlops_box.serving.refusals import Refusals
from mlops_box.serving.slot import LookupFor, Slot, load_slot
from mlops_box.serving.slot_pool import Key, SlotPool

log = logging.getLogger(__name__)


class Versions:
    """The versions in memory and the way into it. Thread-safe; :meth:`find` never waits.

    Args:
        spare_bytes: What versions that do not serve may take together.
        lookup_for: Gives the lookup of the features that a version pins.
    """

    def __init__(
        self,
        models: ModelStore,
        projects: ProjectRegistry,
        *,
        spare_bytes: int,
        lookup_for: LookupFor = lambda _: None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ):
        self._models = models
        self._projects = projects
        self._lookup_for = lookup_for
        self._pool = SlotPool(self._load, budget_bytes=spare_bytes, monotonic_s=monotonic_s)
        self._refusals = Refusals(self._files, monotonic_s=monotonic_s)

    @property
    def keys(self) -> set[Key]:
        """What is in memory."""
        return self._pool.keys

    def find(self, key: Key) -> Slot | None:
        """The version if it is in memory; counts as a use."""
        return self._pool.find(key)

    def take(self, key: Key, *, asked: bool = False) -> Slot:
        """The version, loaded now when it is not in memory; who asks meanwhile waits for the same load.

        Args:
            asked: Somebody wants this very version: a broken one is tried again after a second.

        Raises:
            BoxError: It cannot be loaded, or could not a while ago and its files are the same.
        """
        slot = self._pool.find(key)
        if slot is not None:
            return slot
        standing = self._refusals.standing(key, asked=asked)
        if standing is not None:
            raise standing
        try:
            slot = self._pool.take(key)
        except BoxError as error:
            self._refusals.note(key, error)
            raise
        self._refusals.forget(key)
        return slot

    def take_under(self, key: Key, digest: str) -> Slot:
        """The same, answering under the declaration with this digest; raises as :meth:`take`."""
        slot = self.take(key)
        if slot.project_digest != digest:
            slot = self._under(slot, self._projects.for_model(key[0]))
            self._pool.replace(key, slot)
        return slot

    def standing(self, key: Key) -> BoxError | None:
        """Why a version is not worth a try now; ``None`` when it is."""
        return self._refusals.standing(key)

    def is_refused(self, key: Key) -> bool:
        """Whether it could not be loaded when it was last tried."""
        return self._refusals.is_known(key)

    def renew(self, digests: Mapping[str, str]) -> None:
        """Have everything in memory answer under the declaration that counts now.

        Args:
            digests: By model, as far as they are known.
        """
        for key in self._pool.keys:
            slot = self._pool.find(key)
            if slot is None or digests.get(key[0]) == slot.project_digest:
                continue
            project = self._projects.for_model(key[0])
            if (project.digest if project is not None else "") != slot.project_digest:
                self._pool.replace(key, self._under(slot, project))

    def shrink(self, *, serving: Collection[Key], undo: Collection[Key]) -> list[Key]:
        """Let go of what there is no room for, see :meth:`SlotPool.shrink`."""
        gone = self._pool.shrink(serving=serving, undo=undo)
        if gone:
            give_back()
        return gone

    def golden_rows(self, slot: Slot) -> tuple[dict[str, Any], ...]:
        """The rows a version proves itself on."""
        return Golden.from_json(self._models.file(slot.version, GOLDEN_FILE)).rows

    def _under(self, slot: Slot, project: RegisteredProject | None) -> Slot:
        """The version behind another declaration, loaded anew where that asks for another device."""
        if not slot.suits(project):
            try:
                return load_slot(self._models, slot.version, project, lookup_for=self._lookup_for)
            except BoxError as error:
                log.error("%s stays where it runs, it cannot be loaded again: %s", slot.ref, error.message)
        return slot.with_project(project)

    def _load(self, key: Key) -> tuple[Slot, int]:
        version = self._models.get(ModelRef(*key, None))
        project = self._projects.for_model(version.model)
        slot = load_slot(self._models, version, project, lookup_for=self._lookup_for)
        return slot, self._models.path(version, PACKED_FILE).stat().st_size

    def _files(self, key: Key) -> list[Path]:
        """What a version is loaded from; nothing while a file is missing."""
        try:
            version = self._models.get(ModelRef(*key, None))
            return [self._models.path(version, name) for name in (PACKED_FILE, GOLDEN_FILE)]
        except BoxError:
            return []
