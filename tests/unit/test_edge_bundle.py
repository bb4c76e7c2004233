"""A bundle is whole and ours, or it is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from mlops_box.edge.bundle import ENVELOPE, manifest_for, open_bundle, pack
from mlops_box.edge.signing import public_key, sign, signing_key, verify
from mlops_box.errors import IntegrityError, SourceError

FILES = {"model/packed.onnx": b"\x08\x0a" * 500, "model/golden.json": b"{}", "model/card.html": b"<p>"}


@pytest.fixture
def private(tmp_path: Path) -> bytes:
    return signing_key(tmp_path)


def bundle(private: bytes, files: dict[str, bytes] = FILES) -> bytes:
    manifest = manifest_for(
        files, model="pump", number=3, version_digest="d" * 64, task="binary", snapshot_id="s" * 64
    )
    return pack(manifest, files, private)


def test_a_bundle_comes_back_whole(tmp_path: Path, private: bytes) -> None:
    file = tmp_path / "pump-3.mbx"
    file.write_bytes(bundle(private))
    manifest, files = open_bundle(file, public_key(private))
    assert (manifest.model, manifest.number, files) == ("pump", 3, FILES)


def test_the_same_version_gives_the_same_bytes(private: bytes) -> None:
    assert bundle(private) == bundle(private, dict(reversed(FILES.items())))


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    assert signing_key(tmp_path) == signing_key(tmp_path)
    assert (tmp_path / "signing.key").stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["signing.key"]


def test_every_flipped_byte_of_the_content_is_noticed(tmp_path: Path, private: bytes) -> None:
    whole, file = bundle(private), tmp_path / "b.mbx"
    trusted = public_key(private)
    reference = ("pump", FILES)
    for position in range(0, len(whole), 7):
        file.write_bytes(whole[:position] + bytes([whole[position] ^ 0x20]) + whole[position + 1 :])
        try:
            manifest, files = open_bundle(file, trusted)
        except (IntegrityError, SourceError):
            continue
        # A bit of zip bookkeeping (a date, an attribute) may differ; what the bundle carries may not.
        assert (manifest.model, files) == reference


@pytest.mark.parametrize("cut", [1, 40, 400, 1200])
def test_a_truncated_bundle_is_refused(tmp_path: Path, private: bytes, cut: int) -> None:
    file = tmp_path / "b.mbx"
    file.write_bytes(bundle(private)[:-cut])
    with pytest.raises((IntegrityError, SourceError)):
        open_bundle(file, public_key(private))


def test_another_key_is_not_trusted(tmp_path: Path, private: bytes) -> None:
    file, other = tmp_path / "b.mbx", tmp_path / "other"
    file.write_bytes(bundle(private))
    other.mkdir()
    with pytest.raises(IntegrityError, match="not by the trusted key"):
        open_bundle(file, public_key(signing_key(other)))


@pytest.mark.parametrize(
    "name", ["../../evil", "/etc/passwd", "model/../../x", "MODEL\\x", "model/extra.bin"]
)
def test_a_file_that_the_manifest_does_not_list_is_refused(tmp_path: Path, private: bytes, name: str) -> None:
    file = tmp_path / "b.mbx"
    file.write_bytes(bundle(private))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"x")
    with pytest.raises(IntegrityError):
        open_bundle(file, public_key(private))


def test_a_signature_over_another_kind_of_document_does_not_pass(private: bytes) -> None:
    envelope = sign(b"{}", private).replace(b"mlops-box.manifest", b"mlops-box.approved")
    with pytest.raises(IntegrityError, match="not a bundle manifest"):
        verify(envelope, public_key(private))


def test_no_bundle_and_no_file_are_told_apart(tmp_path: Path, private: bytes) -> None:
    with pytest.raises(SourceError, match="no file"):
        open_bundle(tmp_path / "none.mbx", public_key(private))
    (tmp_path / "text.mbx").write_text("hello")
    with pytest.raises(SourceError, match="no bundle"):
        open_bundle(tmp_path / "text.mbx", public_key(private))
    with zipfile.ZipFile(tmp_path / "z.mbx", "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(IntegrityError, match="no manifest"):
        open_bundle(tmp_path / "z.mbx", public_key(private))
    assert ENVELOPE not in FILES
