"""What a model was trained with: programs, machine, code."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from mlops_box.canonical import sha256_hex

_PACKAGES = (
    "mlops-box",
    "numpy",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "onnx",
    "onnxruntime",
    "skl2onnx",
    "torch",
    "onnxscript",
)
_GIT_TIMEOUT_S = 10.0


def describe_environment(folder: Path, *, train: str, seed: int, facts: dict[str, Any]) -> dict[str, Any]:
    """Versions, platform, processor, git commit and code digest, seed, and what the trainer reports of itself.

    Args:
        folder: The project's folder.
        train: ``file.py:function``.
        seed: The declared seed.
        facts: What the trainer adds (estimator, device, epochs ...).
    """
    code = folder / train.partition(":")[0]
    return {
        "python": platform.python_version(),
        "packages": _versions(),
        "platform": {
            "system": platform.system(),
            "release": platform.release(),
            "machine": platform.machine(),
        },
        "processor": {"model": _cpu_model(), "count": os.cpu_count()},
        "git": _git(folder),
        "code": {"file": code.name, "sha256": sha256_hex(code.read_bytes())},
        "seed": seed,
        **facts,
    }


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _cpu_model() -> str:
    if sys.platform == "linux":
        try:
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
        except OSError:
            pass
    return platform.processor() or platform.machine()


def _git(folder: Path) -> dict[str, Any] | None:
    """Commit of the project's folder and whether it has changes; ``None`` outside a repository."""
    commit = _run_git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    changes = _run_git(folder, "status", "--porcelain", "--", ".")
    return {"commit": commit, "dirty": bool(changes) if changes is not None else None}


def _run_git(folder: Path, *arguments: str) -> str | None:
    # No lock is taken for a mere look, and no pager or prompt can hang it.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=False, env=environment,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
