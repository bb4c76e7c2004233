"""What ``mlops.toml`` may say: one typed model that validates, documents and makes the JSON Schema."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from mlops_box.canonical import digest_of
from mlops_box.project.declared import (
    ColumnType,
    Declared,
    Duration,
    Name,
    PositiveDuration,
    Scalar,
    Share,
    check_cron,
)
from mlops_box.project.edge import Edge
from mlops_box.project.features import Features
from mlops_box.project.monitor import Monitor
from mlops_box.project.notify import Notify
from mlops_box.project.retrain import Retrain
from mlops_box.project.serve import Serve

Task = Literal["regression", "binary", "multiclass"]


class ColumnRule(Declared):
    """What one column must be. A row that breaks it goes to quarantine under the rule's id, ``column.rule``."""

    type: ColumnType
    null: bool = Field(False, description="May values be missing?")
    min: float | str | None = Field(
        None, description="Smallest allowed value; an ISO time for timestamps and dates."
    )
    max: float | str | None = Field(None, description="Largest allowed value.")
    in_: list[Scalar] | None = Field(None, alias="in", description="The only allowed values.")
    regex: str | None = Field(None, description="The whole text must match (RE2 syntax).")
    unique: bool = Field(False, description="No value twice in a batch.")

    @field_validator("regex")
    @classmethod
    def _regex_compiles(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"no regular expression: {error}") from None
        return value

    @model_validator(mode="after")
    def _range_is_possible(self) -> ColumnRule:
        if isinstance(self.min, float | int) and isinstance(self.max, float | int) and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        if self.in_ is not None and not self.in_:
            raise ValueError("an empty list allows no value at all")
        return self


class RowBand(Declared):
    """How many rows a batch must have."""

    min: int = Field(1, ge=0)
    max: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _band_is_possible(self) -> RowBand:
        if self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


BATCH_KEYS = ("rows", "freshness", "quarantine", "null_rate_change", "new_categories", "columns")


class Contract(Declared):
    """Rules for rows (by column) and for the batch.

    In ``mlops.toml`` columns stand directly under ``[data.contract]`` beside the batch rules; a column that is named
    like a batch rule goes under ``[data.contract.columns]``.
    """

    columns: dict[str, ColumnRule] = Field(default_factory=dict)
    rows: RowBand = Field(default_factory=lambda: RowBand(min=1, max=None))
    freshness: Duration | None = Field(None, description="The newest row must not be older than this.")
    quarantine: Share = Field(0.01, description="More bad rows than this refuse the batch.")
    null_rate_change: Share = Field(
        0.1, description="Largest change of a column's share of nulls since the last snapshot."
    )
    new_categories: Share = Field(
        0.05, description="Largest share of rows with a text value the last snapshot did not have."
    )

    @property
    def digest(self) -> str:
        """Names its content: what was judged by it says so."""
        return digest_of(self.model_dump(mode="json", by_alias=True))

    @model_validator(mode="before")
    @classmethod
    def _gather_columns(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        given = value.get("columns", {})
        if not isinstance(given, dict) or ({"type"} <= given.keys() and isinstance(given["type"], str)):
            raise ValueError("a column named 'columns' goes under [data.contract.columns]")
        columns = dict(given)
        rest: dict[str, Any] = {}
        for key, item in value.items():
            if key == "columns":
                continue
            if key in BATCH_KEYS:
                rest[key] = item
            else:
                columns[key] = item
        return {**rest, "columns": columns}


class Data(Declared):
    """Where rows come from and what they must be."""

    source: str = Field(
        description="A file or glob, relative to mlops.toml: CSV, Parquet, JSON lines or SQLite."
    )
    table: str | None = Field(
        None, description="The table, where the source is a SQLite file with more than one."
    )
    query: str | None = Field(None, description="SQL over `source`; what it returns is the data.")
    time: str | None = Field(None, description="The column that holds each row's event time.")
    key: list[str] = Field(
        default_factory=list, description="The columns that together name a row; no key twice."
    )
    contract: Contract = Field(default_factory=Contract)


class Split(Declared):
    """How the test rows are held out. `time`: the newest; `key`: whole groups; `random`: by a seeded hash of the row."""

    by: Literal["time", "key", "random"] = "random"
    test: float = Field(0.2, gt=0, lt=1)
    key: str | None = Field(None, description='The grouping column for by = "key".')

    @model_validator(mode="after")
    def _key_named(self) -> Split:
        if self.by == "key" and not self.key:
            raise ValueError('split by = "key" needs key = "a column"')
        return self


class Numeric(Declared):
    impute: Literal["median", "mean", "zero"] = "median"
    scale: Literal["standard", "none"] = "standard"


class Categorical(Declared):
    min_count: int = Field(1, ge=1, description="Rarer values are treated as unseen (all zeros).")
    max_values: int = Field(200, ge=1, description="At most this many values get a column each.")


class Preprocess(Declared):
    """By kind of column; it becomes part of the exported graph."""

    numeric: Numeric = Field(default_factory=lambda: Numeric(impute="median", scale="standard"))
    categorical: Categorical = Field(default_factory=lambda: Categorical(min_count=1, max_values=200))


class Model(Declared):
    """What is learnt from what."""

    name: Name | None = Field(None, description="The model's name; the project's when absent.")
    task: Task
    target: str
    features: list[str] = Field(min_length=1)
    categorical: list[str] = Field(
        default_factory=list, description="Features to encode one-hot although they are numbers."
    )
    train: str = Field(
        "train.py:build", description="file.py:function that returns an unfitted estimator or a torch recipe."
    )
    params: dict[str, Any] = Field(
        default_factory=dict, description="Passed to the function as its `params`."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="torch: where to train; auto: the GPU where there is one; cuda: nowhere else."
    )
    seed: int = Field(0, ge=0, lt=2**32)
    split: Split = Field(default_factory=lambda: Split(by="random", test=0.2, key=None))
    preprocess: Preprocess = Field(default_factory=Preprocess)

    @model_validator(mode="after")
    def _columns_make_sense(self) -> Model:
        if self.target in self.features:
            raise ValueError(
                f"the target {self.target!r} is among the features: the model would read the answer"
            )
        twice = sorted({name for name in self.features if self.features.count(name) > 1})
        if twice:
            raise ValueError(f"features named twice: {', '.join(twice)}")
        strangers = [name for name in self.categorical if name not in self.features]
        if strangers:
            raise ValueError(f"categorical names {strangers[0]!r}, which is no feature")
        return self

    @field_validator("train")
    @classmethod
    def _train_form(cls, value: str) -> str:
        file, separator, function = value.partition(":")
        if (
            not separator
            or not file.endswith(".py")
            or not function.isidentifier()
            or ".." in file.split("/")
        ):
            raise ValueError(f"{value!r}: write file.py:function, inside the project's folder")
        return value


class MetricGate(Declared):
    """Bounds for one metric on the held-out rows."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _bounded(self) -> MetricGate:
        if self.min is None and self.max is None:
            raise ValueError("say min or max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}: nothing could pass")
        return self


class ChampionGate(Declared):
    """Not worse than the champion on the same rows, by more than `margin` (in the metric's own unit)."""

    metric: str
    margin: float = Field(0.0, ge=0)


class SliceGate(Declared):
    """No slice of `by` worse than `max_ratio` times the overall metric (`min_ratio` where more is better)."""

    by: str
    metric: str
    max_ratio: float | None = Field(None, gt=0)
    min_ratio: float | None = Field(None, gt=0)
    min_rows: int = Field(30, ge=1, description="Smaller slices are shown, not judged.")


_OWN_GATE_KEYS = ("metrics", "champion", "slice", "approval", "approval_expires")


class Gates(Declared):
    """What a version must pass to become champion. Metric gates stand directly under ``[gates]``."""

    metrics: dict[str, MetricGate] = Field(default_factory=dict)
    champion: ChampionGate | None = None
    slice: Annotated[
        list[SliceGate], BeforeValidator(lambda value: [value] if isinstance(value, dict) else value)
    ] = Field(default_factory=list, description="One slice gate or a list of them.")
    approval: Literal["none", "required"] = Field(
        "none", description="required: a person other than the author approves before it serves."
    )
    approval_expires: PositiveDuration = Field(timedelta(days=7), description="How long an approval counts.")

    @model_validator(mode="before")
    @classmethod
    def _gather_metrics(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        own = {key: item for key, item in value.items() if key in _OWN_GATE_KEYS}
        given = own.get("metrics", {})
        if not isinstance(given, dict):
            raise ValueError("metrics must be a table: [gates.metrics]")
        metrics = dict(given)
        metrics |= {key: item for key, item in value.items() if key not in own}
        return {**own, "metrics": metrics}


class Schedule(Declared):
    """Cron expressions (five fields, UTC) for the flows under `mlops-box up`."""

    train: str | None = None
    monitor: str | None = None
    materialize: str | None = Field(None, description="Bring the feature views up to date.")
    housekeeping: str | None = None

    @field_validator("train", "monitor", "materialize", "housekeeping")
    @classmethod
    def _cron(cls, value: str | None) -> str | None:
        return check_cron(value) if value is not None else None


class About(Declared):
    """Name and purpose."""

    name: Name
    description: str = ""


class Project(Declared):
    """A whole ``mlops.toml``."""

    project: About
    data: Data
    model: Model
    features: Features = Field(default_factory=Features)
    gates: Gates = Field(default_factory=Gates)
    serve: Serve = Field(default_factory=Serve)
    monitor: Monitor = Field(default_factory=Monitor)
    retrain: Retrain = Field(default_factory=Retrain)
    schedule: Schedule = Field(default_factory=Schedule)
    notify: Notify = Field(default_factory=Notify)
    edge: Edge = Field(default_factory=Edge)

    @model_validator(mode="after")
    def _window_has_times(self) -> Project:
        if self.retrain.window != "expanding" and self.data.time is None:
            raise ValueError(
                f'[retrain] window = "{self.retrain.window}" needs the event time: add time = "..." under [data]'
            )
        return self

    @model_validator(mode="after")
    def _rollout_key_is_a_column(self) -> Project:
        key = self.serve.rollout.key
        features = self.features.columns_of(self.model.features)
        known = {*features, *self.data.key, *self.data.contract.columns, self.data.time}
        if key is not None and key not in known:
            raise ValueError(f"[serve.rollout] key names {key!r}, which is no column that a request may hold")
        return self

    @model_validator(mode="after")
    def _redacted_are_columns(self) -> Project:
        features = self.features.columns_of(self.model.features)
        known = {
            *features, *self.data.key, *self.data.contract.columns, self.model.target,
            *self.features.keys_of(self.model.features),
        }  # fmt: skip
        declared = [("serve", column) for column in self.serve.redact]
        declared += [("edge", column) for column in self.edge.redact or ()]
        for section, column in declared:
            if column == self.data.time:
                raise ValueError(
                    f"[{section}] redact names {column!r}, the event time, which windows are made of"
                )
            if column not in known:
                raise ValueError(
                    f"[{section}] redact names {column!r}, which is no column that a request may hold"
                )
        return self

    @property
    def name(self) -> str:
        return self.project.name

    @property
    def model_name(self) -> str:
        return self.model.name or self.project.name
