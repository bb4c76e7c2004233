"""Which version should answer for each model, as box.db says it: a plain value that whoever decides hands to who serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlops_box.db import Database
from mlops_box.models.store import CHAMPION
from mlops_box.serving.rollout.challenger import Challenger, read_challengers


@dataclass(frozen=True)
class Wanted:
    """The champions at one moment, and who challenges them.

    Attributes:
        champions: By model: the version's number and the digest of the declaration it answers under.
        aliases: By model: every alias and the number it stands for.
        challengers: By model: the candidate of a rollout that is under way.
    """

    champions: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    aliases: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    challengers: Mapping[str, Challenger] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "champions": [[model, *target] for model, target in self.champions.items()],
            "aliases": {model: dict(found) for model, found in self.aliases.items()},
            "challengers": [challenger.to_dict() for challenger in self.challengers.values()],
        }

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> Wanted:
        champions = {str(m): (int(number), str(digest)) for m, number, digest in content["champions"]}
        challengers = [Challenger.from_dict(item) for item in content.get("challengers", [])]
        return Wanted(champions, content.get("aliases", {}), {item.model: item for item in challengers})


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
    return Wanted(champions, aliases, read_challengers(db))
