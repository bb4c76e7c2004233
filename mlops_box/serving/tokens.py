"""The tokens in box.db: made, listed, revoked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import cast

from mlops_box.clock import Clock, isoformat, parse_time
from mlops_box.db import Database, Row
from mlops_box.errors import NotFoundError, UsageError
from mlops_box.ids import check_name
from mlops_box.ledger import Ledger
from mlops_box.serving.bearer import SCOPES, Scope, Token, new_token, read_token


class TokenStore:
    """Makes, lists and revokes tokens."""

    def __init__(self, db: Database, ledger: Ledger, clock: Clock):
        self._db = db
        self._ledger = ledger
        self._clock = clock

    def create(
        self, name: str, scopes: Sequence[Scope], *, lifetime: timedelta | None = None
    ) -> tuple[Token, str]:
        """A new token, and its text, which is not to be had again.

        Args:
            lifetime: How long it is good; ``None``: until it is revoked.

        Raises:
            UsageError: The name is not allowed or in use, or there is no scope.
        """
        check_name(name, what="token name")
        if not scopes:
            raise UsageError("a token needs a scope", hint=f"--scope {' | '.join(SCOPES)}")
        if lifetime is not None and lifetime <= timedelta(0):
            raise UsageError("a token cannot expire at once", hint="--expires 90d")
        now = self._clock.now()
        try:
            expires_at = now + lifetime if lifetime is not None else None
        except OverflowError:
            raise UsageError("that expiry is beyond any calendar", hint="--expires 90d") from None
        text = new_token()
        id_, digest = read_token(text.encode()) or ("", "")
        kept = tuple(scope for scope in SCOPES if scope in scopes)
        token = Token(id_, name, digest, kept, now, self._ledger.actor, expires_at, None)
        row: Row = {
            "id": id_, "name": name, "digest": digest, "scopes": json.dumps(kept), "created_at": isoformat(now),
            "created_by": token.created_by, "expires_at": isoformat(expires_at) if expires_at else None, "revoked_at": None,
        }  # fmt: skip
        with self._db.write() as tx:
            if tx.one("SELECT 1 FROM tokens WHERE name = ? AND revoked_at IS NULL", (name,)):
                raise UsageError(
                    f"there is a token {name} already",
                    hint=f"mlops-box tokens revoke {name}, or choose another name",
                )
            tx.insert("tokens", row)
            facts = {"id": id_, "scopes": list(kept), "expires_at": row["expires_at"]}
            self._ledger.append(tx, "token.created", f"token:{name}", facts)
        return token, text

    def revoke(self, name: str) -> Token:
        """End a token by its name or id; revoking it again changes nothing.

        Raises:
            NotFoundError: There is none.
        """
        with self._db.write() as tx:
            row = tx.one(
                "SELECT * FROM tokens WHERE name = :name OR id = :name "
                "ORDER BY revoked_at IS NOT NULL, revoked_at DESC LIMIT 1",
                {"name": name},
            )
            if row is None:
                raise NotFoundError(f"there is no token {name!r}", hint="mlops-box tokens list")
            if row["revoked_at"] is None:
                row["revoked_at"] = isoformat(self._clock.now())
                tx.execute("UPDATE tokens SET revoked_at = :revoked_at WHERE id = :id", row)
                self._ledger.append(tx, "token.revoked", f"token:{row['name']}", {"id": row["id"]})
        return _token(row)

    def data_version(self) -> int:
        """Another number than before, in the same thread, where something in box.db changed."""
        return self._db.data_version()

    def valid(self) -> list[Token]:
        """Those that are neither expired nor revoked."""
        now = self._clock.now()
        return [token for token in self.list() if token.state(now) == "valid"]

    def list(self) -> list[Token]:
        """All tokens, newest first."""
        return [_token(row) for row in self._db.read("SELECT * FROM tokens ORDER BY created_at DESC, id")]


def _token(row: Row) -> Token:
    return Token(
        row["id"], row["name"], row["digest"], cast(tuple[Scope, ...], tuple(json.loads(row["scopes"]))),
        parse_time(row["created_at"]), row["created_by"],
        parse_time(row["expires_at"]) if row["expires_at"] else None,
        parse_time(row["revoked_at"]) if row["revoked_at"] else None,
    )  # fmt: skip
