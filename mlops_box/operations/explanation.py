"""The answer to why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Explanation:
    """``lines`` for people, ``facts`` for programs: the same story."""

    kind: str
    subject: str
    lines: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "subject": self.subject, "lines": list(self.lines), "facts": self.facts}
