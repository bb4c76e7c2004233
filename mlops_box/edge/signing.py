"""Ed25519 signatures in a DSSE envelope (github.com/secure-systems-lab/dsse): what is signed is typed, so that a
signature over one kind of document can never pass for another."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Sequence
from pathlib import Path

from mlops_box.canonical import sha256_hex
from mlops_box.errors import IntegrityError, StorageError, UsageError

STATEMENT_TYPE = "application/vnd.in-toto+json"
KEY_FILE = "signing.key"
KEY_BYTES = 32


def key_id(public: bytes) -> str:
    """The first 16 hex digits of the SHA-256 of the 32 public key bytes."""
    return sha256_hex(public)[:16]


def signing_key(keys: Path) -> bytes:
    """The box's 32-byte private key; made once, mode 0600.

    Raises:
        StorageError: The folder cannot be written, or the key file is not 32 bytes.
    """
    file = keys / KEY_FILE
    if not file.exists():
        temporary = keys / f".tmp-{os.getpid()}-{KEY_FILE}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(new_key())
            out.flush()
            os.fsync(out.fileno())
        try:
            # Unlike rename, a link never replaces a key that another process made meanwhile.
            os.link(temporary, file)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return read_private(file)


def new_key() -> bytes:
    """32 private key bytes from the system's randomness."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate().private_bytes_raw()


def read_private(file: Path) -> bytes:
    """Raises :class:`StorageError` when ``file`` holds no 32 bytes."""
    key = file.read_bytes()
    if len(key) != KEY_BYTES:
        raise StorageError(
            f"{file} is no signing key ({len(key)} bytes, {KEY_BYTES} expected)",
            hint="restore it from a backup",
        )
    return key


def public_key(private: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def sign_bytes(data: bytes, private: bytes) -> bytes:
    """The 64 bytes of an Ed25519 signature; deterministic."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(private).sign(data)


def sign(payload: bytes, privates: Sequence[bytes], *, kind: str) -> bytes:
    """A DSSE envelope around ``payload``, signed with each key in turn; deterministic.

    Args:
        kind: The payload's media type, which is signed with it.
    """
    envelope = {
        "payloadType": kind,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [
            {
                "keyid": key_id(public_key(private)),
                "sig": base64.b64encode(sign_bytes(pre_authentication(kind, payload), private)).decode(),
            }
            for private in privates
        ],
    }
    return json.dumps(envelope, sort_keys=True, separators=(",", ":")).encode()


def verify(envelope: bytes, trusted: bytes, *, kind: str) -> bytes:
    """The payload, if it is of this ``kind`` and ``trusted`` (32 public key bytes) signed it.

    Raises:
        IntegrityError: Malformed, of another type, by another key, or altered.
        UsageError: ``trusted`` is no Ed25519 key.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if len(trusted) != KEY_BYTES:
        raise UsageError(f"a public key has {KEY_BYTES} bytes, not {len(trusted)}")
    try:
        parsed = json.loads(envelope)
        payload = base64.b64decode(parsed["payload"], validate=True)
        found = parsed["payloadType"]
        signatures = [
            (item["keyid"], base64.b64decode(item["sig"], validate=True)) for item in parsed["signatures"]
        ]
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise IntegrityError("the signature envelope is malformed") from error
    if found != kind:
        raise IntegrityError(f"the envelope signs a {found!r}, not a {kind!r}")
    for name, signature in signatures:
        if name != key_id(trusted):
            continue
        try:
            Ed25519PublicKey.from_public_bytes(trusted).verify(signature, pre_authentication(kind, payload))
        except InvalidSignature:
            raise IntegrityError("the signature does not fit: what it signs was altered") from None
        return payload
    raise IntegrityError(
        f"it is signed by {', '.join(str(name) for name, _ in signatures) or 'nobody'}, "
        f"not by the trusted key {key_id(trusted)}",
        hint="ask whoever gave it to you for its public key",
    )


def pre_authentication(kind: str, payload: bytes) -> bytes:
    """DSSE's PAE: the bytes that are signed."""
    named = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(named), named, len(payload), payload)
