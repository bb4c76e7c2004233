"""Install a bundle in a clean place without network, run it, and measure: before it goes to a device that nobody reaches."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mlops_box.edge.simulator
from mlops_box.edge.device.archive import VerifiedBundle, open_verified
from mlops_box.edge.device.manifest import LAYERS
from mlops_box.edge.refusals import told_as_box_errors
from mlops_box.errors import UnavailableError, UsageError
from mlops_box.models.values import GOLDEN_FILE
from mlops_box.progress import Progress, SilentProgress

_TIMEOUT_S = 300.0
_NAMESPACE = ["unshare", "--map-root-user", "--net"]


@dataclass(frozen=True)
class Simulation:
    """What a device with this bundle does, on this machine.

    Attributes:
        failed: What a device would not have survived, in its agent's words; ``None`` when all went well.
        rule: The agent's name for it: ``golden`` when the model answers otherwise than in the box.
        isolated: It ran in a network namespace with nothing but its own loopback.
        cold_start_s: From the start of the agent to the first answer, while it tries the golden rows.
        server_start_s: From the start of the server alone to its first answer, best of three.
        confirmed: The version that proved itself and was marked good.
        update_s: Of the last bundle, where several were given; with ``in_place``: the server went on running.
    """

    version: str
    python: str
    isolated: bool
    bundle_bytes: int
    failed: str | None = None
    rule: str | None = None
    installed_bytes: int | None = None
    install_s: float | None = None
    cold_start_s: float | None = None
    server_start_s: float | None = None
    confirmed: str | None = None
    requests: int | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    server_rss_bytes: int | None = None
    server_pss_bytes: int | None = None
    agent_rss_bytes: int | None = None
    update_s: float | None = None
    updated_to: str | None = None
    in_place: bool | None = None

    @property
    def is_good(self) -> bool:
        """It was installed, which its golden rows decide, and it proved itself while it ran."""
        return self.failed is None and self.confirmed is not None

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "good": self.is_good}


def simulate_bundle(
    path: Path, *, trusted: Mapping[str, bytes], base: Path | None = None, progress: Progress | None = None
) -> Simulation:
    """Play a device's first day with a bundle; everything lies in a temporary folder that is deleted.

    Args:
        trusted: Key id to public key; the one that signed the bundle is what the device trusts.
        base: For a model-only bundle: the full one that the device has before.

    Raises:
        UsageError: A model-only bundle without ``base``, or a bundle for another processor.
        UnavailableError: No Python of the target's version is here.
        IntegrityError: The bundle is not what a trusted key signed.
    """
    with told_as_box_errors():
        bundle = open_verified(path, trusted)
        first = open_verified(base, trusted) if base is not None else bundle
    python = _python_for(first)
    progress = progress or SilentProgress()
    progress.begin(f"simulate {bundle.manifest.version}")
    try:
        with tempfile.TemporaryDirectory(prefix="mlops-box-edge-") as folder:
            return _play(Path(folder), bundle, first, python, trusted[first.signer])
    finally:
        progress.end()


def _play(
    folder: Path, bundle: VerifiedBundle, first: VerifiedBundle, python: str, public: bytes
) -> Simulation:
    runtime = LAYERS["runtime"]
    with told_as_box_errors():
        first.extract(folder / "unpacked", lambda name: name.startswith(runtime))
        golden = json.loads(bundle.read(f"model/{GOLDEN_FILE}"))
    rows = folder / "rows.json"
    # Rows without missing values first: those are what most requests look like.
    rows.write_text(json.dumps(sorted(golden["rows"], key=lambda row: list(row.values()).count(None))))
    isolated = _can_isolate()
    bundles = [first.path] if first is bundle else [first.path, bundle.path]
    script = mlops_box.edge.simulator.__file__
    command = [
        *(_NAMESPACE if isolated else []), python, "-I", script,
        "--runtime", str(folder / "unpacked" / Path(runtime).parent), "--root", str(folder / "root"),
        "--trust", public.hex(), "--rows", str(rows), "--model", bundle.manifest.model,
        *(["--loopback-up"] if isolated else []), *(str(item.absolute()) for item in bundles),
    ]  # fmt: skip
    facts = _run(command)
    # What the script saw, not what we asked for.
    isolated = facts.pop("interfaces", None) == ["lo"]
    return Simulation(
        version=bundle.manifest.version, python=first.manifest.compatible.python, isolated=isolated,
        bundle_bytes=bundle.path.stat().st_size, **facts,
    )  # fmt: skip


def _run(command: list[str]) -> dict[str, Any]:
    environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    try:
        done = subprocess.run(
            command, env=environment, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"failed": f"the simulation did not end within {_TIMEOUT_S:.0f} s"}
    try:
        facts: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return {"failed": f"it ended with code {done.returncode}: {done.stderr.strip()[-1000:]}"}
    return facts


def _can_isolate() -> bool:
    """Whether this user may make a network namespace."""
    try:
        done = subprocess.run([*_NAMESPACE, "true"], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _python_for(bundle: VerifiedBundle) -> str:
    """An interpreter like the device's, outside of any virtual environment.

    Raises:
        UsageError: The bundle is model-only, or for another processor.
        UnavailableError: There is no such interpreter.
    """
    manifest = bundle.manifest
    if manifest.kind != "full":
        raise UsageError(
            f"{bundle.path.name} carries the model only: a device has the rest from before",
            hint="--base FULL.mbx installs that first",
        )
    wanted, machine = manifest.compatible, platform.machine()
    if wanted.arch != machine:
        raise UsageError(
            f"{bundle.path.name} is for {wanted.arch}, this machine is {machine}: it can be verified here, not run",
            hint="simulate a bundle of the same version for this machine (mlops-box edge targets)",
        )
    if f"{sys.version_info.major}.{sys.version_info.minor}" == wanted.python:
        return os.path.realpath(sys.executable)
    found = shutil.which(f"python{wanted.python}")
    if found is None or not _runs(found):
        raise UnavailableError(
            f"there is no Python {wanted.python} here to simulate {manifest.target}",
            hint="install it, or simulate a bundle for the Python that runs mlops-box",
        )
    return found


def _runs(python: str) -> bool:
    return (
        subprocess.run([python, "-I", "-c", ""], capture_output=True, timeout=60, check=False).returncode == 0
    )
