"""Make, list and revoke the tokens of the inference server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlops_box.box import Box
from mlops_box.errors import UsageError
from mlops_box.serving.bearer import SCOPES, Scope, Token
from mlops_box.units import parse_duration


@dataclass(frozen=True)
class NewToken:
    """A token and its text, which is shown this once."""

    token: Token
    text: str

    def __repr__(self) -> str:
        return f"NewToken({self.token.name!r})"


def create_token(box: Box, name: str, scopes: Sequence[str], *, expires: str | None = None) -> NewToken:
    """A new token.

    Args:
        scopes: Of ``predict``, ``feedback``, ``admin``.
        expires: How long it is good, such as ``90d``; ``None``: until it is revoked.

    Raises:
        UsageError: A name, scope or duration that cannot be.
    """
    known: list[Scope] = [scope for scope in SCOPES if scope in scopes]
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise UsageError(f"there is no scope {unknown[0]!r}", hint=f"there are {', '.join(SCOPES)}")
    try:
        lifetime = parse_duration(expires) if expires is not None else None
    except ValueError as error:
        raise UsageError(str(error), hint="--expires 90d") from None
    token, text = box.tokens.create(name, known, lifetime=lifetime)
    return NewToken(token, text)


def revoke_token(box: Box, name: str) -> Token:
    """End a token; running servers know it within a second.

    Raises:
        NotFoundError: There is none of that name or id.
    """
    return box.tokens.revoke(name)


def token_list(box: Box) -> list[dict[str, Any]]:
    """All tokens, newest first, without their secrets."""
    now = box.clock.now()
    return [token.to_dict(now) for token in box.tokens.list()]
