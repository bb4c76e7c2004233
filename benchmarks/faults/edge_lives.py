"""A device with the real runtime that serves while it is killed, hung and updated, and how long nobody answered:
``python benchmarks/faults/edge_lives.py``."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "services")]

from benchmarks.machine import describe, table  # noqa: E402
from mlops_box.box import Box  # noqa: E402
from mlops_box.canonical import sha256_hex  # noqa: E402
from mlops_box.edge.bundle import Description, Limits, layer_of, pack  # noqa: E402
from mlops_box.edge.device.archive import VerifiedBundle, open_verified  # noqa: E402
from mlops_box.edge.device.place import Place  # noqa: E402
from mlops_box.edge.device.probe import announced  # noqa: E402
from mlops_box.edge.device.state import load  # noqa: E402
from mlops_box.edge.keys import KeyChange, KeyRing  # noqa: E402
from mlops_box.edge.targets import Target  # noqa: E402
from mlops_box.operations.edge.bundle import box_keys  # noqa: E402
from mlops_box.operations.edge.export import ExportRequest, export_bundle  # noqa: E402
from mlops_box.operations.train import train  # noqa: E402
from tests.edge_kit import installed_target, small_provenance  # noqa: E402
from tests.integration.train_kit import write_houses  # noqa: E402

RESULTS = Path(__file__).parent / "EDGE_LIVES.md"
LONG_S = 30.0
ASK_S = 0.02


class Asker:
    """Asks for predictions all the time, in a thread; keeps the longest time without an answer."""

    def __init__(self, place: Place, rows: list[dict[str, Any]]) -> None:
        self._place = place
        self._body = json.dumps({"rows": rows})
        self._stopping = threading.Event()
        self._last = time.monotonic()
        self.answers = 0
        self.longest_s = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Forget the gaps so far."""
        self._last, self.longest_s = time.monotonic(), 0.0

    def wait_for_answers(self, count: int) -> bool:
        """Whether so many more came within the time."""
        wanted, end = self.answers + count, time.monotonic() + LONG_S
        while self.answers < wanted and time.monotonic() < end:
            time.sleep(0.01)
        return self.answers >= wanted

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(ASK_S):
            told = announced(self._place)
            if told is not None and self._ask(told.port):
                now = time.monotonic()
                self.longest_s = max(self.longest_s, now - self._last)
                self._last = now
                self.answers += 1

    def _ask(self, port: int) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/models/houses/predict", self._body, headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class Device:
    """A device folder, its agent, and bundles for it."""

    def __init__(self, root: Path, first: VerifiedBundle, target: Target, seeds: list[bytes]) -> None:
        self.place = Place(root)
        self.dice = random.Random(5)
        self._first, self._target, self._seeds = first, target, seeds
        self._numbers = itertools.count(2)
        self._launcher = str(self.place.launcher)
        self._log = (root / "run" / "journal.txt").open("ab")
        golden = json.loads(first.read("model/golden.json"))
        whole = [row for row in golden["rows"] if None not in row.values()]
        self.start()
        self.asker = Asker(self.place, whole[:1])

    def start(self) -> None:
        self.agent = subprocess.Popen(
            [self._launcher, "serve", "--port", "0", "--steady", "0.5", "--probation", "1"],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
        )  # fmt: skip

    def install(self, file: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([self._launcher, "install", str(file)], stdout=self._log, stderr=self._log)

    def bundle(self, more: Mapping[str, bytes] | None = None) -> tuple[int, Path]:
        """The same model as another version: alone, or whole where ``more`` changes its runtime."""
        number, manifest = next(self._numbers), self._first.manifest
        kind = "full" if more else "model-only"
        carried = [name for name in manifest.files if more or name.startswith("model/")]
        files = {**{name: self._first.read(name) for name in carried}, **(more or {})}
        layers = {layer: layer_of(files, layer) for layer in manifest.layers}
        described = Description(
            kind=kind, model=manifest.model, number=number, version_digest=sha256_hex(b"%d" % number),
            task=manifest.task, snapshot_id=manifest.snapshot_id, target=self._target, precision="float32", epoch=0,
            limits=Limits(rss_bytes=256_000_000, log_bytes=10_000_000), keys=KeyChange({}, ()), onnx=manifest.onnx,
            layers=layers if more else {**manifest.layers, "model": layers["model"]},
        )  # fmt: skip
        file = self.place.root.parent / "next.mbx"
        file.write_bytes(pack(described, files, small_provenance(), self._seeds))
        return number, file

    def wait_last(self, act: str, number: int) -> bool:
        end = time.monotonic() + LONG_S
        while time.monotonic() < end:
            history = load(self.place).history
            if history and (history[-1]["act"], history[-1]["version"]) == (act, f"houses@{number}"):
                return True
            time.sleep(0.05)
        return False

    def kill_all(self, *more: subprocess.Popen[bytes]) -> None:
        told = announced(self.place)
        for process in (self.agent, *more):
            process.kill()
            process.wait()
        if told is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(told.pid, signal.SIGKILL)

    def stop(self) -> None:
        self.asker.stop()
        self.agent.terminate()
        self.agent.wait(LONG_S)
        self._log.close()


@dataclass(frozen=True)
class Way:
    """Something that happens to a serving device; ``act`` returns whether it ended as it should."""

    what: str
    act: Callable[[Device], bool]

    def live(self, device: Device) -> float | None:
        """The longest time without an answer, in seconds; ``None`` when the device did not come back, or not well."""
        if not device.asker.wait_for_answers(5):
            return None
        device.asker.begin()
        good = self.act(device)
        return device.asker.longest_s if device.asker.wait_for_answers(5) and good else None


def _server_signal(number: int) -> Callable[[Device], bool]:
    def act(device: Device) -> bool:
        told = announced(device.place)
        if told is None:
            return False
        os.kill(told.pid, number)
        return device.asker.wait_for_answers(5)

    return act


def _agent_killed(device: Device) -> bool:
    device.agent.kill()
    device.agent.wait()
    device.start()
    return device.asker.wait_for_answers(5)


def _cut_off(device: Device) -> bool:
    """All processes killed at a random moment of an update; then the same install leads to its end."""
    number, file = device.bundle()
    installing = device.install(file)
    time.sleep(device.dice.uniform(0.0, 3.0))
    device.kill_all(installing)
    device.start()
    if not device.asker.wait_for_answers(5):
        return False
    device.install(file).wait()
    return device.wait_last("confirm", number)


def _updated(device: Device) -> bool:
    number, file = device.bundle()
    return device.install(file).wait() == 0 and device.wait_last("confirm", number)


def _updated_runtime(device: Device) -> bool:
    number, file = device.bundle(
        {"runtime/mlops_edge/stamp.py": b"STAMP = %d\n" % device.dice.randrange(10**9)}
    )
    return device.install(file).wait() == 0 and device.wait_last("confirm", number)


def _crashing(device: Device) -> bool:
    """A version whose golden rows are right and whose server ends as soon as it is started."""
    broken = b'"""Broken."""\nraise SystemExit(9)\n'
    number, file = device.bundle({"runtime/mlops_edge/server/__main__.py": broken})
    return device.install(file).wait() == 0 and device.wait_last("fall-back", number)


WAYS = (
    Way("The server is killed", _server_signal(signal.SIGKILL)),
    Way("The server hangs (SIGSTOP)", _server_signal(signal.SIGSTOP)),
    Way("The agent is killed, and its server with it", _agent_killed),
    Way("All is killed 0 to 3 s into an update, then the same install again", _cut_off),
    Way("A new model", _updated),
    Way("A new runtime", _updated_runtime),
    Way("A new runtime whose server crashes three times: back to the old one", _crashing),
)


@contextlib.contextmanager
def device_of(folder: Path) -> Iterator[Device]:
    """A device that serves ``houses@1``, exported by a box that has just trained it."""
    target, wheels = installed_target(folder / "wheels")
    with Box.open(folder / "home", actor="benchmark") as box:
        train(box, write_houses(folder / "project"))
        export_bundle(box, "houses", ExportRequest(target), out=folder / "full.mbx", wheels=wheels)
        trusted, seeds = box_keys(box), KeyRing(box.home.keys).signers()
    first = open_verified(folder / "full.mbx", trusted)
    first.extract(folder / "unpacked", lambda name: name.startswith("runtime/mlops_edge/"))
    root = folder / "root"
    agent = [sys.executable, "-m", "mlops_edge"]
    for words in (["init", "--trust", trusted[first.signer].hex()], ["install", str(first.path)]):
        subprocess.run(
            [*agent, *words, "--root", str(root)],
            cwd=folder / "unpacked" / "runtime",
            check=True,
            capture_output=True,
        )
    device = Device(root, first, target, seeds)
    try:
        if not device.wait_last("confirm", 1):
            raise RuntimeError("the first version was not confirmed")
        yield device
    finally:
        device.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    machine, started_s = describe(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edge-lives-") as folder, device_of(Path(folder)) as device:
        gaps = {way: [way.live(device) for _ in range(options.times)] for way in WAYS}
    options.output.write_text(_report(gaps, machine, (time.monotonic() - started_s) / 60))
    if any(gap is None for found in gaps.values() for gap in found):
        raise SystemExit("a device did not come back, or not well")


def _report(gaps: Mapping[Way, list[float | None]], machine: str, minutes: float) -> str:
    rows = []
    for way, found in gaps.items():
        told = sorted(gap for gap in found if gap is not None)
        median, longest = (f"{told[at]:.2f} s" if told else "-" for at in (len(told) // 2, -1))
        rows.append([way.what, str(len(found)), str(len(found) - len(told)), median, longest])
    return (
        "# A device that serves while it is killed and updated\n\n"
        f"`python benchmarks/faults/edge_lives.py` ({minutes:.0f} minutes). {machine}\n\n"
        "Real runtime, wheels and model, `mlops-edge serve`; asked every 20 ms. The time is the longest without an answer, "
        "from the old version or the new good one.\n\n"
        + table(["What happens", "times", "not back within 30 s, or not well", "median", "longest"], rows)
        + "\n\nsystemd's part is played by the benchmark: an agent that was killed is started again at once (the unit says "
        "after one second, to be added).\n"
    )


if __name__ == "__main__":
    main()
