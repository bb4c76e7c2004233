"""What the online door must know of a project: on the box from ``mlops.toml``, on a device from its bundle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_box.data.rules import Rule

if TYPE_CHECKING:
    from mlops_box.project import Project


@dataclass(frozen=True)
class DoorRules:
    """What a request may hold.

    Attributes:
        columns: The rules of each declared column.
        time_column: The column with a row's event time, where there is one.
        known: Names that a row may hold beside the features and the target.
        max_rows: Rows one request may carry.
    """

    columns: Mapping[str, Rule]
    time_column: str | None
    known: frozenset[str]
    max_rows: int


def door_rules(project: Project, *, also: Iterable[str] = ()) -> DoorRules:
    """Those that a project declares for the box's own server.

    Args:
        also: Further columns that a row may hold, such as those that name an entity.
    """
    data = project.data
    known = {*data.contract.columns, *data.key, *([data.time] if data.time else ()), *also}
    return DoorRules(data.contract.columns, data.time or None, frozenset(known), project.serve.max_rows)
