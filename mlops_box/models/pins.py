"""The feature definitions that model versions hold on to."""

from __future__ import annotations

from mlops_box.db import Database
from mlops_box.features.definition import Definition
from mlops_box.features.store import DefinitionStore


def active_definitions(db: Database, definitions: DefinitionStore) -> list[Definition]:
    """The definitions whose features are kept up to date: the newest of each view, first, and those that a version which
    passed its gates pins."""
    newest = definitions.list()
    pins = db.read(
        "SELECT DISTINCT pin.key AS view, pin.value AS digest FROM versions, "
        "json_each(versions.lineage, '$.features') AS pin WHERE versions.state = 'accepted' ORDER BY view, digest"
    )
    known = {definition.digest for definition in newest}
    pinned = [
        definitions.get(pin["view"], digest=pin["digest"]) for pin in pins if pin["digest"] not in known
    ]
    return newest + pinned
