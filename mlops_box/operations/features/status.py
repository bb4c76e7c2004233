"""How fresh features are: how far each definition is materialised, and what lies in the online store."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from mlops_box.box import Box
from mlops_box.clock import from_us, isoformat
from mlops_box.features.definition import Definition
from mlops_box.features.events import source_key
from mlops_box.features.online import BEGINNING_US
from mlops_box.models.pins import active_definitions


@dataclass(frozen=True)
class ViewStatus:
    """One definition, given as ``view@version``.

    Attributes:
        materialized_until: Everything that had happened and was known until then is in; ``None``: never materialised.
        behind_s: From then until now.
        files, rows: Of its observations in files.
        entities: That have an observation online.
        newest: The time of the newest observation online; ``age_s`` from then until now.
        waiting: Pushed events of its sources that are in no file yet.
    """

    view: str
    digest: str
    materialized_until: datetime | None
    behind_s: float | None
    files: int
    rows: int
    entities: int
    newest: datetime | None
    age_s: float | None
    waiting: int

    def to_dict(self) -> dict[str, Any]:
        moments = {"materialized_until": self.materialized_until, "newest": self.newest}
        texts = {name: isoformat(moment) if moment else None for name, moment in moments.items()}
        return asdict(self) | texts


def features_status(box: Box, *, view: str | None = None) -> list[ViewStatus]:
    """Every definition that is kept up to date.

    Raises:
        NotFoundError: There is no such view.
    """
    found = [item for item in active_definitions(box.db, box.features) if view in (None, item.name)]
    if view is not None and not found:
        box.features.get(view)  # says so
    return [_status(box, definition) for definition in found]


def _status(box: Box, definition: Definition) -> ViewStatus:
    now = box.clock.now()
    mark = box.feature_archive.mark(definition)
    files = box.feature_archive.files(definition)
    entities, newest_us = box.online.extent(definition.digest)
    newest = from_us(newest_us) if newest_us is not None else None
    until = from_us(mark.until_us) if mark is not None and mark.until_us > BEGINNING_US else None
    waiting = sum(
        box.feature_archive.waiting(source_key(definition, source.name)) for source in definition.sources
    )
    return ViewStatus(
        definition.ref, definition.digest, until, (now - until).total_seconds() if until else None,
        len(files), sum(file.rows for file in files), entities, newest,
        (now - newest).total_seconds() if newest else None, waiting,
    )  # fmt: skip
