"""A bundle is the same bytes everywhere, is whole and ours, or is refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mlops_box.edge import sshsig
from mlops_box.edge.device.archive import open_verified
from mlops_box.edge.keys import KeyRing
from mlops_box.edge.signing import STATEMENT_TYPE, key_id, public_key, sign, signing_key, verify
from mlops_box.errors import IntegrityError, SourceError, StorageError, UsageError
from mlops_box.operations.edge.bundle import inspect_bundle
from tests.edge_kit import FILES, other_pythons, small_bundle, trusting, write_bundle

ROOT = Path(__file__).parents[2]
# The key of RFC 8032, section 7.1, test 1: known to everybody, so good for golden bytes and nothing else.
KNOWN_KEY = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
# Changes only when the format does; then raise its number or name a feature (see mlops_box/edge/bundle.py).
KNOWN_SHA256 = "ffd7fdc583f2317d104ca413b753fa6c78c940b46b59abfaeb501110f6b097f0"


@pytest.fixture
def private(tmp_path: Path) -> bytes:
    return signing_key(tmp_path)


def test_a_bundle_comes_back_whole(tmp_path: Path, private: bytes) -> None:
    bundle = open_verified(write_bundle(tmp_path, [private]), trusting(private))
    assert (bundle.manifest.version, bundle.signer) == ("pump@3", key_id(public_key(private)))
    assert {name: bundle.read(name) for name in bundle.manifest.files} == FILES


def test_a_bundle_has_the_bytes_it_has_always_had() -> None:
    assert hashlib.sha256(small_bundle([KNOWN_KEY])).hexdigest() == KNOWN_SHA256
    assert small_bundle([KNOWN_KEY], dict(reversed(FILES.items()))) == small_bundle([KNOWN_KEY])


def test_time_zone_umask_and_hash_seed_change_no_byte() -> None:
    code = (
        "import hashlib, os, sys; os.umask(0o077); sys.path.insert(0, sys.argv[1])\n"
        "from tests.edge_kit import other_pythons, small_bundle\n"
        "print(hashlib.sha256(small_bundle([bytes.fromhex(sys.argv[2])])).hexdigest())"
    )
    environment = {**os.environ, "TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "7", "LC_ALL": "C"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT), KNOWN_KEY.hex()],
        capture_output=True, text=True, timeout=120, env=environment, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == KNOWN_SHA256, done.stderr


def test_the_archive_is_the_same_on_every_other_python_at_hand(tmp_path: Path) -> None:
    """The archive itself is written by the standard library: the one part that a Python version could change."""
    pythons = other_pythons()
    if not pythons:
        pytest.skip("no other Python at hand")
    whole = tmp_path / "whole.mbx"
    whole.write_bytes(small_bundle([KNOWN_KEY]))
    # stored_zip as it stands in the module, which as a whole needs a newer Python.
    source = (ROOT / "mlops_box/edge/bundle.py").read_text()
    code = (
        "from __future__ import annotations\nimport hashlib, io, sys, zipfile\n"
        + source[source.index("def stored_zip") :]
        + "\nwith zipfile.ZipFile(sys.argv[1]) as old:\n"
        "    print(hashlib.sha256(stored_zip([(n, old.read(n)) for n in old.namelist()])).hexdigest())\n"
    )
    for python in pythons.values():
        done = subprocess.run(
            [python, "-c", code, str(whole)], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.stdout.strip() == KNOWN_SHA256, (python, done.stderr)


def test_ssh_keygen_accepts_the_manifests_signature_for_bundles_only(tmp_path: Path, private: bytes) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen here")
    with zipfile.ZipFile(write_bundle(tmp_path, [private])) as archive:
        archive.extractall(tmp_path)
    (tmp_path / "allowed_signers").write_text(sshsig.allowed_signer(public_key(private)) + "\n")

    def checked(namespace: str, message: bytes) -> int:
        return subprocess.run(
            ["ssh-keygen", "-Y", "verify", "-f", "allowed_signers", "-I", sshsig.IDENTITY, "-n", namespace,
             "-s", "manifest.json.sshsig"],
            cwd=tmp_path, input=message, capture_output=True, timeout=60, check=False,
        ).returncode  # fmt: skip

    manifest = (tmp_path / "manifest.json").read_bytes()
    assert checked(sshsig.NAMESPACE, manifest) == 0
    assert checked(sshsig.NAMESPACE, manifest + b" ") != 0
    assert checked("git", manifest) != 0


def test_the_statement_names_every_other_file_and_where_it_comes_from(tmp_path: Path, private: bytes) -> None:
    bundle = open_verified(write_bundle(tmp_path, [private]), trusting(private))
    subjects = {item["name"]: item["digest"]["sha256"] for item in bundle.statement["subject"]}
    assert set(subjects) == {*FILES, "manifest.json", "manifest.json.sshsig"}
    assert subjects["model/golden.json"] == hashlib.sha256(b"{}").hexdigest()
    build = bundle.statement["predicate"]["buildDefinition"]
    assert build["externalParameters"]["model"] == "pump"
    assert build["resolvedDependencies"] == [{"name": "snapshot", "digest": {"sha256": "5" * 64}}]


def test_inspect_says_plainly_what_is_verified(tmp_path: Path, private: bytes) -> None:
    file = write_bundle(tmp_path, [private])
    mine = key_id(public_key(private))
    assert inspect_bundle(file).verified_by is None
    assert inspect_bundle(file, trusted=trusting(KNOWN_KEY)).verified_by is None
    facts = inspect_bundle(file, trusted=trusting(private))
    assert (facts.verified_by, facts.signers, facts.format, facts.target) == (
        mine,
        (mine,),
        2,
        "linux-x86_64-cp311",
    )
    altered = bytearray(file.read_bytes())
    altered[altered.index(b"\x08\x0a\x08\x0a")] ^= 1
    file.write_bytes(altered)
    with pytest.raises(IntegrityError, match="altered"):
        inspect_bundle(file, trusted=trusting(private))


def test_no_bundle_and_no_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no file"):
        inspect_bundle(tmp_path / "none.mbx")
    for name, data in (("text.mbx", b"hello"), ("empty.mbx", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(IntegrityError, match="no bundle|cut off"):
            inspect_bundle(tmp_path / name)


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    assert signing_key(tmp_path) == signing_key(tmp_path)
    assert (tmp_path / "signing.key").stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["signing.key"]


def test_a_rotated_key_is_introduced_by_the_old_one_until_that_is_revoked(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    old = ring.current()
    assert ring.change().add == {}
    ring.rotate()
    new, old_id = ring.current(), key_id(public_key(old))
    assert (new != old, ring.signers()) == (True, [new, old])
    # A device that knows the old key only takes the bundle, and learns the new one under the old one's signature.
    assert open_verified(write_bundle(tmp_path, ring.signers()), trusting(old)).signer == old_id
    assert ring.change().add == {key_id(public_key(new)): public_key(new).hex()}
    with pytest.raises(UsageError, match="signs the bundles"):
        ring.revoke(key_id(public_key(new)))
    ring.revoke(old_id)
    ring.revoke(old_id)
    assert (ring.signers(), ring.change().revoke) == ([new], (old_id,))
    assert {file.stat().st_mode & 0o777 for file in tmp_path.glob("*.key")} == {0o600}
    (tmp_path / "revoked.json").write_text("{")
    with pytest.raises(StorageError, match="damaged"):
        ring.change()


def test_a_signature_over_another_kind_of_document_does_not_pass(private: bytes) -> None:
    envelope = sign(b"{}", [private], kind=STATEMENT_TYPE)
    assert verify(envelope, public_key(private), kind=STATEMENT_TYPE) == b"{}"
    with pytest.raises(IntegrityError, match="the envelope signs a"):
        verify(envelope, public_key(private), kind="application/json")


def _format1(files: dict[str, bytes], private: bytes) -> bytes:
    """A bundle as mlops-box 0.1 wrote it."""
    listed = {
        name: {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    }
    manifest = {
        "format": 1, "model": "pump", "number": 2, "version_digest": "d" * 64, "task": "binary",
        "snapshot_id": "5" * 64, "files": listed,
    }  # fmt: skip
    payload = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    envelope = sign(payload, [private], kind="application/vnd.mlops-box.manifest+json")
    from mlops_box.edge.bundle import stored_zip

    return stored_zip([("manifest.dsse.json", envelope), *sorted(files.items())])


def test_a_bundle_of_the_first_format_is_still_read(tmp_path: Path, private: bytes) -> None:
    file = tmp_path / "pump-2.mbx"
    whole = _format1({"model/golden.json": b"{}", "model/packed.onnx": b"onnx"}, private)
    file.write_bytes(whole)
    facts = inspect_bundle(file, trusted=trusting(private))
    assert (facts.format, facts.version, facts.target) == (1, "pump@2", None)
    assert facts.verified_by == key_id(public_key(private))
    assert inspect_bundle(file).verified_by is None
    for position in range(0, len(whole), 41):
        file.write_bytes(whole[:position] + bytes([whole[position] ^ 0x20]) + whole[position + 1 :])
        try:
            seen = inspect_bundle(file, trusted=trusting(private))
        except (IntegrityError, SourceError):
            continue
        # A bit of zip bookkeeping, or of the key's name (then it is not verified), may differ; no content may.
        assert seen.verified_by is None or seen.files == facts.files
