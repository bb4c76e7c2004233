"""``model/contract.json``: what was declared of the model's data, as its bundle brings it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Sequence

from mlops_box.errors import IntegrityError
from mlops_box.serving.door_rules import DoorRules

FORMAT = 1


@dataclass(frozen=True)
class ColumnRule:
    """One column's rules, with the meaning and the defaults of ``[data.contract]``."""

    type: str
    null: bool = False
    min: float | str | None = None
    max: float | str | None = None
    in_: Sequence[object] | None = None
    regex: str | None = None


@dataclass(frozen=True)
class Contract:
    """``sample`` of the requests have their rows logged, ``redact`` names columns that never are; a window of histograms
    is ``window_seconds`` long.
    """

    rules: DoorRules
    sample: float
    redact: tuple[str, ...]
    window_seconds: float

    @staticmethod
    def from_bytes(data: bytes) -> Contract:
        """Raises :class:`IntegrityError` when ``data`` is no contract, or one of a newer format."""
        try:
            raw = json.loads(data)
            if raw["format"] != FORMAT:
                raise IntegrityError(
                    f"the contract has format {raw['format']}, this server reads {FORMAT}",
                    hint="export a full bundle: a model-only one needs the runtime it was made for",
                )
            columns = {name: _rule(rule) for name, rule in raw["columns"].items()}
            rules = DoorRules(
                columns, raw["time_column"] or None, frozenset(raw["known"]), int(raw["max_rows"])
            )
            return Contract(rules, float(raw["sample"]), tuple(raw["redact"]), float(raw["window_seconds"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IntegrityError(f"the contract cannot be read: {error!r}") from error


def _rule(raw: dict[str, Any]) -> ColumnRule:
    return ColumnRule(
        raw["type"],
        raw.get("null", False),
        raw.get("min"),
        raw.get("max"),
        raw.get("in"),
        raw.get("regex"),
    )
