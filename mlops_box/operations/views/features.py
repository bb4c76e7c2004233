"""Feature views: what is declared, in which versions, where it comes from and which models learnt from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlops_box.box import Box
from mlops_box.db import Row
from mlops_box.errors import NotFoundError
from mlops_box.operations.views.paging import Page, Query, Resource
from mlops_box.operations.views.reading import mapping, moment

if TYPE_CHECKING:
    from mlops_box.features.definition import Definition


@dataclass(frozen=True)
class FeatureViewRow:
    """The newest version of a view. ``models`` counts the model versions that learnt from any version of it."""

    name: str
    version: int
    digest: str
    project: str
    entity: tuple[str, ...]
    features: tuple[str, ...]
    sources: tuple[str, ...]
    owner: str
    description: str
    created_at: datetime | None
    models: int


@dataclass(frozen=True)
class PinnedBy:
    """A model version that learnt from a view. ``features`` are the view's features among its inputs."""

    ref: str
    state: str
    is_champion: bool
    version: int
    features: tuple[str, ...]


@dataclass(frozen=True)
class ViewVersion:
    """One version of a view."""

    version: int
    digest: str
    created_at: datetime | None
    created_by: str


@dataclass(frozen=True)
class FeatureViewDetail:
    """One version of a view whole, the versions beside it, and who uses any of them."""

    definition: Definition
    versions: tuple[ViewVersion, ...]
    used_by: tuple[PinnedBy, ...]


_SELECT = """
SELECT d.*, (SELECT count(*) FROM versions, json_each(versions.lineage, '$.features') AS pin WHERE pin.key = d.name)
  AS models
FROM feature_definitions AS d
WHERE d.version = (SELECT max(version) FROM feature_definitions WHERE name = d.name)
"""


def _row(row: Row) -> FeatureViewRow:
    raw = mapping(row["definition"])

    def names(key: str) -> tuple[str, ...]:
        return tuple(str(item.get("name", "?")) for item in raw.get(key) or () if isinstance(item, dict))

    return FeatureViewRow(
        name=row["name"], version=row["version"], digest=row["digest"], project=row["project"],
        entity=names("entity"), features=names("columns"), sources=names("sources"),
        owner=str(raw.get("owner") or ""), description=str(raw.get("description") or ""),
        created_at=moment(row["created_at"]), models=row["models"],
    )  # fmt: skip


FEATURE_VIEWS: Resource[FeatureViewRow] = Resource(
    select=_SELECT,
    build=_row,
    fields={"name": "name", "project": "project", "owner": "json_extract(definition, '$.owner')"},
    text=("name", "project", "definition"),
    order="name",
    sorts={"name": "name", "version": "version", "models": "models", "at": "created_at"},
)


def list_features(box: Box, query: Query) -> Page[FeatureViewRow]:
    """A page of feature views, by name."""
    return FEATURE_VIEWS.page(box, query)


def feature_view_detail(box: Box, name: str, *, version: int | None = None) -> FeatureViewDetail:
    """One view whole; its newest version when none is named.

    Raises:
        NotFoundError: There is no such view or version.
    """
    definition = box.features.get(name, version=version)
    rows = box.db.read("SELECT * FROM feature_definitions WHERE name = ? ORDER BY version", (name,))
    versions = tuple(
        ViewVersion(row["version"], row["digest"], moment(row["created_at"]), row["created_by"])
        for row in rows
    )
    return FeatureViewDetail(definition, versions, _used_by(box, name, versions))


def feature_of(detail: FeatureViewDetail, feature: str | None) -> tuple[PinnedBy, ...]:
    """The model versions that use one feature of the view; that use any, where ``feature`` is ``None``.

    Raises:
        NotFoundError: The view has no such feature in this version.
    """
    if feature is None:
        return detail.used_by
    if feature not in detail.definition.features:
        raise NotFoundError(
            f"{detail.definition.ref} has no feature {feature!r}",
            hint=f"it has: {', '.join(detail.definition.features)}",
        )
    return tuple(used for used in detail.used_by if feature in used.features)


def _used_by(box: Box, name: str, versions: tuple[ViewVersion, ...]) -> tuple[PinnedBy, ...]:
    # Definitions are pydantic's: a list of views does without.
    from mlops_box.project.features import SEPARATOR

    numbers = {version.digest: version.version for version in versions}
    rows = box.db.read(
        "SELECT versions.model, versions.number, versions.state, versions.signature, pin.value AS digest, "
        "(SELECT 1 FROM aliases WHERE aliases.model = versions.model AND alias = 'champion' "
        "AND aliases.number = versions.number) AS champion "
        "FROM versions, json_each(versions.lineage, '$.features') AS pin WHERE pin.key = ? "
        "ORDER BY versions.created_at DESC, versions.number DESC",
        (name,),
    )
    return tuple(
        PinnedBy(
            f"{row['model']}@{row['number']}", row["state"], bool(row["champion"]), numbers.get(row["digest"], 0),
            _inputs(mapping(row["signature"]), name + SEPARATOR),
        )
        for row in rows
    )  # fmt: skip


def _inputs(signature: dict[str, Any], prefix: str) -> tuple[str, ...]:
    inputs = [str(item.get("name", "")) for item in signature.get("features") or () if isinstance(item, dict)]
    return tuple(column.removeprefix(prefix) for column in inputs if column.startswith(prefix))
