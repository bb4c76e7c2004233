"""Describe the machine a result was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
from pathlib import Path

PACKAGES = (
    "numpy",
    "scikit-learn",
    "onnxruntime",
    "duckdb",
    "pyarrow",
    "whylogs",
    "bentoml",
    "uvicorn",
    "prefect",
)


def describe() -> str:
    """One paragraph: processor, cores, memory, system, Python and the packages that matter."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    load = os.getloadavg()[0]
    return (
        f"{model}, {os.cpu_count()} cores, {memory_gib:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}; {versions}. Load average before the run: {load:.1f}."
    )


def cpu_s(*, children: bool = False) -> float:
    """Processor seconds used so far by this process, or by its finished children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def table(headers: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(headers) + " |", "| " + " | ".join("---" for _ in headers) + " |"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])
