"""Bearer tokens: who may call the inference server where it can be reached from elsewhere, and for what.

A token reads ``mbx_<id>_<secret>``. The id finds the row, the secret is 32 random bytes in hexadecimal, of which only the
SHA-256 is stored: it has 256 bits of chance in it, so that a slow hash would add nothing. It is shown once.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from mlops_box.clock import isoformat

Scope = Literal["predict", "feedback", "admin"]
SCOPES: tuple[Scope, ...] = ("predict", "feedback", "admin")
_TOKEN = re.compile(rb"mbx_([0-9a-f]{12})_([0-9a-f]{64})")


@dataclass(frozen=True)
class Token:
    """What is known of a token; not the secret.

    Attributes:
        id: Its public part, by which logs and lists name it.
        digest: SHA-256 of the secret's 32 bytes, hexadecimal.
        scopes: What it allows; none implies another.
        expires_at: ``None``: never.
    """

    id: str
    name: str
    digest: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None

    def state(self, now: datetime) -> Literal["valid", "expired", "revoked"]:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and now >= self.expires_at else "valid"

    def to_dict(self, now: datetime) -> dict[str, Any]:
        """For people and programs: without the digest."""
        return {
            "id": self.id, "name": self.name, "scopes": list(self.scopes), "state": self.state(now),
            "created_at": isoformat(self.created_at), "created_by": self.created_by,
            "expires_at": isoformat(self.expires_at) if self.expires_at else None,
            "revoked_at": isoformat(self.revoked_at) if self.revoked_at else None,
        }  # fmt: skip


def new_token() -> str:
    """The text of a token that nobody has seen."""
    return f"mbx_{secrets.token_hex(6)}_{secrets.token_hex(32)}"


def read_token(text: bytes) -> tuple[str, str] | None:
    """(id, digest of the secret) of a token's text; ``None`` where it has not the form of one."""
    match = _TOKEN.fullmatch(text)
    if match is None:
        return None
    return match[1].decode(), hashlib.sha256(bytes.fromhex(match[2].decode())).hexdigest()
