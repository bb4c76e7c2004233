"""The golden self-test of a slot: loads what would serve, and proves it; run by the agent in a limited process."""

from __future__ import annotations

import resource
from pathlib import Path

from mlops_box.errors import BoxError

from ..manifest import Limits
from ..slots import read_manifest
from .model import load


def run(folder: Path, limits: Limits) -> list[str]:
    """What is wrong with the slot in ``folder``, in words; empty when every golden row is answered as it should be."""
    manifest = read_manifest(folder)
    try:
        load(folder / "bundle", manifest.model, manifest.number, manifest.version_digest)
    except BoxError as error:
        problems = error.details.get("problems")
        return [str(one) for one in problems] if isinstance(problems, list) else [error.message]
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if peak_bytes > limits.rss_bytes:
        return [f"the model takes {peak_bytes} bytes of memory; at most {limits.rss_bytes} are allowed"]
    return []
