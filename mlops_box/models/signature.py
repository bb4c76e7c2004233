"""What a model reads and answers: names, kinds and types, in order."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mlops_box.project import Task

Kind = Literal["numeric", "categorical"]


@dataclass(frozen=True)
class Feature:
    """One input of a model.

    Attributes:
        kind: ``numeric`` goes in as float32 (missing = NaN), ``categorical`` as text (missing = "").
        type: The column's type in the contract: boolean, bigint, double or varchar.
        values: What a categorical feature took in training, most frequent first; ``None`` for numbers.
    """

    name: str
    kind: Kind
    type: str
    values: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a model, in order.

    Packed inputs are ``numeric`` float32 [n, number of numeric features] and ``text`` string [n, number of categorical
    features]; an input without columns is absent from the graph. Outputs: ``prediction`` float32 [n] for regression;
    ``probability`` float32 [n, number of classes] and ``label`` int64 [n], an index into ``classes``, otherwise.
    """

    task: Task
    target: str
    features: tuple[Feature, ...]
    classes: tuple[str | int | bool, ...] | None = None

    @property
    def numeric(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features if feature.kind == "numeric")

    @property
    def categorical(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features if feature.kind == "categorical")

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Signature:
        raw = json.loads(text)
        features = tuple(
            Feature(
                item["name"],
                item["kind"],
                item["type"],
                tuple(item["values"]) if item["values"] is not None else None,
            )
            for item in raw["features"]
        )
        classes = tuple(raw["classes"]) if raw["classes"] is not None else None
        return Signature(raw["task"], raw["target"], features, classes)
