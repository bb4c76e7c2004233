"""The keys that bundles are signed with: show, rotate, revoke."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mlops_box.box import Box
from mlops_box.edge.keys import KeyRing
from mlops_box.edge.signing import key_id, public_key
from mlops_box.edge.sshsig import allowed_signer


@dataclass(frozen=True)
class KeyFacts:
    """The public side of a box's keys.

    Attributes:
        public_key: 64 hex digits; what devices trust.
        allowed_signer: The same for ``ssh-keygen -Y verify``.
        old: Ids of earlier keys, which sign along until they are revoked.
        revoked: Ids of keys that devices are told to trust no more.
    """

    key_id: str
    public_key: str
    allowed_signer: str
    old: tuple[str, ...]
    revoked: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def show_keys(box: Box) -> KeyFacts:
    """The keys of this box; the first is made when there is none."""
    ring = KeyRing(box.home.keys)
    public = public_key(ring.current())
    return KeyFacts(
        key_id(public),
        public.hex(),
        allowed_signer(public),
        tuple(key_id(public_key(private)) for private in ring.old()),
        ring.revoked(),
    )


def rotate_key(box: Box) -> KeyFacts:
    """Sign with a new key from now on, and with the old ones beside it until they are revoked."""
    made = KeyRing(box.home.keys).rotate()
    facts = show_keys(box)
    box.ledger.record("edge.key.rotate", f"key:{made}", {"old": list(facts.old)})
    return facts


def revoke_key(box: Box, wanted: str, *, reason: str) -> KeyFacts:
    """Tell devices, in every later bundle, to trust a key no more; its private half is deleted.

    Raises:
        UsageError: It is the current key, or no key id.
    """
    KeyRing(box.home.keys).revoke(wanted)
    box.ledger.record("edge.key.revoke", f"key:{wanted}", {"reason": reason})
    return show_keys(box)
