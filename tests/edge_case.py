"""A device in a folder, and small signed bundles for it: real format, real install, a server of forty lines."""

from __future__ import annotations

import hashlib
import io
import platform
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlops_box.edge.device import dsse, ed25519
from mlops_box.edge.device.admission import this_device
from mlops_box.edge.device.archive import ENVELOPE, PREDICATE_TYPE, SSH_SIGNATURE, STATEMENT_TYPE
from mlops_box.edge.device.install import Installed, install
from mlops_box.edge.device.keys import Keys, save_keys
from mlops_box.edge.device.manifest import FORMAT, LAYERS, layer_digest
from mlops_box.edge.device.manifest import NAME as MANIFEST
from mlops_box.edge.device.outcome import confirm, count_attempt
from mlops_box.edge.device.place import Place
from mlops_box.edge.device.strict_json import canonical_json

SEED, OTHER_SEED = bytes(range(32)), bytes(range(1, 33))
PUBLIC, OTHER_PUBLIC = ed25519.public_key(SEED), ed25519.public_key(OTHER_SEED)
KEY, OTHER_KEY = dsse.key_id(PUBLIC), dsse.key_id(OTHER_PUBLIC)
TRUSTED = {KEY: PUBLIC}
_MACHINE_NUMBERS = {"x86_64": 62, "aarch64": 183}

STUB_MAIN = """
import json, os, sys, time
behaviour = json.load(open(os.path.join(sys.argv[2], "bundle/model/behaviour.json")))
if behaviour.get("golden_hangs"):
    time.sleep(600)
print(json.dumps({"problems": behaviour.get("golden", [])}))
sys.exit(1 if behaviour.get("golden") else 0)
"""

STUB_SERVER = """
import argparse, http.server, json, os, sys, threading, time
parser = argparse.ArgumentParser()
for name in ("root", "slot", "host", "port"):
    parser.add_argument("--" + name)
options = parser.parse_args()
read = lambda *parts: json.load(open(os.path.join(options.root, *parts)))
slot = options.slot

class Serving(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        does = read("slots", slot, "bundle/model/behaviour.json")
        number = read("slots", slot, "slot.json")["number"]
        told = 'mlops_box_requests_total{model="pump",version="%d",variant="champion",outcome="%s"} %d\\n'
        body = "".join(told % (number, outcome, count) for outcome, count in does.get("outcomes", {}).items())
        self.send_response(503 if does.get("unready") and self.path == "/readyz" else 200)
        self.end_headers()
        self.wfile.write((str(number) if self.path == "/version" else body).encode())
    def log_message(self, *_): pass

def announce():
    facts = {"pid": os.getpid(), "port": server.server_port, "slot": slot, "boot": "", "version": ""}
    path = os.path.join(options.root, "run/server.json")
    with open(path + ".new", "w") as file:
        json.dump(facts, file)
    os.rename(path + ".new", path)

does = read("slots", slot, "bundle/model/behaviour.json")
if "crash" in does:
    sys.exit(does["crash"])
ballast = b"x" * does.get("ballast", 0)
server = http.server.ThreadingHTTPServer((options.host, int(options.port)), Serving)
threading.Thread(target=server.serve_forever, daemon=True).start()
announce()
while True:
    time.sleep(0.05)
    state = read("state.json")
    trial = state["trial"]
    wanted = trial["slot"] if trial and trial["left"] < 3 else state["confirmed"]
    if wanted and wanted != slot:
        layers = [read("slots", name, "slot.json")["layers"] for name in (slot, wanted)]
        if layers[0]["runtime"] != layers[1]["runtime"]:
            os._exit(75)
        slot = wanted
        announce()
"""


def wheel(members: Mapping[str, bytes] | None = None, arch: str = platform.machine()) -> bytes:
    """A wheel with one module and one shared library for ``arch``."""
    machine = _MACHINE_NUMBERS[arch].to_bytes(2, "little")
    library = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00" + machine + bytes(44)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (members or {"tiny/__init__.py": b"", "tiny/_core.so": library}).items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def content(behaviour: Mapping[str, Any] | None = None, wheels: bytes | None = None) -> dict[str, bytes]:
    """The files of a full bundle whose server does what ``behaviour`` says."""
    return {
        "install/README.txt": b"read me\n",
        "model/behaviour.json": canonical_json(dict(behaviour or {})),
        "model/packed.onnx": b"\x08\x0a" * 300,
        "runtime/mlops_edge/__init__.py": b"",
        "runtime/mlops_edge/__main__.py": STUB_MAIN.encode(),
        "runtime/mlops_edge/server.py": STUB_SERVER.encode(),
        "runtime/wheels/tiny-1.0-cp311-none-any.whl": wheels if wheels is not None else wheel(),
    }


@dataclass
class Packer:
    """Makes a bundle by the format; each step may be bent, for what attackers do.

    Attributes:
        manifest: Keys of the manifest to replace.
        bend_members: Changes the list of members (name, bytes) after signing.
    """

    number: int = 1
    files: Mapping[str, bytes] = field(default_factory=content)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    seed: bytes = SEED
    kind: str = "full"
    bend_members: Callable[[list[tuple[str, bytes]]], Iterable[tuple[str, bytes]]] = list
    bend_statement: Callable[[dict[str, Any]], dict[str, Any]] = dict

    def manifest_bytes(self, carried: Mapping[str, bytes]) -> bytes:
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in self.files.items()}
        layers = {
            layer: layer_digest({name: value for name, value in digests.items() if name.startswith(folder)})
            for layer, folder in LAYERS.items()
        }
        device = this_device()
        raw = {
            "format": FORMAT, "kind": self.kind, "model": "pump", "number": self.number,
            "version_digest": hashlib.sha256(b"pump %d" % self.number).hexdigest(), "task": "binary",
            "snapshot_id": "0" * 64, "target": "linux-test",
            "compatible": {"arch": device.arch, "python": device.python, "glibc_min": "2.17"},
            "features": [], "min_agent": 1, "epoch": 0, "precision": "float32",
            "onnx": {"opset": 17, "ir_version": 10}, "layers": layers,
            "limits": {"rss_bytes": 200_000_000, "golden_seconds": 20, "log_bytes": 10**6, "archive_bytes": 10**7},
            "keys": {"add": {}, "revoke": []},
            "files": {name: {"size_bytes": len(data), "sha256": digests[name]} for name, data in carried.items()},
            **self.manifest,
        }  # fmt: skip
        return canonical_json(raw)

    def members(self) -> list[tuple[str, bytes]]:
        carried = {
            name: data
            for name, data in sorted(self.files.items())
            if self.kind == "full" or not name.startswith("runtime/")
        }
        head = {MANIFEST: self.manifest_bytes(carried), SSH_SIGNATURE: b"-----BEGIN SSH SIGNATURE-----\n"}
        subjects = [
            {"name": name, "digest": {"sha256": hashlib.sha256(data).hexdigest()}}
            for name, data in sorted({**head, **carried}.items())
        ]
        statement = {
            "_type": STATEMENT_TYPE, "subject": subjects, "predicateType": PREDICATE_TYPE, "predicate": {},
        }  # fmt: skip
        payload = canonical_json(self.bend_statement(statement))
        return [(ENVELOPE, dsse.wrap(dsse.STATEMENT, payload, self.seed)), *head.items(), *carried.items()]

    def pack(self) -> bytes:
        return stored(self.bend_members(self.members()))


def stored(members: Iterable[tuple[str | zipfile.ZipInfo, bytes]]) -> bytes:
    """The one form of a bundle's zip; a member given as ``ZipInfo`` is written as it says."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members:
            archive.writestr(plain(name) if isinstance(name, str) else name, data)
    return out.getvalue()


def plain(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    member.create_system = 3
    member.external_attr = 0o100644 << 16
    return member


def make_place(root: Path, keys: Mapping[str, bytes] = TRUSTED) -> Place:
    """A device that trusts ``keys`` and never installed anything."""
    place = Place(root)
    for folder in (root, *place.folders()):
        folder.mkdir(parents=True, exist_ok=True)
    place.device.write_bytes(canonical_json({"name": "pump-7", "boot_counter": 0}))
    save_keys(place, Keys(keys))
    return place


def put(place: Place, bundle: bytes, **more: Any) -> Installed:
    """Install from a file, with the golden test left out where a test does not ask for one."""
    file = place.root.parent / f"{place.root.name}.mbx"
    file.write_bytes(bundle)
    return install(place, file, this_device(), **{"test": lambda *_: [], **more})


def put_confirmed(place: Place, bundle: bytes) -> None:
    put(place, bundle)
    count_attempt(place)
    confirm(place)


def tree(root: Path) -> dict[str, str]:
    """Every path under ``root`` with what it holds: for seeing that nothing was written."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "/"
        for path in sorted(root.rglob("*"))
    }
