"""Checks of Python and its packages."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Iterator

from packaging.requirements import Requirement

from mlops_box.db import sqlite_version
from mlops_box.operations.doctor.checks import Check, failed, ok, warning
from mlops_box.operations.prefect_env import TELEMETRY_OFF

INSTALL = "pip install -c constraints.txt -e '.[all]'"
MINIMUM_SQLITE = (3, 51, 3)

# What goes wrong, seen, with versions outside our bounds, although `pip check` is content.
TRAPS = {
    "fastapi": "the Prefect server fails when it is imported",
    "sqlalchemy": "the Prefect server starts and looks healthy, but never creates a scheduled run",
    "protobuf": "gradient-boosting models cannot be exported to ONNX",
    "prefect": "its runner and its settings differ between releases",
    "whylogs": "the profiling shim is made for one release",
}

# The same package under another name, with more in it.
SUBSTITUTES = {"onnxruntime": "onnxruntime-gpu"}

_IMPORTS = {
    "the Prefect server": "from prefect.server.api.server import create_app",
    "Prefect flows": "import mlops_box_flows.train, mlops_box_flows.runner, prefect.runner",
    "the inference server": "import bentoml, onnxruntime",
    "scikit-learn and its export": "import sklearn, skl2onnx, onnx",
    "the data engine": "import duckdb, pyarrow",
}
_IMPORT_TIMEOUT_S = 120


def check_python() -> Check:
    """3.11 or 3.12: whylogs has no wheel for a newer one."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if (3, 11) <= sys.version_info[:2] <= (3, 12):
        return ok("python", f"Python {version}")
    return failed(
        "python", f"Python {version} is not 3.11 or 3.12", "make the environment with Python 3.11 or 3.12"
    )


def check_packages() -> list[Check]:
    """Every requirement of this distribution against what is installed."""
    problems = list(_unmet())
    if problems:
        return problems
    return [ok("packages", f"all {len(_requirements())} requirements are met")]


def _requirements() -> list[Requirement]:
    """Those that hold here, without extras."""
    declared = [Requirement(text) for text in importlib.metadata.requires("mlops-box") or []]
    return [item for item in declared if item.marker is None or item.marker.evaluate({"extra": ""})]


def _unmet() -> Iterator[Check]:
    for requirement in _requirements():
        name = requirement.name
        try:
            version = _installed_version(name)
        except importlib.metadata.PackageNotFoundError:
            yield failed("packages", f"{name} is not installed", INSTALL)
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            because = f": {TRAPS[name.lower()]}" if name.lower() in TRAPS else ""
            yield failed(
                "packages",
                f"{name} {version} is outside {requirement.specifier}{because}",
                f"pip install '{name}{requirement.specifier}', or {INSTALL}",
            )


def _installed_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        if name not in SUBSTITUTES:
            raise
        return importlib.metadata.version(SUBSTITUTES[name])


def check_sqlite() -> Check:
    """Older ones can corrupt a database that several processes share."""
    version = ".".join(str(part) for part in sqlite_version())
    if sqlite_version() >= MINIMUM_SQLITE:
        return ok("sqlite", f"SQLite {version}")
    return failed("sqlite", f"SQLite {version} is older than 3.51.3", "pip install 'pysqlite3>=0.6.1'")


def check_import(what: str) -> Check:
    """Import it in a fresh process: what breaks only there (a bad mix of versions) shows here."""
    _, problem = _python(_IMPORTS[what])
    if problem is None:
        return ok("imports", what)
    return failed("imports", f"{what}: {problem}", INSTALL)


def importable() -> tuple[str, ...]:
    return tuple(_IMPORTS)


def check_torch() -> Check:
    """torch is an extra; CUDA is used when it is there."""
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return warning(
            "torch",
            "torch is not installed: torch recipes cannot be trained",
            "pip install 'mlops-box[torch]'",
        )
    device, problem = _python(
        "import torch; print(torch.cuda.get_device_name(0) if torch.cuda.is_available() else '')"
    )
    if problem is not None:
        return failed("torch", f"torch {version} does not load: {problem}", INSTALL)
    return ok("torch", f"torch {version}, " + (f"CUDA on {device}" if device else "CPU (no CUDA device)"))


def check_serving_gpu() -> Check:
    """Whether models can run on a GPU; only a GPU that is there and lies idle is worth a warning."""
    found, problem = _python(
        "from mlops_box.models.devices import gpu_missing, missing_for_cuda; "
        "print(gpu_missing() is None, missing_for_cuda() or '', sep='\\n')"
    )
    if problem is not None:
        return failed("gpu", f"onnxruntime does not load: {problem}", INSTALL)
    has_gpu, _, lack = found.partition("\n")
    if not lack:
        return ok("gpu", "models can run on the GPU: [serve] device")
    if has_gpu == "True":
        return warning("gpu", f"models cannot run on the GPU: {lack}", "pip install onnxruntime-gpu")
    return ok("gpu", f"models run on the CPU: {lack}")


def _python(code: str) -> tuple[str, str | None]:
    """Run a line of Python in a fresh process; returns (what it printed, what went wrong)."""
    environment = {**os.environ, **TELEMETRY_OFF, "PREFECT_SERVER_EPHEMERAL_ENABLED": "false"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_IMPORT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "", f"it did not load in {_IMPORT_TIMEOUT_S} s"
    if done.returncode != 0:
        return "", (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return done.stdout.strip(), None
