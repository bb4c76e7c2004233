"""Materialise: from events to observations, in files for training and in the online store for serving.

Incremental, and so also the way to catch up after a rest, and to fill in a new view's history. A part is one transaction:
what was interrupted goes on behind the last part that was done.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mlops_box.box import Box
from mlops_box.clock import from_us, isoformat, to_us
from mlops_box.features.archive import Mark
from mlops_box.features.chunks import CHUNK_EVENTS, EventParts, event_parts
from mlops_box.features.definition import Definition, Source
from mlops_box.features.events import source_key
from mlops_box.features.online import BEGINNING_US
from mlops_box.features.refresh import prune, refresh_observations, seed_events
from mlops_box.features.sources import declaration_of, read_source
from mlops_box.models.pins import active_definitions
from mlops_box.operations.steps import RecordedSteps, Steps, recorded_run
from mlops_box.progress import Progress


@dataclass(frozen=True)
class MaterializedView:
    """What was done for one definition, given as ``view@version``.

    Attributes:
        observations: New ones in files.
        online: Those of them that came into the online store.
        parts: Transactions it took.
        anew: Events had changed behind the mark; the history was made anew.
        until: Everything that had happened and was known until then is in; ``None``: there are no events.
    """

    view: str
    observations: int
    online: int
    parts: int
    anew: bool
    until: datetime | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"until": isoformat(self.until) if self.until is not None else None}


@dataclass(frozen=True)
class MaterializeOutcome:
    """What a run did.

    Attributes:
        folded: Pushed events that came into files.
    """

    run_id: str
    folded: int
    views: tuple[MaterializedView, ...]

    def to_dict(self) -> dict[str, Any]:
        views = [view.to_dict() for view in self.views]
        return {"run_id": self.run_id, "folded": self.folded, "views": views}


def materialize(
    box: Box,
    *,
    view: str | None = None,
    project: str | None = None,
    until: datetime | None = None,
    steps: Steps | None = None,
    progress: Progress | None = None,
    trigger: str = "manual",
    flow_run_id: str | None = None,
    chunk_events: int = CHUNK_EVENTS,
) -> MaterializeOutcome:
    """Bring views up to date.

    Args:
        view: Only this one, in every version that is in use; all when ``None``.
        project: Only the views of this one.
        until: Not what happened or was known later; everything there is when ``None``.
        chunk_events: Events in one part, at most.

    Raises:
        NotFoundError: There is no such view, or its project's folder is gone.
        SourceError: A source cannot be read, or a view's SQL fails on it; the parts before are kept.
        BusyError: Another process is materialising the same view.
        StorageError: The disk is full; the parts before are kept.
    """
    wanted = [
        item
        for item in active_definitions(box.db, box.features)
        if view in (None, item.name) and project in (None, item.project)
    ]
    if view is not None and not wanted:
        box.features.get(view)  # says so
    with recorded_run(
        box, "materialize", project or (wanted[0].project if view is not None else "box"), trigger=trigger,
        params={"view": view}, flow_run_id=flow_run_id, steps=steps, progress=progress,
    ) as (run, recorded):  # fmt: skip
        work = _Work(box, recorded, box.home.scratch / run.id, chunk_events)
        try:
            views = tuple(work.materialize(definition, until) for definition in wanted)
            recorded.run("prune the online store", work.prune)
        finally:
            shutil.rmtree(work.scratch, ignore_errors=True)
        outcome = MaterializeOutcome(run.id, work.folded, views)
        box.runs.end(run.id, "completed", result=outcome.to_dict())
    return outcome


class _Work:
    """One run: sources are read once for all views."""

    def __init__(self, box: Box, steps: RecordedSteps, scratch: Path, chunk_events: int):
        self.box = box
        self.steps = steps
        self.scratch = scratch
        self.folded = 0
        self._chunk_events = chunk_events
        self._files: dict[tuple[str, Source], Path] = {}

    def materialize(self, definition: Definition, until: datetime | None) -> MaterializedView:
        for source in definition.sources:
            self._read(definition, source)
        return self.steps.run(f"materialise {definition.ref}", self._materialize, definition, until)

    def prune(self) -> int:
        box = self.box
        active = active_definitions(box.db, box.features)
        marks = {item: found for item in active if (found := box.feature_archive.mark(item)) is not None}
        return prune(box.online, box.feature_archive, marks)

    def _read(self, definition: Definition, source: Source) -> None:
        """The source's own file as Parquet, and its pushed events in files."""
        if (definition.project, source) in self._files:
            return
        project = self.box.projects.get(definition.project)
        place = self.scratch / str(len(self._files))
        read = self.steps.run(
            f"read {source_key(definition, source.name)}", read_source, source.name, declaration_of(source),
            folder=project.folder, scratch=place,
        )  # fmt: skip
        self._files[definition.project, source] = read.events
        self.folded += self.box.feature_archive.fold(definition, source)

    def _materialize(self, definition: Definition, until: datetime | None) -> MaterializedView:
        archive = self.box.feature_archive
        own = {source.name: self._files[definition.project, source] for source in definition.sources}
        pushed = {source.name: archive.pushed(definition, source) for source in definition.sources}
        with event_parts(definition, own, pushed, scratch=self.scratch) as parts:
            observations, count, anew = self._catch_up(definition, parts, until)
            now = archive.mark(definition)
            online = 0
            if now is not None:
                online = refresh_observations(self.box.online, archive, definition, now)
                seed_events(self.box.online, parts, definition, now)
        reached = now.until_us if now is not None else BEGINNING_US
        return MaterializedView(
            definition.ref,
            observations,
            online,
            count,
            anew,
            from_us(reached) if reached > BEGINNING_US else None,
        )

    def _catch_up(
        self, definition: Definition, parts: EventParts, until: datetime | None
    ) -> tuple[int, int, bool]:
        """Observations, parts, and whether it began anew."""
        archive = self.box.feature_archive
        before = archive.mark(definition)
        anew = before is not None and parts.behind(before.until_us) != before.behind
        start = before if before is not None and not anew else Mark()
        last_number = parts.last_number()
        has_late = parts.late(start.until_us, start.event_number) > 0
        bounds = parts.bounds(
            start.until_us, to_us(until) if until is not None else 2**62, chunk_events=self._chunk_events
        )
        if has_late and not bounds:
            bounds = [start.until_us]
        total, reached = 0, start.until_us
        self.steps.progress.begin(definition.ref, total=len(bounds))
        for place, bound in enumerate(bounds):
            table = parts.observed(
                reached, bound, late_after=start.event_number if has_late and place == 0 else None
            )
            is_last = place == len(bounds) - 1
            now = Mark(bound, last_number if is_last else start.event_number, parts.behind(bound))
            archive.add(definition, table, before=before, now=now, anew=anew and place == 0)
            before, reached, total = now, bound, total + table.num_rows
            self.steps.progress.advance(note=f"{total:,} observations")
        self.steps.progress.end()
        return total, len(bounds), anew
