"""Whether a caller may do what a route needs: its bearer token against those that are kept.

They are held in memory and read again when they changed, by the thread that watches: a request asks no
database, and a header that was good before costs one look-up.
"""

from __future__ import annotations

import hmac
import logging
import threading
from dataclasses import dataclass, field
from typing import Literal, Protocol

from mlops_box.clock import Clock
from mlops_box.errors import BoxError
from mlops_box.serving.bearer import Scope, Token, read_token
from mlops_box.serving.problems import Headers, HttpProblem

log = logging.getLogger(__name__)

Need = Literal["open", "signature", "predict", "feedback", "admin"]
# Nobody is asked, or the caller signs what it sends.
WITHOUT_TOKEN = ("open", "signature")
POLL_EVERY_S = 0.1
# Failing attempts a second that are answered each by its own reason, and how many may come at once.
FAILURES_PER_S = 10.0
FAILURES_AT_ONCE = 50.0
# Spellings of good headers that are remembered; each token has one, as a rule.
MAX_KNOWN = 1024
_NOBODY = "0" * 64


@dataclass(frozen=True)
class Caller:
    """Who calls, by the token's name."""

    name: str
    scopes: tuple[Scope, ...]


@dataclass(frozen=True)
class _Table:
    """The tokens as they were read, and headers that were found to hold one of them; replaced together.

    A header that was good is found by its hash, which tells an attacker no more than the comparison does: hashes of
    Python are keyed by chance.
    """

    tokens: dict[str, Token]
    known: dict[bytes, tuple[Token, Caller]] = field(default_factory=dict)


class Tokens(Protocol):
    """Where the tokens are kept: box.db, or a device's file."""

    def list(self) -> list[Token]: ...

    def data_version(self) -> int:
        """Another number than before, in the same thread, where they may have changed."""


class Authorizer:
    """Checks ``Authorization`` headers.

    Failing attempts beyond a rate are answered 429 and their connection is closed; a good token is never held back by
    the bad ones of others.

    Args:
        local: The token of this machine's own processes, see :mod:`mlops_box.serving.local_token`.

    Attributes:
        problem: Why changes of the tokens are not seen; the known ones go on to count.
    """

    def __init__(
        self,
        tokens: Tokens,
        clock: Clock,
        *,
        local: str | None = None,
    ):
        self._store = tokens
        self._clock = clock
        self._local = read_token(local.encode()) if local is not None else None
        self._table = _Table({})
        self._seen_version: int | None = None
        self.problem: str | None = None
        self._allowance = FAILURES_AT_ONCE
        self._failed_s = clock.monotonic_s()
        # Not by refresh: the number that says whether box.db changed is another one for each thread.
        self._read()

    def follow(self, stop: threading.Event) -> None:
        """See what changes, in a thread of its own, until ``stop``; :attr:`problem` says where that fails."""

        def watch() -> None:
            while not stop.wait(POLL_EVERY_S):
                try:
                    self.refresh()
                    self.problem = None
                except BoxError as error:
                    if self.problem is None:
                        log.error("cannot follow the tokens in box.db: %s", error.message)
                    self.problem = error.message

        threading.Thread(target=watch, name="tokens", daemon=True).start()

    def refresh(self) -> None:
        """Read the tokens again if box.db changed; for one thread beside the event loop.

        The table is replaced whole, so that readers need no lock.
        """
        version = self._store.data_version()
        if version == self._seen_version:
            return
        self._read()
        self._seen_version = version

    def _read(self) -> None:
        tokens = {token.id: token for token in self._store.list() if token.revoked_at is None}
        if tokens.keys() != self._table.tokens.keys():
            log.info("tokens: %s", ", ".join(sorted(token.name for token in tokens.values())) or "none")
        self._table = _Table(tokens)

    def allowed(self, authorization: bytes | None, need: Need | None) -> Caller | None:
        """Pass, and say who it is, or raise.

        Args:
            authorization: The value of the header; ``None`` where there is none.
            need: What the route needs; ``open`` and ``signature`` ask nobody for one, ``None`` any valid one.

        Raises:
            HttpProblem: 401 no valid token, 403 the token does not allow this, 429 too many failing attempts.
        """
        if need in WITHOUT_TOKEN:
            return None
        caller, trouble = self._caller(authorization)
        if caller is None:
            raise self._failed(HttpProblem(
                401, "unauthorized", trouble, headers=((b"www-authenticate", _challenge(authorization)),),
                hint="send Authorization: Bearer TOKEN; mlops-box tokens create makes one",
            ))  # fmt: skip
        if need is not None and need not in caller.scopes:
            raise self._failed(HttpProblem(
                403, "forbidden", f"the token {caller.name!r} does not allow {need!r}",
                headers=((b"www-authenticate", b'Bearer realm="mlops-box", error="insufficient_scope", scope="%b"' % need.encode()),),
                hint=f"mlops-box tokens create NAME --scope {need}",
            ))  # fmt: skip
        return caller

    def _caller(self, authorization: bytes | None) -> tuple[Caller | None, str]:
        if authorization is None:
            return None, "a token is needed"
        table = self._table
        known = table.known.get(authorization)
        if known is not None and known[0].state(self._clock.now()) == "valid":
            return known[1], ""
        scheme, _, text = authorization.partition(b" ")
        given = read_token(text.strip()) if scheme.lower() == b"bearer" else None
        if given is None:
            return None, "the Authorization header holds no token of this server"
        id_, digest = given
        if self._local is not None and id_ == self._local[0]:
            if hmac.compare_digest(digest, self._local[1]):
                return Caller("local", ("predict", "feedback", "admin")), ""
            return None, "the token is not valid"
        token = table.tokens.get(id_)
        # An unknown id takes the same way: what differs in time tells only the public id.
        same = hmac.compare_digest(digest, token.digest if token is not None else _NOBODY)
        if token is None or not same or token.state(self._clock.now()) != "valid":
            return None, "the token is not valid"
        caller = Caller(token.name, token.scopes)
        if len(table.known) < MAX_KNOWN:
            table.known[authorization] = (token, caller)
        return caller, ""

    def _failed(self, problem: HttpProblem) -> HttpProblem:
        """The answer to a failing attempt: its own, or 429 beyond the rate (a token bucket over all callers)."""
        now_s = self._clock.monotonic_s()
        self._allowance = min(FAILURES_AT_ONCE, self._allowance + (now_s - self._failed_s) * FAILURES_PER_S)
        self._failed_s = now_s
        if self._allowance < 1.0:
            headers: Headers = ((b"retry-after", b"1"), (b"connection", b"close"))
            return HttpProblem(
                429, "attempts", "too many attempts without a valid token", headers=headers,
                hint="a request with a valid token is answered at any time",
            )  # fmt: skip
        self._allowance -= 1.0
        return problem


def _challenge(authorization: bytes | None) -> bytes:
    """RFC 6750, section 3: the error is named only where a token was sent."""
    return b'Bearer realm="mlops-box"' + (b', error="invalid_token"' if authorization is not None else b"")
