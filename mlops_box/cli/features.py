"""``mlops-box features``: what is declared and where it comes from. Each verb that acts has a module of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box, printable, read_time, table

if TYPE_CHECKING:
    from mlops_box.operations.features.why import FeatureWhy
    from mlops_box.operations.views.features import FeatureViewDetail, PinnedBy

_version = click.option("--version", type=click.IntRange(1), help="Of the view [default: the newest].")


class _Verbs(click.Group):
    """Verbs from modules of their own, imported when they are called for."""

    modules = ("push", "lookup", "materialize", "status", "parity")

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *self.modules]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        import importlib

        if cmd_name not in self.modules:
            return super().get_command(ctx, cmd_name)
        found = importlib.import_module(f"mlops_box.cli.features_{cmd_name}").command
        assert isinstance(found, click.Command)
        return found


@click.group("features", cls=_Verbs, short_help="Features: what is known of entities, and since when.")
def command() -> None:
    """Features: what is known of entities, and since when."""


@command.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@home_option
@json_option
def list_views(limit: int, home: Path | None, as_json: bool) -> None:
    """The feature views that the projects of this box declare."""
    from dataclasses import asdict

    from mlops_box.operations.views.features import list_features
    from mlops_box.operations.views.paging import Query

    with open_box(home, read_only=True) as box:
        found = list_features(box, Query(limit=limit)).rows
    headers = ["view", "version", "entity", "features", "sources", "models", "owner"]
    rows = [
        (row.name, row.version, ", ".join(row.entity), ", ".join(row.features), ", ".join(row.sources), row.models,
         row.owner or None)
        for row in found
    ]  # fmt: skip
    empty = "no feature views: declare them under [features] in mlops.toml, then mlops-box check"
    emit([asdict(row) for row in found], as_json=as_json, text=lambda: table(headers, rows, empty=empty))


@command.command("show")
@click.argument("view")
@_version
@home_option
@json_option
def show(view: str, version: int | None, home: Path | None, as_json: bool) -> None:
    """One feature view: its features, its SQL, its versions."""
    from mlops_box.operations.views.features import feature_view_detail

    with open_box(home, read_only=True) as box:
        detail = feature_view_detail(box, view, version=version)
    emit(_detail_dict(detail), as_json=as_json, text=lambda: _shown(detail))


@command.command("lineage")
@click.argument("feature")
@_version
@home_option
@json_option
def lineage(feature: str, version: int | None, home: Path | None, as_json: bool) -> None:
    """Where a view, or one feature (VIEW.FEATURE), comes from, and which model versions use it."""
    from dataclasses import asdict

    from mlops_box.operations.views.features import feature_of, feature_view_detail

    view, _, name = feature.partition(".")
    with open_box(home, read_only=True) as box:
        detail = feature_view_detail(box, view, version=version)
        used_by = feature_of(detail, name or None)
    whole = _detail_dict(detail)
    told = {
        "view": detail.definition.name, "version": detail.definition.version, "feature": name or None,
        "sources": whole["sources"], "upstream": [item["name"] for item in whole["upstream"]],
        "used_by": [asdict(used) for used in used_by],
    }  # fmt: skip
    emit(told, as_json=as_json, text=lambda: _lineage_text(detail, used_by))


@command.command("why")
@click.argument("view")
@click.argument("entity", nargs=-1, required=True)
@click.option("--at", "at_text", help="The moment to look at [default: now].")
@_version
@home_option
@json_option
def why(
    view: str,
    entity: tuple[str, ...],
    at_text: str | None,
    version: int | None,
    home: Path | None,
    as_json: bool,
) -> None:
    """Explain the features of one entity at a moment: which observation counted, and why no other.

    ENTITY is written as COLUMN=VALUE, once for each column that names an entity of VIEW. The observations are computed
    anew from the events.
    """
    from mlops_box.cli.features_lookup import read_entity
    from mlops_box.operations.features.why import why_features

    with open_box(home) as box:
        found = why_features(box, view, read_entity(entity), at=read_time("--at", at_text), version=version)
    emit(found.to_dict(), as_json=as_json, text=lambda: _why_text(found))


def _detail_dict(detail: FeatureViewDetail) -> dict[str, Any]:
    from dataclasses import asdict

    from mlops_box.features.definition import definition_to_dict

    return definition_to_dict(detail.definition) | {
        "versions": [asdict(version) for version in detail.versions],
        "used_by": [asdict(used) for used in detail.used_by],
    }


def _shown(detail: FeatureViewDetail) -> str:
    from mlops_box.units import format_duration

    definition = detail.definition
    rows = [
        (column.name, column.type, format_duration(column.ttl.total_seconds()) if column.ttl else "for ever", column.default)
        for column in definition.columns
    ]  # fmt: skip
    head = [
        f"{definition.ref}  {definition.digest}",
        f"of {', '.join(definition.keys)}, project {definition.project}",
    ]
    head += [
        printable(text)
        for text in (definition.description, definition.owner and f"owner: {definition.owner}")
        if text
    ]
    versions = [(item.version, item.digest[:12], item.created_by, f"{item.created_at:%Y-%m-%d %H:%M}" if item.created_at else None) for item in detail.versions]  # fmt: skip
    return "\n".join(
        [
            *head, "", table(["feature", "type", "ttl", "default"], rows, empty=""),
            "", table(["version", "digest", "by", "at"], versions, empty=""), "", definition.sql.strip(),
        ]
    )  # fmt: skip


def _lineage_text(detail: FeatureViewDetail, used_by: tuple[PinnedBy, ...]) -> str:
    definition = detail.definition
    sources = [(item.name, item.source, item.time, item.known) for item in definition.sources]
    users = [
        (used.ref, "champion" if used.is_champion else used.state, f"{definition.name}@{used.version}", ", ".join(used.features))
        for used in used_by
    ]  # fmt: skip
    return "\n".join(
        [
            table(["source", "from", "time", "known"], sources, empty=""),
            *(["", "through " + ", ".join(view.name for view in definition.upstream)] if definition.upstream else []),
            "", table(["used by", "state", "version", "features"], users, empty="no model version uses it"),
        ]
    )  # fmt: skip


def _why_text(found: FeatureWhy) -> str:
    from mlops_box.clock import isoformat

    entity = ", ".join(f"{column} = {value}" for column, value in found.entity.items())
    features = [(reason.feature, reason.value, reason.origin, reason.because) for reason in found.features]
    seen = [
        ("->" if item.counts else "", isoformat(item.time), ", ".join(str(value) for value in item.values.values()), item.because)
        for item in found.observations
    ]  # fmt: skip
    more = [f"and {found.more} further away"] if found.more else []
    return "\n".join(
        [
            printable(f"{found.view} of {entity} at {isoformat(found.at)}"),
            "", table(["feature", "value", "", "because"], features, empty=""),
            "", table(["", "observed", "values", ""], seen, empty="nothing was ever observed of it"), *more,
        ]
    )  # fmt: skip
