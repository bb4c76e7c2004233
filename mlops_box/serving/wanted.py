"""Which version should answer for each model, as box.db says it: a plain value that whoever decides hands to who serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlops_box.db import Database


@dataclass(frozen=True)
class Wanted:
    """The champions at one moment.

    Attributes:
        champions: By model: the version's number and the digest of the declaration it answers under.
    """

    champions: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {"champions": [[model, *target] for model, target in self.champions.items()]}

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> Wanted:
        return Wanted({str(m): (int(number), str(digest)) for m, number, digest in content["champions"]})


def read_wanted(db: Database) -> Wanted:
    """What box.db wants now.

    Raises:
        StorageError: It cannot be read.
    """
    rows = db.read(
        "SELECT aliases.model, aliases.number, COALESCE(projects.digest, '') AS digest FROM aliases "
        "LEFT JOIN projects ON projects.model = aliases.model WHERE aliases.alias = 'champion'"
    )
    return Wanted({row["model"]: (row["number"], row["digest"]) for row in rows})
