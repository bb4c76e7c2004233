"""Nothing but what a trusted key signed for this device is ever activated, and a refusal writes nothing but staging."""

from __future__ import annotations

import contextlib
import json
import random
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_box.edge.device import ed25519
from mlops_box.edge.device.admission import this_device
from mlops_box.edge.device.archive import ENVELOPE, look, open_verified
from mlops_box.edge.device.errors import Refused
from mlops_box.edge.device.install import install
from mlops_box.edge.device.keys import load_keys
from mlops_box.edge.device.manifest import NAME as MANIFEST
from mlops_box.edge.device.manifest import parse_manifest
from mlops_box.edge.device.outcome import confirm, count_attempt
from mlops_box.edge.device.state import State, Trial, load, save
from mlops_box.edge.device.strict_json import canonical_json
from tests.edge_attacks import Target, attacks, bits_of, bits_taken, flipped, refusal, small, span
from tests.edge_case import (
    KEY,
    OTHER_KEY,
    OTHER_PUBLIC,
    OTHER_SEED,
    SEED,
    TRUSTED,
    Packer,
    make_place,
    put,
    tree,
)

FUZZ = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def openssl_verify(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Target:
    return Target(tmp_path_factory.mktemp("attacked"))


def test_a_good_bundle_is_taken(target: Target) -> None:
    """Else refusing everything would pass every other test here."""
    assert put(target.fresh(), Packer(number=2).pack()).slot == "b"


def test_every_attack_is_refused_by_its_rule_and_writes_nothing(target: Target) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of the duplicate names that it writes for us
        corpus = list(attacks())
    assert len(corpus) > 100
    met = {attack.name: (target.meet(attack), attack.rules) for attack in corpus}
    assert len(met) == len(corpus)
    assert {name: outcome.rule for name, (outcome, rules) in met.items() if outcome.rule not in rules} == {}
    assert {name: outcome.changed for name, (outcome, _) in met.items() if outcome.changed} == {}


@pytest.mark.parametrize("member", [ENVELOPE, MANIFEST])
def test_every_flipped_bit_of_signature_and_manifest_is_refused(
    member: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL verifies here, in a twentieth of the time; that ours agrees with it is tested below."""
    monkeypatch.setattr(ed25519, "verify", openssl_verify)
    bundle, file = small(), tmp_path / "bent.mbx"
    file.write_bytes(bundle)
    assert open_verified(file, TRUSTED).signer == KEY
    assert bits_taken(file, bits_of(span(bundle, member)), lambda: open_verified(file, TRUSTED)) == []


def test_flipped_bits_anywhere_and_cuts_at_every_block_are_refused(target: Target) -> None:
    place, dice = target.fresh(), random.Random(20)
    bundle, before = Packer(number=2).pack(), tree(place.root)
    file = place.root.with_suffix(".bent")
    file.write_bytes(bundle)
    bits = dice.sample(range(len(bundle) * 8), 300)
    assert bits_taken(file, bits, lambda: install(place, file, this_device())) == []
    cuts = range(0, len(bundle), 64)
    assert [cut for cut in cuts if not refusal(lambda cut=cut: put(place, bundle[:cut]))] == []
    assert tree(place.root) == before


def test_what_changes_after_it_was_verified_is_not_extracted(tmp_path: Path) -> None:
    file = tmp_path / "swapped.mbx"
    bundle = Packer().pack()
    file.write_bytes(bundle)
    verified = open_verified(file, TRUSTED)
    begin = span(bundle, "model/packed.onnx")[0]
    file.write_bytes(flipped(bundle, begin * 8))
    with pytest.raises(Refused, match="altered"):
        verified.extract(tmp_path / "out")
    with pytest.raises(Refused, match="altered"):
        verified.read("model/packed.onnx")


def test_a_key_is_rotated_by_a_bundle_signed_with_the_old_one(target: Target) -> None:
    place = target.fresh()
    change = {"add": {OTHER_KEY: OTHER_PUBLIC.hex()}, "revoke": [KEY]}
    put(place, Packer(number=2, manifest={"keys": change}).pack())
    assert set(load_keys(place).trusted) == {KEY}, "a version on trial changes no key"
    count_attempt(place)
    confirm(place)
    assert (set(load_keys(place).trusted), load_keys(place).revoked) == ({OTHER_KEY}, (KEY,))
    assert refusal(lambda: put(place, Packer(number=3).pack())) == "signature.revoked-key"
    assert put(place, Packer(number=3, seed=OTHER_SEED).pack()).version == "pump@3"


def test_signatures_agree_with_openssl() -> None:
    dice = random.Random(7)
    for length in range(40):
        seed, message = dice.randbytes(32), dice.randbytes(length * 5)
        key = Ed25519PrivateKey.from_private_bytes(seed)
        public, signature = key.public_key().public_bytes_raw(), key.sign(message)
        assert (ed25519.public_key(seed), ed25519.sign(seed, message)) == (public, signature)
        assert ed25519.verify(public, message, signature)
        bent = flipped(signature, dice.randrange(512))
        assert not ed25519.verify(public, message, bent)
        assert not ed25519.verify(public, message + b"x", signature)
        other = flipped(public, dice.randrange(256))
        assert ed25519.verify(other, message, signature) is False


@pytest.mark.parametrize(
    "public", [b"", bytes(31), bytes(33), b"\xff" * 32, (2**255 - 19).to_bytes(32, "little")]
)
def test_what_is_no_key_verifies_nothing(public: bytes) -> None:
    assert not ed25519.verify(public, b"x", ed25519.sign(SEED, b"x"))


def only_refuses(read: Callable[..., object], *arguments: object) -> None:
    with contextlib.suppress(Refused):
        read(*arguments)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@FUZZ
@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "any"
    for prefix in (b"", small()[:60], b"PK\x03\x04"):
        file.write_bytes(prefix + data)
        only_refuses(open_verified, file, TRUSTED)
        only_refuses(look, file)
    only_refuses(parse_manifest, data)


@FUZZ
@given(st.data())
def test_any_value_in_a_signed_manifest_is_read_or_refused(data: st.DataObject) -> None:
    raw = json.loads(Packer().members()[1][1])
    path = raw
    key = data.draw(st.sampled_from(sorted(path)))
    while isinstance(path[key], dict) and path[key] and data.draw(st.booleans()):
        path = path[key]
        key = data.draw(st.sampled_from(sorted(path)))
    path[key] = data.draw(JSON)
    only_refuses(parse_manifest, canonical_json(raw))


@FUZZ
@given(st.data())
def test_any_state_and_keys_file_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    place = make_place(tmp_path / "device")
    save(place, State(confirmed="a", trial=Trial("b", 2)))
    for path, read in ((place.state, load), (place.keys, load_keys)):
        whole = path.read_bytes()
        raw = json.loads(whole)
        raw[data.draw(st.sampled_from(sorted(raw)))] = data.draw(JSON)
        path.write_bytes(data.draw(st.sampled_from([canonical_json(raw), whole[:-3], b""])))
        only_refuses(read, place)


@FUZZ
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6))
def test_several_damaged_bytes_are_refused(tmp_path: Path, damage: list[tuple[int, int]]) -> None:
    whole = bytearray(small())
    for at, value in damage:
        whole[at % len(whole)] = value
    file = tmp_path / "damaged"
    file.write_bytes(whole)
    if bytes(whole) != small():
        assert refusal(lambda: open_verified(file, TRUSTED))
