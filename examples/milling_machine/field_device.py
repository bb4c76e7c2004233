"""Play the device beside the mill on this machine: install a bundle, answer the worn rows, write a stick for the box.

    python field_device.py BUNDLE KEY    everything lies in device/; KEY is what `mlops-box edge keys show` prints as public
    python field_device.py --ack FILE    forget what the box says it has

It does what a person does at a real device (docs/edge.md), with the same programs, in an environment that knows nothing of the box.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
DEVICE, STICK, UNPACKED = HERE / "device", HERE / "stick", HERE / "device-unpacked"
AGENT = DEVICE / "bin" / "mlops-edge"
# The plain Python below this environment: a device has no other.
PYTHON = os.path.realpath(sys.executable)
BARE = {"PATH": f"{os.path.dirname(PYTHON)}:/usr/bin:/bin", "LANG": "C.UTF-8"}
LIMIT_S = 120.0


def agent(*words: str) -> str:
    """What a command of the device's agent prints."""
    done = subprocess.run([AGENT, *words], env=BARE, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"mlops-edge {' '.join(words)}: {done.stderr}")
    return done.stdout


def begin(bundle: Path, key: str) -> None:
    """A new device from a full bundle; at a real one ssh-keygen verifies it before any of its code runs."""
    for folder in (DEVICE, UNPACKED):
        shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(UNPACKED)
    words = ["init", "--root", str(DEVICE), "--name", "mill-1", "--trust", key]
    told = subprocess.run(
        [PYTHON, "-S", "-m", "mlops_edge", *words],
        env=BARE | {"PYTHONPATH": str(UNPACKED / "runtime")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if told.returncode:
        sys.exit(told.stderr)
    print(told.stdout, end="")
    shutil.rmtree(UNPACKED)
    print(agent("install", str(bundle)).splitlines()[-1])


def wait_for_address() -> str:
    """Where the device's server listens, once it is ready."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        try:
            port = json.loads((DEVICE / "run" / "server.json").read_text())["port"]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return f"http://127.0.0.1:{port}"
        except (OSError, ValueError, KeyError):
            time.sleep(0.2)
    sys.exit("the device's server did not become ready")


def ask(address: str, rows: list[dict[str, Any]]) -> int:
    """How many of the rows the device foretells a failure for."""
    request = urllib.request.Request(
        f"{address}/models/milling-machine/predict",
        json.dumps({"rows": rows}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return int(sum(json.load(answer)["predictions"]))


def live() -> None:
    """Serve the worn rows until the new version is confirmed, then stop."""
    rows = [json.loads(line) for line in (HERE / "data" / "worn.jsonl").read_text().splitlines()]
    words = ["serve", "--port", "0", "--steady", "2", "--probation", "4"]
    with subprocess.Popen([AGENT, *words], env=BARE, stdout=subprocess.DEVNULL) as server:
        try:
            address = wait_for_address()
            failures = sum(ask(address, rows[start : start + 25]) for start in range(0, len(rows), 25))
            print(f"{len(rows)} rows answered, {failures} failures foretold")
            deadline = time.monotonic() + LIMIT_S
            while json.loads((DEVICE / "state.json").read_text())["confirmed"] is None:
                if time.monotonic() > deadline:
                    sys.exit("the version was not confirmed")
                time.sleep(0.5)
        finally:
            server.send_signal(signal.SIGTERM)
    print(agent("status").splitlines()[0])


def main() -> None:
    if sys.argv[1] == "--ack":
        print(agent("sync", "--ack", os.path.abspath(sys.argv[2])), end="")
        return
    bundle, key = Path(sys.argv[1]).absolute(), sys.argv[2]
    begin(bundle, key)
    live()
    STICK.mkdir(exist_ok=True)
    print(agent("sync", "--to", str(STICK)), end="")


if __name__ == "__main__":
    main()
