"""The golden test: a slot's own code answers the golden rows, in a process of its own, limited and without a past."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Callable, List

from .launch import Runtime
from .limited import limits
from .manifest import Limits

GoldenTest = Callable[[Path, Runtime, Limits], List[str]]
"""Slot's folder, its layers, its limits -> what is wrong; empty when all is well."""

_MOST_OUTPUT = 64 * 1024


def golden_test(folder: Path, runtime: Runtime, bounds: Limits) -> list[str]:
    """Run ``mlops_edge selftest`` of the slot's own runtime on ``folder``.

    The child has an empty environment (but for its import path), no standard input, a bound on processor time, address
    space, files and processes, and twice the time of ``golden_seconds`` by the clock. Its whole process group is killed
    afterwards.
    """
    process = subprocess.Popen(
        runtime.command("mlops_edge", "selftest", str(folder), "--json"),
        cwd=str(runtime.runtime),
        env=runtime.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=limits(bounds.golden_seconds, bounds.rss_bytes),
    )
    try:
        output, _ = process.communicate(timeout=2 * bounds.golden_seconds + 1)
    except subprocess.TimeoutExpired:
        return [f"the golden test took longer than {2 * bounds.golden_seconds + 1:g} s"]
    finally:
        _kill_group(process)
    return _problems(process.returncode, output[-_MOST_OUTPUT:])


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _problems(code: int, output: bytes) -> list[str]:
    text = output.decode("utf-8", "replace").strip()
    last = text.splitlines()[-1] if text else ""
    try:
        problems = [str(one) for one in json.loads(last)["problems"]]
    except (ValueError, KeyError, TypeError):
        problems = []
    if code == 0:
        return problems
    if code < 0:
        return [f"the golden test was ended by signal {-code}"]
    return problems or [f"the golden test failed with code {code}: {last[:200]}"]
