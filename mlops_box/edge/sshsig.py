"""SSHSIG: a signature that ``ssh-keygen -Y verify`` checks, so that a device without our agent can prove its first bundle.

Format: PROTOCOL.sshsig of OpenSSH (8.1 and later), version 1, Ed25519, SHA-512.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import textwrap

from mlops_box.edge.signing import public_key, sign_bytes

NAMESPACE = "mlops-box-bundle"
IDENTITY = "mlops-box"
_MAGIC = b"SSHSIG"
_VERSION = 1
_KEY_TYPE = b"ssh-ed25519"
_HASH = b"sha512"
_LINE = 70


def sign_armored(message: bytes, private: bytes, *, namespace: str = NAMESPACE) -> bytes:
    """The armored signature of ``message``; deterministic."""
    named = namespace.encode()
    common = _string(named) + _string(b"") + _string(_HASH)
    signed = sign_bytes(_MAGIC + common + _string(hashlib.sha512(message).digest()), private)
    blob = (
        _MAGIC
        + struct.pack(">I", _VERSION)
        + _string(_public_blob(public_key(private)))
        + common
        + _string(_string(_KEY_TYPE) + _string(signed))
    )
    lines = textwrap.wrap(base64.b64encode(blob).decode(), _LINE)
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""]).encode()


def allowed_signer(public: bytes) -> str:
    """The line of an ``allowed_signers`` file that trusts this key for bundles, and for nothing else."""
    blob = base64.b64encode(_public_blob(public)).decode()
    return f'{IDENTITY} namespaces="{NAMESPACE}" {_KEY_TYPE.decode()} {blob}'


def _public_blob(public: bytes) -> bytes:
    return _string(_KEY_TYPE) + _string(public)


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data
