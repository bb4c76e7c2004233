"""Ed25519 signatures in a DSSE envelope (github.com/secure-systems-lab/dsse): what is signed is typed, so that a
signature over one kind of document can never pass for another."""

from __future__ import annotations

import base64
import binascii
import json
import os
from pathlib import Path

from mlops_box.canonical import sha256_hex
from mlops_box.errors import IntegrityError, StorageError, UsageError

PAYLOAD_TYPE = "application/vnd.mlops-box.manifest+json"
_KEY_FILE = "signing.key"


def key_id(public: bytes) -> str:
    """The first 16 hex digits of the SHA-256 of the 32 public key bytes."""
    return sha256_hex(public)[:16]


def signing_key(keys: Path) -> bytes:
    """The box's 32-byte private key; made once, mode 0600.

    Raises:
        StorageError: The folder cannot be written, or the key file is not 32 bytes.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    file = keys / _KEY_FILE
    if not file.exists():
        temporary = keys / f".tmp-{os.getpid()}-{_KEY_FILE}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(Ed25519PrivateKey.generate().private_bytes_raw())
            out.flush()
            os.fsync(out.fileno())
        try:
            os.link(
                temporary, file
            )  # unlike rename, never replaces a key that another process made meanwhile
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    key = file.read_bytes()
    if len(key) != 32:
        raise StorageError(
            f"{file} is no signing key ({len(key)} bytes, 32 expected)", hint="restore it from a backup"
        )
    return key


def public_key(private: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def sign(payload: bytes, private: bytes) -> bytes:
    """A DSSE envelope around ``payload``; deterministic."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    signature = Ed25519PrivateKey.from_private_bytes(private).sign(_pre_authentication(payload))
    envelope = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": key_id(public_key(private)), "sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(envelope, sort_keys=True, separators=(",", ":")).encode()


def verify(envelope: bytes, trusted: bytes) -> bytes:
    """The payload, if ``trusted`` (32 public key bytes) signed it.

    Raises:
        IntegrityError: Malformed, of another type, by another key, or altered.
        UsageError: ``trusted`` is no Ed25519 key.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if len(trusted) != 32:
        raise UsageError(f"a public key has 32 bytes, not {len(trusted)}")
    try:
        parsed = json.loads(envelope)
        payload = base64.b64decode(parsed["payload"], validate=True)
        kind = parsed["payloadType"]
        signatures = [
            (item["keyid"], base64.b64decode(item["sig"], validate=True)) for item in parsed["signatures"]
        ]
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise IntegrityError("the signature envelope is malformed") from error
    if kind != PAYLOAD_TYPE:
        raise IntegrityError(f"the envelope signs a {kind!r}, not a bundle manifest")
    for name, signature in signatures:
        if name != key_id(trusted):
            continue
        try:
            Ed25519PublicKey.from_public_bytes(trusted).verify(signature, _pre_authentication(payload))
        except InvalidSignature:
            raise IntegrityError("the signature does not fit: the bundle was altered") from None
        return payload
    raise IntegrityError(
        f"the bundle is signed by {', '.join(name for name, _ in signatures) or 'nobody'}, not by the trusted key {key_id(trusted)}",
        hint="ask whoever gave you the bundle for its public key",
    )


def _pre_authentication(payload: bytes) -> bytes:
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
