"""DSSE envelopes (github.com/secure-systems-lab/dsse) with Ed25519: what is signed is typed, so that a signature over
one kind of document never passes for another. Read strictly: an envelope has one byte form only."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Mapping
from typing import Any

from . import ed25519
from .errors import Refused
from .strict_json import canonical_json, parse_object

STATEMENT = "application/vnd.in-toto+json"
"""The payload type of a bundle's provenance."""

_MAX_SIGNATURES = 8


def key_id(public: bytes) -> str:
    """The first 16 hex digits of the SHA-256 of the 32 public bytes."""
    return hashlib.sha256(public).hexdigest()[:16]


def pre_authentication(kind: str, payload: bytes) -> bytes:
    """The bytes that are signed: type and payload, each with its length."""
    name = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)


def wrap(kind: str, payload: bytes, seed: bytes) -> bytes:
    """An envelope around ``payload``, signed with a 32-byte private key; deterministic."""
    signature = ed25519.sign(seed, pre_authentication(kind, payload))
    return _write(kind, payload, [(key_id(ed25519.public_key(seed)), signature)])


def unwrap(envelope: bytes, kind: str, trusted: Mapping[str, bytes], revoked: Collection[str] = ()) -> bytes:
    """The payload, if a trusted key signed it as a document of this kind.

    Args:
        trusted: Key id to 32 public bytes.
        revoked: Key ids that were trusted once; they win over ``trusted``.

    Raises:
        Refused: Malformed, of another kind, signed by no trusted key, or altered.
    """
    found, payload, signatures = read(envelope)
    if found != kind:
        raise Refused(f"the envelope signs a {found!r}, not a {kind!r}", rule="signature.kind")
    for name, signature in signatures:
        public = trusted.get(name)
        if public is None or name in revoked or key_id(public) != name:
            continue
        if not ed25519.verify(public, pre_authentication(kind, payload), signature):
            raise Refused("the signature does not fit: something was altered", rule="signature.altered")
        return payload
    names = [name for name, _ in signatures]
    if any(name in revoked for name in names):
        raise Refused(f"signed by the revoked key {', '.join(names)}", rule="signature.revoked-key")
    raise Refused(
        f"signed by {', '.join(names) or 'nobody'}, which is not trusted here",
        hint=f"trusted are: {', '.join(sorted(trusted)) or 'no keys'}",
        rule="signature.foreign-key",
    )


def read(envelope: bytes) -> tuple[str, bytes, list[tuple[str, bytes]]]:
    """Kind, payload and signatures ``(key id, 64 bytes)`` as they are written; nothing is verified.

    Raises:
        Refused: Not an envelope, or not in its one byte form.
    """
    raw = parse_object(envelope, "the signature envelope")
    try:
        kind = str(raw["payloadType"])
        payload = base64.b64decode(raw["payload"], validate=True)
        items: list[dict[str, Any]] = raw["signatures"]
        signatures = [(str(item["keyid"]), base64.b64decode(item["sig"], validate=True)) for item in items]
        canonical = _write(kind, payload, signatures)
    except (ValueError, KeyError, TypeError) as error:
        raise Refused("the signature envelope is malformed", rule="signature.malformed") from error
    if canonical != envelope or len(signatures) > _MAX_SIGNATURES:
        raise Refused("the signature envelope is not in its canonical form", rule="signature.malformed")
    return kind, payload, signatures


def _write(kind: str, payload: bytes, signatures: list[tuple[str, bytes]]) -> bytes:
    return canonical_json(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": kind,
            "signatures": [
                {"keyid": name, "sig": base64.b64encode(signature).decode()} for name, signature in signatures
            ],
        }
    )
