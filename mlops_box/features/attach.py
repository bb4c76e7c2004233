"""A project's rows with the features they name: joined in the data room's engine, before the contract."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_box.data.convert import convert, vocabulary
from mlops_box.data.relation import Relation, describe, missing_column, select_list
from mlops_box.data.sql import name as quote
from mlops_box.data.values import ColumnType
from mlops_box.errors import SourceError
from mlops_box.features.definition import Definition
from mlops_box.features.join import history_relation, joined_sql
from mlops_box.features.view import FeatureView

_NUMBERS = ("bigint", "double")
_ROWS, _MOMENTS, _JOINED = "mlops_box_rows", "mlops_box_moments", "mlops_box_joined"
_ROW, _MOMENT = "mlops_box_row", "mlops_box_moment"


@dataclass(frozen=True)
class Attachment:
    """One view and its observations, computed in one run; ``features`` are those that are wanted."""

    definition: Definition
    files: tuple[Path, ...]
    features: tuple[str, ...]

    @property
    def view(self) -> FeatureView:
        return FeatureView.of(self.definition, self.files, distinct=self.definition.punctual)


@dataclass(frozen=True)
class Attachments:
    """What is joined to rows, at the moment that their column ``time`` holds."""

    time: str
    views: tuple[Attachment, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """What the engine must be allowed to read."""
        return tuple(file for view in self.views for file in view.files)


def attach(connection: Any, relation: Relation, attachments: Attachments) -> Relation:
    """The relation's rows, in their order, with the wanted features as ``view__feature``, point in time.

    Args:
        connection: The engine that ``relation`` lives in, allowed to read ``attachments.files``.
        relation: The rows.
        attachments: What to join.

    Raises:
        SourceError: A row has no column that is joined on, or one of another type, or a column of a feature's name.
    """
    keys = _keys(relation, attachments)
    connection.execute(
        f"CREATE TABLE {_ROWS} AS SELECT row_number() OVER () AS {_ROW}, * FROM {relation.sql}"
    )
    connection.execute(f"CREATE TABLE {_MOMENTS} AS SELECT {select_list({_ROW: _ROW, **keys})} FROM {_ROWS}")
    added: dict[str, str] = {}
    parts = []
    for place, attached in enumerate(attachments.views):
        view = attached.view
        history = history_relation(connection, view)
        part = f"mlops_box_part_{place}"
        sql = joined_sql(view, history, _MOMENTS, time=_MOMENT, row=_ROW)
        connection.execute(f"CREATE TABLE {part} AS {sql}")
        parts.append(f"JOIN {part} USING ({_ROW})")
        for feature in attached.features:
            column = attached.definition.in_model(feature)
            if column in relation.columns:
                raise SourceError(
                    f"the data has a column {column!r}, as a feature is called", hint="rename it in the query"
                )
            added[column] = f"{part}.{quote(column)}"
    columns = {column: f"{_ROWS}.{quote(column)}" for column in relation.columns}
    connection.execute(
        f"CREATE TABLE {_JOINED} AS SELECT {select_list(columns | added)} FROM {_ROWS} {' '.join(parts)} ORDER BY {_ROW}"
    )
    return Relation(_JOINED, describe(connection, _JOINED), relation.rejects)


def _keys(relation: Relation, attachments: Attachments) -> dict[str, str]:
    """SQL of the moment and of every entity column, in the types of the views."""
    wanted: dict[str, ColumnType] = {}
    for attached in attachments.views:
        for column in attached.definition.entity:
            if column.name not in relation.columns:
                role = f"the entity of feature view {attached.definition.name!r}"
                raise missing_column(column.name, relation.columns, role=role)
            wanted[column.name] = column.type
    if attachments.time not in relation.columns:
        raise missing_column(
            attachments.time, relation.columns, role="the time that features are looked up at"
        )
    found = {column: _converted(relation, column, kind) for column, kind in wanted.items()}
    return found | {_MOMENT: _converted(relation, attachments.time, "timestamp")}


def _converted(relation: Relation, column: str, want: ColumnType) -> str:
    have = relation.columns[column]
    kind = vocabulary(have)
    alike = (
        kind == want or (kind in _NUMBERS and want in _NUMBERS) or (kind == "date" and want == "timestamp")
    )
    if have.upper() != "JSON" and not alike:
        raise SourceError(
            f"column {column!r} holds {kind} in the data and {want} in the features: nothing could be joined",
            hint=f"cast it in a query under [data], or give it its type under [features.sources]: types = {{ {column} = ... }}",
        )
    return convert(quote(column), have, want).value
