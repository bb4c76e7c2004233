"""The value every check gives."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class Check:
    """One finding; ``mend`` says what to type when it is not ``ok``."""

    name: str
    verdict: Verdict
    message: str
    mend: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def ok(name: str, message: str) -> Check:
    return Check(name, "ok", message)


def warning(name: str, message: str, mend: str) -> Check:
    return Check(name, "warning", message, mend)


def failed(name: str, message: str, mend: str) -> Check:
    return Check(name, "failed", message, mend)
