"""``model/contract.json``: all that a device needs to judge a request as the box's own door does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlops_box.canonical import canonical_json
from mlops_box.models.values import Signature
from mlops_box.project import Project

FORMAT = 1


@dataclass(frozen=True)
class DeviceContract:
    """What a row may hold, and what of it is logged.

    Attributes:
        columns: Each declared column's rule as ``mlops.toml`` writes it (``type``, ``null``, ``min``, ``max``, ``in``,
            ``regex``, ``unique``); what is not declared is left out.
        time_column: The column with a row's event time, if there is one.
        known: Every name a row may hold.
        features: What the model reads, in the order of its signature.
        max_rows: Rows one request may carry.
        sample: Share of the requests whose rows are logged, 0 to 1.
        redact: Columns that are logged as null.
        window_seconds: Length of a drift window.
    """

    columns: dict[str, dict[str, Any]]
    time_column: str | None
    known: tuple[str, ...]
    features: tuple[str, ...]
    max_rows: int
    sample: float
    redact: tuple[str, ...]
    window_seconds: float

    def to_bytes(self) -> bytes:
        return canonical_json({"format": FORMAT, **vars(self)}).encode()


def device_contract(project: Project, signature: Signature) -> DeviceContract:
    """The contract of ``project`` for a model of this ``signature``."""
    features = tuple(feature.name for feature in signature.features)
    rules = project.data.contract.columns
    known = {*features, signature.target, *rules, *project.data.key}
    if project.data.time:
        known.add(project.data.time)
    edge, serve = project.edge, project.serve
    return DeviceContract(
        columns={
            name: rule.model_dump(mode="json", by_alias=True, exclude_defaults=True)
            for name, rule in sorted(rules.items())
        },
        time_column=project.data.time,
        known=tuple(sorted(known)),
        features=features,
        max_rows=edge.max_rows,
        sample=edge.log_sample if edge.log_sample is not None else serve.log_sample,
        redact=tuple(sorted(edge.redact if edge.redact is not None else serve.redact)),
        window_seconds=project.monitor.window.total_seconds(),
    )
