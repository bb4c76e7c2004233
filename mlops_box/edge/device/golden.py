"""The golden test: a slot's own code answers the golden rows, in a process of its own, limited and without a past."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Callable, List

from .launch import Runtime
from .limited import limits
from .manifest import Limits

GoldenTest = Callable[[Path, Runtime, Limits], List[str]]
"""Slot's folder, its layers, its limits -> what is wrong; empty when all is well."""

_MOST_OUTPUT = 64 * 1024
_POLL_S = 0.02


class GoldenRun:
    """``mlops_edge selftest`` of a slot's own runtime, on its way.

    The child has an empty environment (but for its import path), no standard input, and bounds on processor time,
    address space, files and processes; by the clock it may take twice its processor time. Its whole process group is
    killed at the end.
    """

    def __init__(self, folder: Path, runtime: Runtime, bounds: Limits) -> None:
        self._most_s = 2 * bounds.golden_seconds + 1
        self._end = time.monotonic() + self._most_s
        self._output = os.memfd_create("golden")
        self._process = subprocess.Popen(
            runtime.command("mlops_edge", "selftest", str(folder), "--json"),
            cwd=str(runtime.runtime),
            env=runtime.environment(),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=limits(bounds.golden_seconds, bounds.rss_bytes),
        )
        self._found: list[str] | None = None

    def poll(self) -> list[str] | None:
        """What is wrong, empty when all is well; ``None`` while it runs."""
        if self._found is None:
            code = self._process.poll()
            if code is not None:
                size = os.fstat(self._output).st_size
                text = os.pread(self._output, _MOST_OUTPUT, max(0, size - _MOST_OUTPUT))
                self._close(_problems(code, text))
            elif time.monotonic() > self._end:
                self._close([f"the golden test took longer than {self._most_s:g} s"])
        return self._found

    def end(self) -> None:
        """Kill it, if it still runs."""
        if self._found is None:
            self._close(["the golden test was called off"])

    def _close(self, found: list[str]) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._output)
        self._found = found


def golden_test(folder: Path, runtime: Runtime, bounds: Limits) -> list[str]:
    """Run it to its end and say what is wrong."""
    run = GoldenRun(folder, runtime, bounds)
    try:
        while True:
            found = run.poll()
            if found is not None:
                return found
            time.sleep(_POLL_S)
    finally:
        run.end()


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
