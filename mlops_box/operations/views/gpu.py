"""GPUs as ``nvidia-smi`` tells them; what it does not know is ``None``."""

from __future__ import annotations

import csv
import shutil
import subprocess
from dataclasses import dataclass

_TIMEOUT_S = 5.0
_FIELDS = ("index", "name", "utilization.gpu", "memory.used", "memory.total", "temperature.gpu")
_MIB = 1 << 20


@dataclass(frozen=True)
class Gpu:
    """One GPU: ``busy`` is a share of time, memory in bytes, ``temperature`` in °C."""

    index: str
    name: str
    busy: float | None
    memory_used: int | None
    memory_total: int | None
    temperature: float | None


@dataclass(frozen=True)
class Gpus:
    """All GPUs of this machine; ``problem`` says why there are none to show."""

    found: tuple[Gpu, ...] = ()
    problem: str | None = None


def read_gpus() -> Gpus:
    """Ask ``nvidia-smi``; takes up to five seconds, so never on a screen's thread."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return Gpus(problem="no GPU: nvidia-smi is not here")
    command = [program, f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Gpus(problem=f"GPU unknown: nvidia-smi does not answer ({type(error).__name__})")
    if said.returncode != 0:
        lines = (said.stderr or said.stdout).strip().splitlines() or [f"exit code {said.returncode}"]
        return Gpus(problem=f"GPU unknown: {lines[0]}")
    return Gpus(parse_gpus(said.stdout))


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """Read the CSV of ``nvidia-smi --query-gpu``."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines())]
    return tuple(
        Gpu(index, name, _share(busy), _bytes(used), _bytes(total), _number(temperature))
        for index, name, busy, used, total, temperature in (row for row in rows if len(row) == len(_FIELDS))
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None  # "[N/A]", "[Not Supported]"


def _share(text: str) -> float | None:
    value = _number(text)
    return None if value is None else value / 100


def _bytes(text: str) -> int | None:
    value = _number(text)
    return None if value is None else int(value * _MIB)
