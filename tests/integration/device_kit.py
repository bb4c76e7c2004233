"""A device folder with models made by hand, laid out as an install leaves it, and a real server process in front of it.

The runtime is what a bundle would carry, its wheels are numpy and onnxruntime alone, and nothing of this checkout can be
imported: what works here works on a device.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlops_box.edge.contract import device_contract
from mlops_box.edge.device.manifest import layer_digest
from mlops_box.edge.device.place import Place
from mlops_box.edge.device.slots import Slot
from mlops_box.edge.device.state import State, save
from mlops_box.edge.device.strict_json import canonical_json
from mlops_box.edge.runtime_files import device_files
from mlops_box.models.golden import Golden
from mlops_box.models.values import Signature
from mlops_box.monitoring.reference_tables import build_reference
from mlops_box.project import parse_project
from tests.integration.http_kit import ServerProcess

WHEELS = ("numpy", "numpy.libs", "onnxruntime")
RUNTIME, SITE = "1" * 64, "2" * 64


def make_place(root: Path) -> Place:
    """An empty device with its layers."""
    place = Place(root)
    for folder in place.folders():
        folder.mkdir(parents=True, exist_ok=True)
    place.keys.write_text('{"revoked":[],"trusted":{}}')
    add_runtime(place, RUNTIME)
    site = place.layer(SITE) / "site"
    site.mkdir(parents=True)
    for name in WHEELS:
        found = importlib.util.find_spec("numpy")
        assert found is not None
        assert found.origin is not None
        (site / name).symlink_to(Path(found.origin).parents[1] / name)
    return place


def add_runtime(place: Place, digest: str) -> None:
    """The runtime layer as a bundle carries it."""
    for name, data in device_files().items():
        path = place.layer(digest) / "mlops_edge" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def fill_slot(
    place: Place,
    name: str,
    model: str,
    number: int,
    *,
    packed: bytes,
    signature: Signature,
    golden: Golden,
    project: str,
    reference: pa.Table,
    predictions: Any = None,
    log_bytes: int = 64_000_000,
    runtime: str = RUNTIME,
) -> Slot:
    """What an install leaves in a slot."""
    declared = parse_project(project)
    contents = {
        "model/contract.json": device_contract(declared, signature).to_bytes(),
        "model/golden.json": golden.to_json().encode(),
        "model/packed.onnx": packed,
        "model/reference.json": build_reference(reference, signature, predictions=predictions).to_bytes(),
        "model/signature.json": signature.to_json().encode(),
    }
    facts = {path: hashlib.sha256(data).hexdigest() for path, data in contents.items()}
    version = hashlib.sha256(f"{model}@{number}".encode()).hexdigest()
    layers = {"runtime": runtime, "wheels": SITE, "model": layer_digest(facts)}
    manifest = canonical_json({
        "format": 2, "kind": "model-only", "model": model, "number": number, "version_digest": version,
        "task": signature.task, "snapshot_id": "snapshot", "target": "linux-x86_64-cp311",
        "compatible": {"arch": "x86_64", "python": "3.11", "glibc_min": "2.28"}, "features": [], "min_agent": 1,
        "epoch": 0, "precision": "float32", "onnx": {}, "layers": layers, "keys": {"add": {}, "revoke": []},
        "limits": {"rss_bytes": 256_000_000, "golden_seconds": 60, "log_bytes": log_bytes, "archive_bytes": 1_000_000_000},
        "files": {path: {"size_bytes": len(contents[path]), "sha256": facts[path]} for path in sorted(facts)},
    })  # fmt: skip
    bundle = place.bundle(name)
    (bundle / "model").mkdir(parents=True, exist_ok=True)
    for path, data in {**contents, "manifest.json": manifest}.items():
        (bundle / path).write_bytes(data)
    slot = Slot(hashlib.sha256(manifest).hexdigest(), model, number, version, 0, "signer", layers)
    (place.slot(name) / "slot.json").write_bytes(slot.to_bytes())
    return slot


def serve_slot(place: Place, name: str) -> None:
    """Make a slot the one that should serve."""
    save(place, State(confirmed=name))


class DeviceServer(ServerProcess):
    """A device's running server."""

    def __init__(self, place: Place, process: subprocess.Popen[bytes], port: int):
        super().__init__(process, "127.0.0.1", port)
        self.place = place

    def said(self) -> dict[str, Any]:
        """What it announced."""
        found: dict[str, Any] = json.loads(self.place.server.read_bytes())
        return found


def start_device(place: Place, name: str, *options: str, timeout_s: float = 60.0) -> DeviceServer:
    """Start ``python -m mlops_edge.server`` from the slot's own layers, and wait until it announces itself."""
    place.server.unlink(missing_ok=True)
    runtime = json.loads((place.slot(name) / "slot.json").read_bytes())["layers"]["runtime"]
    output = place.root / "server.log"
    command = [sys.executable, "-S", "-s", "-m", "mlops_edge.server", "--root", str(place.root), "--slot", name, "--port", "0"]  # fmt: skip
    with output.open("ab") as log:
        process = subprocess.Popen(
            [*command, *options], stdout=log, stderr=log, cwd=place.layer(runtime),
            env={"PYTHONPATH": str(place.layer(SITE) / "site"), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(FileNotFoundError, ValueError):
            said = json.loads(place.server.read_bytes())
            if said["pid"] == process.pid:
                return DeviceServer(place, process, said["port"])
        time.sleep(0.01)
    process.kill()
    process.wait()
    raise AssertionError(f"the server did not start:\n{output.read_text()[-4000:]}")


@contextlib.contextmanager
def running_device(place: Place, name: str, *options: str) -> Iterator[DeviceServer]:
    server = start_device(place, name, *options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


def wait_until(condition: Any, timeout_s: float = 20.0) -> None:
    """Until ``condition()`` is true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)
