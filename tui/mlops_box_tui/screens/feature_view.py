"""One feature view: its definition, columns and versions, and the models that learnt from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from rich.console import RenderableType
from rich.text import Text

from mlops_box.box import Box
from mlops_box.operations.features.status import ViewStatus, features_status
from mlops_box.operations.views import FeatureViewDetail, feature_view_detail
from mlops_box.units import format_duration
from mlops_box_tui.look import Look
from mlops_box_tui.screens.detail import Body, DetailScreen, Link
from mlops_box_tui.text import clean_lines
from mlops_box_tui.widgets.grids import facts, heading, rows


@dataclass(frozen=True)
class ViewWithAge:
    """A feature view, and how far each version that is kept up to date is materialised."""

    view: FeatureViewDetail
    ages: tuple[ViewStatus, ...]


class FeatureViewScreen(DetailScreen[ViewWithAge]):
    """The newest version of a feature view, by its name."""

    TABS = ("definition", "columns", "freshness", "lineage", "versions")

    def fetch(self, box: Box) -> ViewWithAge:
        detail = feature_view_detail(box, self.subject)
        return ViewWithAge(detail, tuple(features_status(box, view=self.subject)))

    def heading(self, detail: ViewWithAge, look: Look) -> Text:
        view = detail.view.definition
        return Text.assemble(
            " ", look.text(view.ref, "accent"), ("  of ", "dim"), look.text(", ".join(view.keys)), ("  project ", "dim"),
            look.text(view.project), "  ", look.text(view.description, "quiet"),
        )  # fmt: skip

    def body(self, tab: str, detail: ViewWithAge, look: Look) -> Body:
        match tab:
            case "definition":
                return Body(_definition(detail.view, look))
            case "columns":
                return Body([_columns(detail.view, look)])
            case "freshness":
                return Body([_freshness(detail.ages, look)])
            case "lineage":
                return Body(_lineage(detail.view, look))
        lines = [
            (version.version, version.digest[:16], f"{version.created_at:%Y-%m-%d %H:%M:%S}" if version.created_at
             else None, version.created_by) for version in reversed(detail.view.versions)
        ]  # fmt: skip
        return Body([rows((">version", "digest", "since (UTC)", "by"), lines, look, empty="no version")])

    def links(self, detail: ViewWithAge) -> Sequence[Link]:
        return [
            Link("version", used.ref, f"learnt from version {used.version}") for used in detail.view.used_by
        ]


def _definition(detail: FeatureViewDetail, look: Look) -> list[RenderableType]:
    view = detail.definition
    return [
        facts(
            [
                ("entity", ", ".join(f"{column.name} {column.type}" for column in view.entity)),
                ("true from", view.time), ("valid for", _span(view.ttl, "ever")),
                ("looks back", _span(view.lookback, "at all before")), ("owner", view.owner), ("file", view.file),
                ("digest", view.digest),
            ],
            look,
        ),
        heading("sql"),
        Text(look.fit(clean_lines(view.sql))),
    ]  # fmt: skip


def _columns(detail: FeatureViewDetail, look: Look) -> RenderableType:
    view = detail.definition
    lines = [(column.name, column.type, _span(column.ttl, "ever"), column.default) for column in view.columns]
    return rows(("feature", "type", "valid for", "default"), lines, look, empty="no feature")


def _freshness(ages: Sequence[ViewStatus], look: Look) -> RenderableType:
    lines = [
        (age.view, look.when(age.materialized_until), _seconds(age.behind_s), age.rows, age.entities,
         _seconds(age.age_s), age.waiting)
        for age in ages
    ]  # fmt: skip
    columns = (
        "version",
        ">until",
        ">behind",
        ">rows",
        ">entities online",
        ">newest is old",
        ">events waiting",
    )
    return rows(columns, lines, look, empty="no version is kept up to date: mlops-box features materialize")


def _lineage(detail: FeatureViewDetail, look: Look) -> list[RenderableType]:
    sources = [(one.name, one.source, one.time, one.known) for one in detail.definition.sources]
    used = [
        (used.ref, look.state(used.state), "champion" if used.is_champion else None, used.version,
         ", ".join(used.features)) for used in detail.used_by
    ]  # fmt: skip
    return [
        rows(("source", "file", "event time", "known at"), sources, look, empty="no source"),
        facts([("reads views", ", ".join(one.name for one in detail.definition.upstream))], look),
        heading("model versions that learnt from it"),
        rows(("version", "state", "alias", ">view version", "features"), used, look, empty="none yet"),
    ]


def _span(span: timedelta | None, unbounded: str) -> str:
    return format_duration(span.total_seconds()) if span is not None else unbounded


def _seconds(seconds: float | None) -> str | None:
    return format_duration(seconds) if seconds is not None else None
