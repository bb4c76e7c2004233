"""A disk of a few megabytes that can really be full, or really be read-only, for tests."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNSHARE = ["unshare", "--map-root-user", "--mount", "--user"]


def on_a_disk_of(size: str, folder: Path, *steps: list[str]) -> list[subprocess.CompletedProcess[str]]:
    """Run steps on a tmpfs; a step ``["ro"]`` makes it read-only. Returns what each of the others printed."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare here")
    trial = subprocess.run(
        [*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, text=True
    )
    if trial.returncode:
        pytest.skip(f"no mount in a namespace here: {trial.stderr.strip()}")
    driver = (
        "import json, subprocess, sys\n"
        "size, folder, steps = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])\n"
        "subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', folder], check=True)\n"
        "for step in steps:\n"
        "    if step == ['ro']:\n"
        "        subprocess.run(['mount', '-o', 'remount,ro', folder], check=True)\n"
        "        continue\n"
        "    found = subprocess.run([sys.executable, '-c', *step], capture_output=True, text=True)\n"
        "    print(json.dumps([found.returncode, found.stdout, found.stderr]))\n"
    )

    found = subprocess.run(
        [*UNSHARE, sys.executable, "-c", driver, size, folder, json.dumps(steps)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return [
        subprocess.CompletedProcess(step, *json.loads(line))
        for step, line in zip(
            [step for step in steps if step != ["ro"]], found.stdout.splitlines(), strict=True
        )
    ]
