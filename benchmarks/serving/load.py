"""One measurement: keep-alive connections that ask without pause, by ``wrk`` or, where it is absent, by asyncio."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


@dataclass(frozen=True)
class Sample:
    """Requests a second, latencies in ms, and answers that were no 2xx."""

    rate: float
    p50_ms: float
    p99_ms: float
    requests: int
    errors: int


def tool() -> str:
    return (
        "wrk"
        if shutil.which("wrk")
        else "an asyncio client on uvloop (wrk is not installed; it takes about half of a core)"
    )


def measure(
    url: str, body: bytes, *, connections: int, duration_s: float, content_type: str = "application/json"
) -> Sample:
    if shutil.which("wrk"):
        return _wrk(url, body, connections, duration_s, content_type)
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_asyncio(url, body, connections, duration_s, content_type))


def _wrk(url: str, body: bytes, connections: int, duration_s: float, content_type: str) -> Sample:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "post.lua"
        script.write_text(
            f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "{content_type}"\n'
            + 'wrk.body = "'
            + "".join(map("\\{:03d}".format, body))
            + '"\n'
        )
        command = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{duration_s:g}s",
            "--latency",
            "-s",
            str(script),
            url,
        ]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def latency(percent: str) -> float:
        found = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s|m)\b", text)
        return float(found[1]) * _UNITS[found[2]] if found else float("nan")

    requests = re.search(r"(\d+) requests in", text)
    errors = sum(int(count) for count in re.findall(r"(?:connect|read|write|timeout) (\d+)", text))
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    return Sample(
        float(rate[1]) if rate else 0.0, latency("50"), latency("99"),
        int(requests[1]) if requests else 0, errors + (int(bad[1]) if bad else 0),
    )  # fmt: skip


class _Client(asyncio.Protocol):
    """One connection that sends the next request as soon as it has an answer."""

    def __init__(self, request: bytes, deadline_s: float, done: asyncio.Future[None]):
        self._request = request
        self._deadline_s = deadline_s
        self._done = done
        self._buffer = b""
        self.latencies_ms: list[float] = []
        self.errors = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._buffer, 0, end)
        size = int(length[1]) if length else 0
        if len(self._buffer) < end + 4 + size:
            return
        now = time.perf_counter()
        self.latencies_ms.append((now - self._started) * 1000)
        self.errors += self._buffer[9:12] != b"200"
        self._buffer = b""
        if now < self._deadline_s:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if time.perf_counter() < self._deadline_s:
            self.errors += 1
        if not self._done.done():
            self._done.set_result(None)

    def _send(self) -> None:
        self._started = time.perf_counter()
        self._transport.write(self._request)


async def _asyncio(url: str, body: bytes, connections: int, duration_s: float, content_type: str) -> Sample:
    place = urlsplit(url)
    head = (
        f"POST {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body
    loop = asyncio.get_running_loop()
    start = time.perf_counter()
    clients, ends = [], []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        client = _Client(request, start + duration_s, done)
        await loop.create_connection(lambda client=client: client, place.hostname, place.port)
        clients.append(client)
        ends.append(done)
    await asyncio.gather(*ends)
    elapsed_s = time.perf_counter() - start
    latencies = sorted(value for client in clients for value in client.latencies_ms)
    count = len(latencies)
    errors = sum(client.errors for client in clients)
    return Sample(count / elapsed_s, latencies[count // 2], latencies[int(count * 0.99)], count, errors)
