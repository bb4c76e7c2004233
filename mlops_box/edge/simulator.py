"""A device's whole first day, played in a clean place: run as a script, standard library only, by the device's Python.

It is given an unpacked runtime and the bundles as a person would have them, makes a device folder, installs, starts the
agent as systemd would, asks for predictions, and prints what it measured as one line of JSON. Started in a network
namespace of its own, it brings the loopback up and sees nothing else.
"""

from __future__ import annotations

import argparse
import fcntl
import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_START_S = 60.0
_TURN_S = 30.0
_WARM_UP = 50
_REQUESTS = 1000
_STARTS = 3
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _UP = 0x8913, 0x8914, 0x1


class Failed(Exception):
    """A step that a device would not have survived; the text says which and why, ``rule`` what the agent calls it."""

    def __init__(self, text: str, rule: str = "") -> None:
        super().__init__(text)
        self.rule = rule


def main() -> None:
    options = _parser().parse_args()
    if options.loopback_up:
        _loopback_up()
    facts: dict[str, Any] = {"interfaces": sorted(name for _, name in socket.if_nameindex())}
    try:
        _live(options, facts)
    except Failed as failed:
        facts |= {"failed": str(failed), "rule": failed.rule}
    sys.stdout.write(json.dumps(facts) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runtime", required=True, help="The folder that holds mlops_edge/.")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--trust", required=True)
    parser.add_argument("--rows", type=Path, required=True, help="Rows to ask about, a JSON list.")
    parser.add_argument("--model", required=True)
    parser.add_argument("--loopback-up", action="store_true")
    parser.add_argument("bundles", nargs="+", help="Installed one after the other, while the agent runs.")
    return parser


def _live(options: argparse.Namespace, facts: dict[str, Any]) -> None:
    """Fill in ``facts`` as they become known, so that those before a failure are told as well."""
    root, first = options.root, options.bundles[0]
    agent = [sys.executable, "-s", "-m", "mlops_edge"]
    _run(
        [*agent, "init", "--root", str(root), "--trust", options.trust, "--json"],
        {"PYTHONPATH": options.runtime},
    )
    device = _Device(root)
    began = time.monotonic()
    device.act("install", first)
    facts |= {"install_s": time.monotonic() - began, "installed_bytes": _size(root)}
    rows = json.loads(options.rows.read_text(encoding="utf-8"))
    serving = device.serve()
    try:
        facts |= _measured(device, serving, options.model, rows)
        for bundle in options.bundles[1:]:
            facts |= _updated(device, bundle)
    finally:
        serving.send_signal(signal.SIGTERM)
        try:
            serving.wait(_START_S)
        except subprocess.TimeoutExpired:
            serving.kill()
    facts["server_start_s"] = min(_server_start(device, options.model, rows) for _ in range(_STARTS))


class _Device:
    """A device folder, and the commands that a person gives there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._launcher = str(root / "bin" / "mlops-edge")
        self._environment = _ENVIRONMENT | {"PATH": f"{Path(sys.executable).parent}:{_ENVIRONMENT['PATH']}"}

    def act(self, *words: str) -> dict[str, Any]:
        """One command's answer."""
        return _run([self._launcher, *words, "--json"], self._environment)

    def serve(self) -> subprocess.Popen[bytes]:
        log = (self.root / "run" / "journal.txt").open("wb")
        return subprocess.Popen(
            [self._launcher, "serve", "--port", "0", "--steady", "0.5", "--probation", "1"],
            env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip

    def journal(self) -> str:
        return (self.root / "run" / "journal.txt").read_text(errors="replace")[-1000:]

    def server(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads((self.root / "run" / "server.json").read_text())
        except (FileNotFoundError, ValueError):
            return None
        return found


def _measured(
    device: _Device, agent: subprocess.Popen[bytes], model: str, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """Cold start, memory, latency: from the start of ``serve``, with the golden test running beside, as it is."""
    began = time.monotonic()
    connection, row = _first_answer(device, agent, model, rows)
    facts: dict[str, Any] = {"cold_start_s": time.monotonic() - began}
    version = _confirmed(device)
    facts["confirmed"] = version
    times = []
    body = json.dumps({"rows": [row]})
    for turn in range(_WARM_UP + _REQUESTS):
        started = time.perf_counter()
        _ask(connection, model, body)
        if turn >= _WARM_UP:
            times.append(time.perf_counter() - started)
    times.sort()
    told = device.server() or {}
    return facts | {
        "requests": len(times),
        "p50_ms": times[len(times) // 2] * 1000,
        "p99_ms": times[len(times) * 99 // 100] * 1000,
        "server_rss_bytes": _memory(told.get("pid"), "Rss"),
        "server_pss_bytes": _memory(told.get("pid"), "Pss"),
        "agent_rss_bytes": _memory(agent.pid, "Rss"),
    }


def _first_answer(
    device: _Device, agent: subprocess.Popen[bytes], model: str, rows: list[dict[str, Any]]
) -> tuple[http.client.HTTPConnection, dict[str, Any]]:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if agent.poll() is not None:
            raise Failed(f"the agent ended with code {agent.returncode}: {device.journal()}")
        told = device.server()
        if told is not None:
            connection = http.client.HTTPConnection("127.0.0.1", told["port"], timeout=10)
            try:
                return connection, _accepted(connection, model, rows)
            except OSError:
                connection.close()
        time.sleep(0.002)
    raise Failed(f"no answer within {_START_S:.0f} s: {device.journal()}")


def _accepted(
    connection: http.client.HTTPConnection, model: str, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """The first row that keeps the contract: golden rows may have values that no request may have."""
    for row in rows:
        status, _ = _ask(connection, model, json.dumps({"rows": [row]}), strict=False)
        if status == 200:
            return row
        if status == 503:
            raise ConnectionError("not ready")
    raise Failed("no golden row is one that the contract lets in: nothing was measured")


def _ask(
    connection: http.client.HTTPConnection, model: str, body: str, *, strict: bool = True
) -> tuple[int, dict[str, Any]]:
    connection.request("POST", f"/models/{model}/predict", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    data = response.read()
    if strict and response.status != 200:
        raise Failed(f"HTTP {response.status}: {data[:300]!r}")
    return response.status, json.loads(data)


def _confirmed(device: _Device) -> str | None:
    """The version, once its trial is over; ``None`` when it does not end well."""
    deadline = time.monotonic() + _TURN_S
    while time.monotonic() < deadline:
        status = device.act("status")
        if status["trial"] is None:
            serving: str | None = status["serving"]
            return serving
        time.sleep(0.2)
    return None


def _server_start(device: _Device, model: str, rows: list[dict[str, Any]]) -> float:
    """Seconds from the start of the server alone, without the agent, to its first answer."""
    sys.path.insert(0, str(device.root / "agent"))
    from mlops_edge.launch import Runtime  # type: ignore[import-not-found]
    from mlops_edge.place import Place  # type: ignore[import-not-found]
    from mlops_edge.slots import read_slot  # type: ignore[import-not-found]
    from mlops_edge.state import load  # type: ignore[import-not-found]

    place = Place(device.root)
    name = load(place).serving
    runtime = Runtime.of(place, read_slot(place, name))
    place.server.unlink(missing_ok=True)
    where = ["--root", str(device.root), "--slot", name, "--host", "127.0.0.1", "--port", "0"]
    began = time.monotonic()
    with subprocess.Popen(
        runtime.command("mlops_edge.server", *where),
        cwd=runtime.runtime,
        env=runtime.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            _first_answer(device, server, model, rows)
            return time.monotonic() - began
        finally:
            server.terminate()


def _updated(device: _Device, bundle: str) -> dict[str, Any]:
    """Install beside the running version; how long that took, and whether the server stayed the same process."""
    before, began = device.server() or {}, time.monotonic()
    device.act("install", bundle)
    version = _confirmed(device)
    after = device.server() or {}
    return {
        "update_s": time.monotonic() - began,
        "updated_to": version,
        "in_place": before.get("pid") == after.get("pid"),
    }


def _run(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """A command's answer in JSON; raises :class:`Failed` with the agent's own words."""
    done = subprocess.run(
        command,
        env=_ENVIRONMENT | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise Failed(f"{command[-2]}: {(done.stderr or done.stdout).strip()[-1000:]}") from None
    if "error" in answer:
        raise Failed(answer["error"]["message"], answer["error"]["rule"])
    return answer


def _memory(pid: int | None, kind: str) -> int | None:
    """``Rss`` or ``Pss`` of a process in bytes."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    line = next(line for line in text.splitlines() if line.startswith(f"{kind}:"))
    return int(line.split()[1]) * 1024


def _size(folder: Path) -> int:
    return sum(os.lstat(Path(place) / name).st_size for place, _, names in os.walk(folder) for name in names)


def _loopback_up() -> None:
    """What ``ip link set lo up`` does; a new network namespace has it down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        request = struct.pack("16sH22x", b"lo", 0)
        flags = struct.unpack("16sH22x", fcntl.ioctl(channel, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(channel, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _UP))


if __name__ == "__main__":
    main()
