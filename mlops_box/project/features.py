"""``[features]``: sources of events, and views that say in SQL what is true of an entity from each moment on."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema, model_validator

from mlops_box.project.declared import ColumnType, Declared, PositiveDuration, Scalar, Share

# Names of sources and views are written in SQL, and before a column's name: card_activity__spend_1h.
SEPARATOR = "__"
_NAME = re.compile(r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$")
SqlName = Annotated[str, WithJsonSchema({"type": "string", "pattern": _NAME.pattern, "maxLength": 48})]


class FeatureSource(Declared):
    """Events: one row each, with the time at which it happened and the columns that name its entity."""

    source: str = Field(
        description="A file or glob, relative to mlops.toml: CSV, Parquet, JSON lines or SQLite."
    )
    table: str | None = Field(
        None, description="The table, where the source is a SQLite file with more than one."
    )
    query: str | None = Field(None, description="SQL over `source`; what it returns are the events.")
    time: str = Field(description="The column that holds each event's time; UTC where no zone is named.")
    known: str | None = Field(
        None,
        description="The column that says when the event was known, where it may be late. None: when it happened.",
    )
    types: dict[str, ColumnType] = Field(
        default_factory=dict, description="Types of columns that are not to be inferred from the file."
    )


class FeatureRule(Declared):
    """What differs for one feature of a view, and what its values must be (rules as in ``[data.contract]``)."""

    ttl: PositiveDuration | None = Field(
        None, description="An older value counts as missing. None: as the view says."
    )
    default: Scalar | None = Field(None, description="Stands for a missing value. None: it stays missing.")
    null: bool | None = Field(None, description="May it be missing? None: yes, unless it has a default.")
    min: float | str | None = Field(None, description="Smallest allowed value.")
    max: float | str | None = Field(None, description="Largest allowed value.")
    in_: list[Scalar] | None = Field(None, alias="in", description="The only allowed values.")


class FeatureView(Declared):
    """SQL over sources (and other views): a row an entity and time, true from then on."""

    sql: str | None = Field(None, description="One SELECT, or the file that holds it: features/NAME.sql.")
    file: str | None = Field(None, description="The file that `sql` was read from.")
    entity: list[str] = Field(min_length=1, description="The columns that name the entity.")
    time: str = Field(description="The column of the result that says from when on a row is true.")
    ttl: PositiveDuration | None = Field(
        None, description="A value counts as missing once it is older than this. None: never."
    )
    lookback: PositiveDuration | None = Field(
        None, description="How far back a row looks. None: over the entity's whole history."
    )
    defaults: dict[str, Scalar] = Field(default_factory=dict, description="Stand for missing values.")
    columns: dict[str, FeatureRule] = Field(
        default_factory=dict, description="What differs for single features."
    )
    owner: str = Field("", description="Whom to ask.")
    description: str = ""

    @model_validator(mode="before")
    @classmethod
    def _sql_or_its_file(cls, value: Any) -> Any:
        sql = value.get("sql") if isinstance(value, dict) else None
        if isinstance(sql, str) and sql.strip().lower().endswith(".sql") and "\n" not in sql.strip():
            return {key: item for key, item in value.items() if key != "sql"} | {"file": sql.strip()}
        return value

    @model_validator(mode="after")
    def _makes_sense(self) -> FeatureView:
        if self.sql is None and self.file is None:
            raise ValueError('it has no sql; write sql = "features/NAME.sql" or the SELECT itself')
        both = [name for name in self.defaults if name in self.columns and self.columns[name].default is not None]  # fmt: skip
        if both:
            raise ValueError(f"{both[0]!r} has two defaults, in `defaults` and in `columns`")
        reserved = sorted({*self.entity} & {"time", "known", "since"})
        if reserved:
            raise ValueError(f"an entity column may not be called {reserved[0]!r}; rename it in the SQL")
        return self


class FeatureParity(Declared):
    """How the vectors that were served are compared with those that the events give."""

    tolerance: Share = Field(0.0, description="Share of a feature's compared values that may differ.")
    precision: float = Field(
        1e-9, gt=0, lt=1, description="Relative difference at which two numbers are still the same."
    )
    sample: Share = Field(
        0.1, description="Share of the predictions that are compared; the same ones whenever it is done."
    )
    window: PositiveDuration = Field(timedelta(days=1), description="How far back `monitor` compares.")
    block: bool = Field(
        False, description="Does a breach keep versions that pin the same definition from being promoted?"
    )


class Features(Declared):
    """What is known of entities over time, for the model's features named ``view.feature`` (``view.*``: all of one)."""

    sources: dict[SqlName, FeatureSource] = Field(default_factory=dict)
    views: dict[SqlName, FeatureView] = Field(default_factory=dict)
    parity: FeatureParity = FeatureParity.model_validate({})

    @model_validator(mode="after")
    def _names_are_apart(self) -> Features:
        for name in [*self.sources, *self.views]:
            if not _NAME.match(name) or len(name) > 48 or name == "source":
                raise ValueError(
                    f"{name!r} cannot name a source or a view; use up to 48 of a-z, 0-9 and single _ (and not 'source')"
                )
        both = sorted(self.sources.keys() & self.views.keys())
        if both:
            raise ValueError(f"{both[0]!r} names both a source and a view")
        return self

    def split(self, feature: str) -> tuple[str, str] | None:
        """(view, feature) where a model's feature names one of a view, as ``activity.n`` or ``activity__n``; else ``None``."""
        for separator in (".", SEPARATOR):
            view, found, name = feature.partition(separator)
            if found and name and view in self.views:
                return view, name
        return None

    def keys_of(self, features: list[str]) -> set[str]:
        """The columns that name the entities of the views that the model's features are of."""
        views = {parts[0] for feature in features if (parts := self.split(feature)) is not None}
        return {key for view in views for key in self.views[view].entity}

    def columns_of(self, features: list[str]) -> list[str]:
        """The model's features as columns of its signature: ``card_activity.spend_1h`` is ``card_activity__spend_1h``."""
        found = [(self.split(feature), feature) for feature in features]
        return [SEPARATOR.join(parts) if parts else feature for parts, feature in found]
