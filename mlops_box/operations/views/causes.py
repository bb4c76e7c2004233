"""What an alert's finding names as its cause: things one can look at, by kind and name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAX_CAUSES = 20


@dataclass(frozen=True)
class Cause:
    """A thing that a finding names: ``kind`` is run, version, batch, device or feature_view."""

    kind: str
    id: str
    why: str


def causes_of(finding: dict[str, Any]) -> tuple[Cause, ...]:
    """The causes that a stored finding names, at most ``MAX_CAUSES``; what is not of the known shape names none."""
    found = dict.fromkeys(cause for cause in _named(finding) if cause.id)
    return tuple(found)[:MAX_CAUSES]


def _named(finding: dict[str, Any]) -> Iterator[Cause]:
    for run in _objects(finding.get("runs")):
        yield Cause(
            "run", _name(run.get("id")), f"{_name(run.get('kind'))} {_name(run.get('state'))}".strip()
        )
    refusal = finding.get("refusal")
    if isinstance(refusal, dict):
        yield Cause("batch", _name(refusal.get("id")), "was refused")
    yield Cause("device", _name(finding.get("device")), "what it is about")
    for trouble in _objects(finding.get("troubles")):
        for ref in _name(trouble.get("bad")).split(", "):
            yield Cause("version", ref, "is marked bad on the device")
    definitions = finding.get("definitions")
    for ref in definitions if isinstance(definitions, dict) else ():
        yield Cause(
            "feature_view", ref.partition("@")[0], "its features differ from what they are recomputed to"
        )


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _name(value: object) -> str:
    return value if isinstance(value, str) else ""
