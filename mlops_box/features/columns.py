"""The features of a view: what its SQL returns, with what is declared of each."""

from __future__ import annotations

from typing import Any

from mlops_box.data.convert import vocabulary
from mlops_box.data.relation import missing_column
from mlops_box.data.values import Column
from mlops_box.features.compute import RESERVED
from mlops_box.features.definition import FeatureColumn
from mlops_box.features.places import place_of_key, place_of_sql
from mlops_box.project import ColumnRule, LoadedProject
from mlops_box.project.declared import Scalar
from mlops_box.project.features import FeatureView

_TEXTS = ("VARCHAR", "UUID")


def feature_columns(project: LoadedProject, name: str, types: dict[str, str]) -> tuple[FeatureColumn, ...]:
    """The features of a view, from the DuckDB types of its SQL's result beside entity and time.

    Raises:
        ProjectError: None is left, one is no scalar or has a reserved name, or a key names none of them.
    """
    view, place = project.declaration.features.views[name], place_of_sql(project, name)
    if not types:
        raise place.error("it returns no feature beside entity and time")
    for key, table in (("defaults", view.defaults), ("columns", view.columns)):
        for feature in table:
            if feature not in types:
                missing = missing_column(feature, types, role="")
                raise place_of_key(project, name, key).error(
                    f"view {name!r} has no feature {feature!r}", hint=missing.hint
                )
    found = []
    for feature, kind in types.items():
        base = kind.upper()
        if feature in RESERVED:
            raise place.error(
                f"a feature may not be called {feature!r}", hint="name it otherwise: ... as other_name"
            )
        if vocabulary(kind) == "varchar" and base not in _TEXTS and not base.startswith("ENUM"):
            raise place.error(
                f"feature {feature!r} is {kind}; a feature is a number, a text, a truth value or a time"
            )
        found.append(_feature(project, name, view, Column(feature, vocabulary(kind))))
    return tuple(found)


def _feature(project: LoadedProject, name: str, view: FeatureView, column: Column) -> FeatureColumn:
    said = view.columns.get(column.name)
    default = said.default if said and said.default is not None else view.defaults.get(column.name)
    if default is not None:
        default = _fitting(default, column)
        if default is None:
            key = "defaults" if column.name in view.defaults else "columns"
            raise place_of_key(project, name, key).error(
                f"the default of {column.name!r} is no {column.type}"
            )
    may_miss = default is None if said is None or said.null is None else said.null
    rule: dict[str, Any] = {"type": column.type, "null": may_miss}
    if said is not None:
        rule |= {"min": said.min, "max": said.max, "in": said.in_}
    return FeatureColumn(
        column.name,
        column.type,
        said.ttl if said and said.ttl is not None else view.ttl,
        default,
        ColumnRule.model_validate({key: value for key, value in rule.items() if value is not None}),
    )


def _fitting(default: Scalar, column: Column) -> Scalar | None:
    """The default in the column's type; ``None`` where it is of another."""
    number = isinstance(default, int | float) and not isinstance(default, bool)
    if column.type == "double" and number:
        return float(default)
    if column.type == "bigint" and number and float(default).is_integer():
        return int(default)
    if column.type == "boolean":
        return default if isinstance(default, bool) else None
    return default if column.type == "varchar" and isinstance(default, str) else None
