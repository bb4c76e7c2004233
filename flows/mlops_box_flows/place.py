"""Which Prefect API a flow that runs in place reports to."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from mlops_box.errors import ExitCode, UnavailableError
from mlops_box.home import Home
from mlops_box.operations.locks import held
from mlops_box.operations.prefect_env import (
    PrefectServer,
    answers,
    api_secret,
    external_api,
    external_environment,
    free_port,
    own_environment,
    read_server,
)
from mlops_box.progress import Progress
from mlops_box_flows.server import USERS_LOCK

START_TIMEOUT_S = 120.0  # 3 s warm, 9 s on a fresh home with an idle machine; a loaded one takes far longer


@contextlib.contextmanager
def prefect_api(home: Home, progress: Progress) -> Iterator[dict[str, str]]:
    """The environment for Prefect, with a server that answers behind it, for the block.

    The user's server where ``PREFECT_API_URL`` names one; else the box's running server; else one that is started
    now, shared with other flows that run in place meanwhile, and gone after the last of them.

    Raises:
        UnavailableError: The user's server does not answer, or no server could be started.
    """
    url = external_api(os.environ)
    if url is not None:
        if not answers(f"{url.rstrip('/')}/health", timeout_s=10.0):
            raise UnavailableError(
                f"PREFECT_API_URL does not answer: {url}", hint="start that server, or unset PREFECT_API_URL"
            )
        yield external_environment(os.environ)
        return
    with held(home.run / USERS_LOCK, shared=True):
        server = _running(home) or _start(home, progress)
        yield own_environment(home, port=server.port, secret=api_secret(home), environ=os.environ)


def _running(home: Home) -> PrefectServer | None:
    server = read_server(home)
    return server if server is not None and server.is_healthy(timeout_s=10.0) else None


def _start(home: Home, progress: Progress) -> PrefectServer:
    progress.begin("starting Prefect")
    log = home.logs / "prefect-in-place.log"
    deadline = time.monotonic() + START_TIMEOUT_S
    process: subprocess.Popen[bytes] | None = None
    try:
        while time.monotonic() < deadline:
            if (server := _running(home)) is not None:
                return server
            if process is None or process.poll() is not None:
                # Busy: another process was faster, or an old server is still going down.
                if process is not None and process.returncode != ExitCode.BUSY:
                    break
                process = _spawn(home, log)
            time.sleep(0.1)
    finally:
        progress.end()
    if process is not None and process.poll() is None:
        process.terminate()
    raise UnavailableError("the box's Prefect server did not start", hint=f"see {log}, and mlops-box doctor")


def _spawn(home: Home, log: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "mlops_box_flows.server",
        "--home", str(home.root), "--port", str(free_port()), "--while-used",
    ]  # fmt: skip
    with log.open("wb") as output:
        # Its own session: Ctrl-C in the terminal must reach the flow, not the server it reports to.
        return subprocess.Popen(
            command,
            cwd=home.run,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
