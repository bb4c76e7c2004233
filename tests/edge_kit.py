"""Small bundles for tests, made by the box's own writer."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import distribution
from pathlib import Path

from mlops_box.canonical import sha256_hex
from mlops_box.edge.bundle import Description, Kind, Limits, layer_of, pack, stored_zip
from mlops_box.edge.keys import KeyChange
from mlops_box.edge.signing import key_id, public_key
from mlops_box.edge.slim import UNUSED
from mlops_box.edge.statement import Provenance
from mlops_box.edge.targets import Target, Wheel, find_target
from mlops_box.edge.wheels import WheelCache

TARGET = find_target("linux-x86_64-cp311")
FILES = {
    "install/README.txt": b"read me",
    "model/golden.json": b"{}",
    "model/packed.onnx": b"\x08\x0a" * 500,
    "runtime/mlops_edge/__init__.py": b"",
    "runtime/wheels/numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl": b"a wheel",
}


def described(files: Mapping[str, bytes] = FILES, kind: Kind = "full", epoch: int = 0) -> Description:
    """What a small bundle says of itself."""
    return Description(
        kind=kind, model="pump", number=3, version_digest="d" * 64, task="binary", snapshot_id="5" * 64,
        target=TARGET, precision="float32", epoch=epoch,
        limits=Limits(rss_bytes=200_000_000, log_bytes=1_000_000), keys=KeyChange({}, ()),
        onnx={"opset": 18, "ir_version": 10, "onnxruntime": "1.32.0", "numpy": "2.4.6"},
        layers={layer: layer_of(files, layer) for layer in ("runtime", "wheels", "model")},
    )  # fmt: skip


def small_bundle(
    signers: Sequence[bytes], files: Mapping[str, bytes] = FILES, description: Description | None = None
) -> bytes:
    """The bytes of a small bundle."""
    return pack(description or described(files), files, small_provenance(), signers)


def small_provenance() -> Provenance:
    return Provenance(
        external={"model": "pump", "number": 3, "target": TARGET.name, "kind": "full"},
        internal={"run_id": "r", "git_commit": None, "seed": 0},
        inputs={"snapshot": "5" * 64},
        program="mlops-box@0",
    )


def trusting(*privates: bytes) -> dict[str, bytes]:
    """Key id to public key."""
    return {key_id(public_key(private)): public_key(private) for private in privates}


def write_bundle(folder: Path, signers: Sequence[bytes], name: str = "pump-3.mbx") -> Path:
    """A small bundle as a file."""
    file = folder / name
    file.write_bytes(small_bundle(signers))
    return file


def installed_target(folder: Path) -> tuple[Target, WheelCache]:
    """This machine as a target, with the numpy and onnxruntime that run the tests; their wheels lie in ``folder``.

    A device's files without a network: the wheels are put together again from what was installed.
    """
    abi, machine = f"cp3{sys.version_info.minor}", platform.machine()
    wheels = []
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("numpy", "onnxruntime"):
        found = distribution(name)
        members = sorted(
            (str(item), Path(str(found.locate_file(item))).read_bytes())
            for item in found.files or ()
            if ".." not in item.parts and item.suffix not in (".pyc", ".pyi") and not UNUSED.search(str(item))
        )
        file, data = f"{name}-{found.version}-{abi}-{abi}-linux_{machine}.whl", stored_zip(members)
        (folder / file).write_bytes(data)
        wheels.append(Wheel(name, found.version, file, sha256_hex(data), len(data)))
    python = f"3.{sys.version_info.minor}"
    return Target(f"linux-{machine}-{abi}", machine, python, "2.17", tuple(wheels)), WheelCache(folder)


def other_pythons() -> dict[int, str]:
    """Interpreters of other minor versions from 3.8 on, on the path or among pyenv's."""
    named = [f"python3.{minor}" for minor in range(8, 15) if shutil.which(f"python3.{minor}")]
    found: dict[int, str] = {}
    for name in (*named, *map(str, Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python"))):
        ask = [name, "-c", "import sys; print(sys.version_info[1])"]
        done = subprocess.run(ask, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == 0 and (minor := int(done.stdout)) >= 8 and minor != sys.version_info.minor:
            found[minor] = name
    return found
