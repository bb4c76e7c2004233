"""Bundles that attackers, accidents and strangers make: each with the rules that may refuse it.

Where a case says so it is signed by a trusted key: what the box itself would never write must not harm a device either.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import platform
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlops_box.edge.device import dsse
from mlops_box.edge.device.archive import ENVELOPE
from mlops_box.edge.device.errors import Refused
from mlops_box.edge.device.keys import change_keys
from mlops_box.edge.device.manifest import KeyChanges
from mlops_box.edge.device.place import Place
from mlops_box.edge.device.state import change
from mlops_box.edge.device.strict_json import canonical_json
from tests.edge_case import (
    KEY,
    OTHER_KEY,
    OTHER_PUBLIC,
    OTHER_SEED,
    SEED,
    Packer,
    content,
    make_place,
    plain,
    put,
    put_confirmed,
    stored,
    tree,
    wheel,
)  # fmt: skip

ORDER_OF_THE_GROUP = 2**252 + 27742317777372353535851937790883648493
OTHER_ARCH = "x86_64" if platform.machine() == "aarch64" else "aarch64"


@dataclass(frozen=True)
class Attack:
    """A file, and the rules of which one must refuse it."""

    name: str
    data: bytes
    rules: tuple[str, ...]
    prepare: Callable[[Place], object] | None = None
    """What the device went through before."""


@dataclass(frozen=True)
class Outcome:
    """What a device did with an attack: the rule that refused it, and which paths outside of staging it changed."""

    rule: str
    changed: tuple[str, ...]


class Target:
    """A device that serves ``pump@1``, to be attacked; anew for every attack that needs a past, or that changed it."""

    def __init__(self, folder: Path) -> None:
        self._template = make_place(folder / "template").root
        self._around = folder / "around"
        self._around.mkdir()
        put_confirmed(Place(self._template), Packer().pack())
        self._clean: Place | None = None

    def fresh(self) -> Place:
        """A copy of the device of its own."""
        root = self._around / "device"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self._template, root)
        self._clean = None
        return Place(root)

    def meet(self, attack: Attack) -> Outcome:
        """Install the attack, with everything around the device's folder in view."""
        place = self._clean if self._clean and not attack.prepare else self.fresh()
        if attack.prepare:
            attack.prepare(place)
        before = self._seen()
        rule = refusal(lambda: put(place, attack.data))
        after = self._seen()
        changed = [name for name in {*before, *after} if before.get(name) != after.get(name)]
        self._clean = None if changed or attack.prepare else place
        return Outcome(rule, tuple(sorted(changed)))

    def _seen(self) -> dict[str, str]:
        """Everything but what may be written: staging, locks, and the bundle's own file."""
        may = ("device/staging/", "device/run/", "device.mbx")
        return {name: held for name, held in tree(self._around).items() if not name.startswith(may)}


def refusal(act: Callable[[], object]) -> str:
    """The rule by which ``act`` was refused; empty when it was not. Any other error goes through."""
    try:
        act()
    except Refused as refused:
        return refused.rule
    return ""


def attacks() -> Iterator[Attack]:
    """Every case of the corpus."""
    yield from _names()
    yield from _members()
    yield from _frames()
    yield from _signatures()
    yield from _statements()
    yield from _manifests()
    yield from _wheels()
    yield from _pasts()


def _names() -> Iterator[Attack]:
    for name in (
        "../outside", "model/../../outside", "/etc/outside", "//etc/outside", "model//x", "model/./x", "model\\..\\x",
        "..\\outside", "C:/outside", "model/\x00x", "model/x\n", "model/", ".hidden", "model/.ssh", "modél/x", "a" * 300,
        "~/x", "model/x y", "-rf", "model/%2e%2e/x",
    ):  # fmt: skip
        files = {**content(), name: b"x"}
        rules = ("archive.name", "manifest.malformed", "archive.frame", "archive.not-a-file")
        yield Attack(f"signed member named {name[:20]!r}", Packer(files=files).pack(), rules)
    yield Attack(
        "signed member outside of the known folders",
        Packer(files={**content(), "etc/passwd": b"x"}).pack(),
        ("manifest.malformed",),
    )


def _members() -> Iterator[Attack]:
    target = "model/packed.onnx"

    def bent(**facts: Any) -> bytes:
        def bend(members: list[tuple[str, bytes]]) -> Any:
            for name, data in members:
                if name != target:
                    yield name, data
                    continue
                member = plain(name)
                for key, value in facts.items():
                    setattr(member, key, value)
                yield member, data

        return Packer(bend_members=bend).pack()

    yield Attack("symlink", bent(external_attr=0o120777 << 16), ("archive.not-a-file",))
    yield Attack("device node", bent(external_attr=0o020666 << 16), ("archive.not-a-file",))
    yield Attack("set-user-id", bent(external_attr=0o104755 << 16), ("archive.not-a-file",))
    yield Attack("compressed", bent(compress_type=zipfile.ZIP_DEFLATED), ("archive.compressed",))
    yield Attack("compressed with lzma", bent(compress_type=zipfile.ZIP_LZMA), ("archive.compressed",))
    yield Attack("comment of a member", bent(comment=b"hello"), ("archive.frame",))
    yield Attack("extra field", bent(extra=b"\x01\x00\x04\x00abcd"), ("archive.overlap", "archive.frame"))
    yield Attack("another date", bent(date_time=(2026, 1, 1, 0, 0, 0)), ("archive.frame",))
    yield Attack("made on Windows", bent(create_system=0), ("archive.frame", "archive.not-a-file"))
    twice = [("model/packed.onnx", b"other"), ("model/packed.onnx", b"\x08\x0a" * 300)]
    yield Attack(
        "duplicate member",
        Packer(bend_members=lambda m: [one for one in m if one[0] != target] + twice).pack(),
        ("archive.duplicate",),
    )
    yield Attack("bomb: 20 MB of zeros in a few kilobytes", _bomb(), ("archive.compressed",))
    yield Attack(
        "stranger", Packer(bend_members=lambda m: [*m, ("model/zz", b"")]).pack(), ("archive.stranger",)
    )
    yield Attack("missing", Packer(bend_members=lambda m: m[:-1]).pack(), ("archive.missing",))
    yield Attack(
        "out of order", Packer(bend_members=lambda m: [*m[:3], *m[:2:-1]]).pack(), ("archive.order",)
    )
    yield Attack(
        "signature not first", Packer(bend_members=lambda m: [*m[1:], m[0]]).pack(), ("archive.frame",)
    )
    swapped = Packer(bend_members=lambda m: [(n, b"other" if n == target else d) for n, d in m]).pack()
    yield Attack("replaced model", swapped, ("archive.altered", "archive.size"))


def _bomb() -> bytes:
    member = plain("model/packed.onnx")
    member.compress_type = zipfile.ZIP_DEFLATED
    return stored(
        (member, bytes(20_000_000)) if n == member.filename else (n, d) for n, d in Packer().members()
    )


def _frames() -> Iterator[Attack]:
    whole = Packer().pack()
    frame = (
        "archive.frame",
        "archive.overlap",
        "archive.too-many",
        "archive.too-large",
        "archive.compressed",
    )
    directory = struct.unpack("<L", whole[-6:-2])[0]
    yield Attack("empty file", b"", frame)
    yield Attack("text", b"hello, world\n" * 100, frame)
    yield Attack("an empty zip", stored([]), frame)
    yield Attack("prepended bytes", b"#!/bin/sh\n" + whole, frame)
    yield Attack("appended bytes", whole + b"\0", frame)
    yield Attack("appended bundle", whole + Packer(number=2).pack(), frame)
    yield Attack("comment of the archive", whole[:-2] + b"\x05\x00hello", frame)
    yield Attack("gap before the directory", _gap(whole, directory), frame)
    yield Attack(
        "second directory before the first",
        whole[:directory] + whole[directory:-22] + whole[directory:],
        frame,
    )
    yield Attack("overlapping members", _overlap(whole, directory), frame)
    yield Attack(
        "directory counts more than there is", whole[:-14] + b"\xff\x03\xff\x03" + whole[-10:], frame
    )
    yield Attack("directory begins beyond the end", whole[:-6] + b"\xff\xff\xff\x7f" + whole[-2:], frame)
    yield Attack("another disk", whole[:-18] + b"\x01\x00" + whole[-16:], frame)
    encrypted = bytearray(whole)
    encrypted[directory + 8] |= 1
    yield Attack("encrypted flag", bytes(encrypted), ("archive.not-a-file", *frame))
    huge = bytearray(whole)
    huge[directory + 20 : directory + 28] = struct.pack("<LL", 0xFFFFFFF0, 0xFFFFFFF0)
    yield Attack("member of four gigabytes", bytes(huge), frame)
    lying = bytearray(whole)
    lying[directory + 24] ^= 1
    yield Attack("two sizes of one member", bytes(lying), frame)
    local = bytearray(whole)
    local[30] ^= 0x20
    yield Attack("local header with another name", bytes(local), frame)


def _gap(whole: bytes, directory: int) -> bytes:
    end = bytearray(whole[-22:])
    end[16:20] = struct.pack("<L", directory + 4)
    return whole[:directory] + b"gap!" + whole[directory:-22] + bytes(end)


def _overlap(whole: bytes, directory: int) -> bytes:
    """The second entry of the directory points at the first member, as zip bombs of David Fifield's kind do."""
    bent = bytearray(whole)
    second = whole.index(b"PK\x01\x02", directory + 4)
    bent[second + 42 : second + 46] = struct.pack("<L", 0)
    return bytes(bent)


def _signatures() -> Iterator[Attack]:
    yield Attack("foreign key", Packer(seed=OTHER_SEED).pack(), ("signature.foreign-key",))
    whole, other = Packer(), Packer(number=2)
    members = [other.members()[0], *whole.members()[1:]]
    yield Attack("signature of another bundle", stored(members), ("archive.altered",))

    def bent(change: Any) -> bytes:
        envelope = json.loads(whole.members()[0][1])
        change(envelope)
        return stored([(ENVELOPE, canonical_json(envelope)), *whole.members()[1:]])

    signed = (
        "signature.altered",
        "signature.malformed",
        "signature.foreign-key",
        "signature.kind",
        "json.malformed",
    )
    yield Attack("no signature", bent(lambda e: e.update(signatures=[])), signed)
    yield Attack("foreign key under the trusted id", _impostor(), signed)
    yield Attack("empty signature", bent(lambda e: e["signatures"][0].update(sig="")), signed)
    yield Attack(
        "signature of zeros", bent(lambda e: e["signatures"][0].update(sig=_base64(bytes(64)))), signed
    )
    yield Attack("second form of the signature (s + L)", bent(_malleable), signed)
    yield Attack("key id of nobody", bent(lambda e: e["signatures"][0].update(keyid="0" * 16)), signed)
    yield Attack("another payload type", bent(lambda e: e.update(payloadType="application/json")), signed)
    yield Attack("no payload", bent(lambda e: e.pop("payload")), signed)
    yield Attack("a thousand signatures", bent(lambda e: e.update(signatures=e["signatures"] * 1000)), signed)
    yield Attack("a further key in the envelope", bent(lambda e: e.update(more=1)), signed)
    spaced = json.dumps(json.loads(whole.members()[0][1]), indent=1).encode()
    yield Attack("envelope with spaces", stored([(ENVELOPE, spaced), *whole.members()[1:]]), signed)
    for name, data in (
        ("nested without end", b"[" * 200_000),
        ("no UTF-8", b"\xff\xfe{}"),
        ("no object", b"1"),
    ):
        yield Attack(f"envelope: {name}", stored([(ENVELOPE, data), *whole.members()[1:]]), signed)


def _impostor() -> bytes:
    members = Packer(seed=OTHER_SEED).members()
    envelope = json.loads(members[0][1])
    envelope["signatures"][0]["keyid"] = KEY
    return stored([(ENVELOPE, canonical_json(envelope)), *members[1:]])


def _malleable(envelope: dict[str, Any]) -> None:
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    s = int.from_bytes(signature[32:], "little") + ORDER_OF_THE_GROUP
    envelope["signatures"][0]["sig"] = _base64(signature[:32] + s.to_bytes(32, "little"))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _statements() -> Iterator[Attack]:
    def signed(**changes: Any) -> bytes:
        return Packer(bend_statement=lambda statement: {**statement, **changes}).pack()

    yield Attack(
        "signed statement of another type", signed(_type="https://example.org/v1"), ("statement.type",)
    )
    yield Attack("signed predicate of another type", signed(predicateType="x"), ("statement.type",))
    for name, value in (("none", []), ("no list", 7), ("numbers", [1, 2]), ("no digest", [{"name": "x"}])):
        yield Attack(f"signed subjects: {name}", signed(subject=value), ("statement.malformed",))
    other = hashlib.sha256(b"other").hexdigest()
    listed = [{"name": "manifest.json", "digest": {"sha256": other}}] * 2
    yield Attack("signed subject twice", signed(subject=listed), ("statement.malformed",))
    payload = canonical_json({"files": {}})
    foreign = dsse.wrap("application/vnd.mlops-box.sync+json", payload, SEED)
    yield Attack(
        "trusted signature over another kind of document",
        stored([(ENVELOPE, foreign), *Packer().members()[1:]]),
        ("signature.kind",),
    )


def _manifests() -> Iterator[Attack]:
    def signed(**changes: Any) -> bytes:
        return Packer(manifest=changes).pack()

    compatible = json.loads(Packer().members()[1][1])["compatible"]
    bad = ("manifest.malformed",)
    yield Attack(
        "wrong processor", signed(compatible={**compatible, "arch": "riscv64"}), ("device.processor",)
    )
    yield Attack("wrong Python", signed(compatible={**compatible, "python": "2.7"}), ("device.python",))
    yield Attack(
        "glibc from the future", signed(compatible={**compatible, "glibc_min": "9.9"}), ("device.glibc",)
    )
    yield Attack("unknown feature", signed(features=["teleport"]), ("manifest.feature",))
    yield Attack("format from the future", signed(format=3), ("manifest.format",))
    yield Attack("format 1", signed(format=1), ("manifest.format",))
    yield Attack("format true", signed(format=True), ("manifest.format",))
    yield Attack("agent from the future", signed(min_agent=99), ("device.agent",))
    yield Attack(
        "files larger than allowed", signed(limits=_limits(archive_bytes=10)), ("manifest.too-large",)
    )
    yield Attack("layers that are not those files", signed(layers=_layers("0" * 64)), ("manifest.layer",))
    yield Attack("unknown kind", signed(kind="delta"), bad)
    yield Attack("model name with a path", signed(model="../../pump"), bad)
    yield Attack("number below zero", signed(number=-1), bad)
    yield Attack(
        "number of four hundred digits", signed(number=10**400), ("manifest.malformed", "json.malformed")
    )
    yield Attack("self-test without end", signed(limits=_limits(golden_seconds=1e18)), bad)
    yield Attack("no limits", signed(limits={}), bad)
    yield Attack("key under another id", signed(keys={"add": {"0" * 16: "ab" * 32}, "revoke": []}), bad)
    yield Attack("revokes the last key", signed(keys={"add": {}, "revoke": [KEY]}), ("keys.none-left",))
    yield Attack("files of another size", signed(files=_sized()), ("archive.size",))
    yield Attack(
        "lists what nobody signed", signed(files={}, layers=_layers()), ("manifest.files", "manifest.layer")
    )
    yield Attack(
        "model only, for a runtime that is not here",
        Packer(kind="model-only", manifest={"layers": _foreign_layers()}).pack(),
        ("device.layer",),
    )
    yield Attack(
        "model only, with a runtime", Packer(manifest={"kind": "model-only"}).pack(), ("manifest.layer",)
    )


def _limits(**changes: Any) -> dict[str, Any]:
    return {**json.loads(Packer().members()[1][1])["limits"], **changes}


def _layers(digest: str = hashlib.sha256(b"{}").hexdigest()) -> Mapping[str, str]:
    return dict.fromkeys(("runtime", "wheels", "model"), digest)


def _foreign_layers() -> Mapping[str, str]:
    return {**json.loads(Packer().members()[1][1])["layers"], "runtime": "1" * 64}


def _sized() -> Mapping[str, Any]:
    files = json.loads(Packer().members()[1][1])["files"]
    return {name: {**fact, "size_bytes": fact["size_bytes"] + 1} for name, fact in files.items()}


def _wheels() -> Iterator[Attack]:
    def signed(
        number: int, members: Mapping[str, bytes] | None = None, data: bytes | None = None, **more: Any
    ) -> bytes:
        return Packer(
            number=number, files=content(wheels=data if data is not None else wheel(members, **more))
        ).pack()

    yield Attack("library for another processor in a wheel", signed(2, arch=OTHER_ARCH), ("elf.machine",))
    yield Attack("library that is none in a wheel", signed(2, {"x.so": b"#!/bin/sh"}), ("elf.machine",))
    for name in ("../outside.py", "/etc/outside.py", "a/../../x", "a//b"):
        yield Attack(f"wheel that writes to {name!r}", signed(2, {name: b"x"}), ("wheel.name",))
    yield Attack("wheel that is no zip", signed(2, data=b"no zip"), ("wheel.malformed",))
    yield Attack(
        "wheel that says it is 3 GB", signed(2, data=_lying_wheel()), ("wheel.too-large", "wheel.malformed")
    )


def _pasts() -> Iterator[Attack]:
    fresh = Packer(number=2)
    digest = json.loads(fresh.members()[1][1])["version_digest"]
    revoked = KeyChanges({OTHER_KEY: OTHER_PUBLIC}, (KEY,))
    yield Attack(
        "revoked key", fresh.pack(), ("signature.revoked-key",), lambda place: change_keys(place, revoked)
    )
    yield Attack(
        "old epoch", Packer(number=2, manifest={"epoch": 4}).pack(), ("device.epoch",),
        lambda place: change(place, lambda state: replace(state, epoch=5)),
    )  # fmt: skip
    yield Attack(
        "version that is marked bad", fresh.pack(), ("device.bad",),
        lambda place: change(place, lambda state: replace(state, bad=(digest,))),
    )  # fmt: skip
    back = {"add": {OTHER_KEY: OTHER_PUBLIC.hex()}, "revoke": []}
    yield Attack(
        "brings a revoked key back", Packer(number=2, manifest={"keys": back}).pack(), ("keys.revoked",),
        lambda place: change_keys(place, KeyChanges({}, (OTHER_KEY,))),
    )  # fmt: skip
    yield Attack(
        "while another is on trial", Packer(number=3).pack(), ("install.trial",),
        lambda place: put(place, fresh.pack()),
    )  # fmt: skip


def _lying_wheel() -> bytes:
    data = bytearray(wheel({"x.py": b"pass\n" * 100}))
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<L", 3 * 10**9)
    return bytes(data)


def small() -> bytes:
    """A bundle of a few kilobytes, for changing every bit of it."""
    return Packer(files={"model/m": b"model"}).pack()


def span(bundle: bytes, name: str) -> range:
    """The bytes of a member in a bundle, without its header."""
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        member = archive.getinfo(name)
    begin = member.header_offset + 30 + len(name)
    return range(begin, begin + member.file_size)


def flipped(bundle: bytes, bit: int) -> bytes:
    """``bundle`` with one bit changed; bit 0 is the lowest of the first byte."""
    bent = bytearray(bundle)
    bent[bit // 8] ^= 1 << bit % 8
    return bytes(bent)


def bits_taken(file: Path, bits: Iterable[int], read: Callable[[], object]) -> list[int]:
    """Change one bit of a file after the other, in place; those with which ``read`` did not refuse it."""
    taken, descriptor = [], os.open(file, os.O_RDWR)
    try:
        for bit in bits:
            before = os.pread(descriptor, 1, bit // 8)
            os.pwrite(descriptor, bytes([before[0] ^ 1 << bit % 8]), bit // 8)
            if not refusal(read):
                taken.append(bit)
            os.pwrite(descriptor, before, bit // 8)
    finally:
        os.close(descriptor)
    return taken


def bits_of(span: range) -> range:
    return range(span.start * 8, span.stop * 8)
