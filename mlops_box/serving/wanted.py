"""Which version should answer for each model, as box.db says it: a plain value that whoever decides hands to who serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlops_box.db import Database
from mlops_box.models.store import CHAMPION


@dataclass(frozen=True)
class Wanted:
    """The champions at one moment.

    Attributes:
        champions: By model: the version's number and the digest of the declaration it answers under.
        aliases: By model: every alias and the number it stands for.
    """

    champions: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    aliases: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "champions": [[model, *target] for model, target in self.champions.items()],
            "aliases": {model: dict(found) for model, found in self.aliases.items()},
        }

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> Wanted:
        champions = {str(m): (int(number), str(digest)) for m, number, digest in content["champions"]}
        return Wanted(champions, content.get("aliases", {}))


def read_wanted(db: Database) -> Wanted:
    """What box.db wants now.

    Raises:
        StorageError: It cannot be read.
    """
    rows = db.read(
        "SELECT aliases.model, aliases.alias, aliases.number, COALESCE(projects.digest, '') AS digest FROM aliases "
        "LEFT JOIN projects ON projects.model = aliases.model"
    )
    aliases: dict[str, dict[str, int]] = {}
    for row in rows:
        aliases.setdefault(row["model"], {})[row["alias"]] = row["number"]
    champions = {row["model"]: (row["number"], row["digest"]) for row in rows if row["alias"] == CHAMPION}
    return Wanted(champions, aliases)
