"""The complete environment of every Prefect process of a box, and where its Prefect server listens.

Prefect reads settings from the environment, then from ``.env``, ``prefect.toml`` and ``pyproject.toml`` in the working
directory, then from a profile in the user's home. Only the environment wins over all of them: every process is
started with this whole block, and the user's own Prefect is neither read nor written.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlops_box.errors import StorageError
from mlops_box.home import Home
from mlops_box.runs import Owner

LOOPBACK = "127.0.0.1"
# Set beside PREFECT_API_URL when that URL is the box's own and not the user's.
OWN_API = "MLOPS_BOX_OWN_PREFECT"
SECRET_FILE = "prefect.secret"

# Telemetry of Prefect, BentoML and whylogs; BentoML knows only the word "true".
TELEMETRY_OFF = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "BENTOML_DO_NOT_TRACK": "true",
    "WHYLOGS_NO_ANALYTICS": "1",
}


@dataclass(frozen=True)
class PrefectServer:
    """A Prefect server of this box: its port and the process that owns it."""

    port: int
    owner: Owner

    @property
    def api_url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}/api"

    def is_alive(self) -> bool:
        return self.owner.is_alive()

    def is_healthy(self, *, timeout_s: float = 2.0) -> bool:
        return answers(f"{self.api_url}/health", timeout_s=timeout_s)


def external_api(environ: Mapping[str, str]) -> str | None:
    """The Prefect API that the user named with ``PREFECT_API_URL``; ``None`` when the box uses its own."""
    if environ.get(OWN_API):
        return None
    return environ.get("PREFECT_API_URL") or None


def external_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The user's own Prefect settings, untouched, with telemetry off."""
    return {**environ, **TELEMETRY_OFF}


def own_environment(home: Home, *, port: int, secret: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a Prefect process of this box.

    Args:
        home: The box.
        port: Where the box's Prefect server listens on 127.0.0.1.
        secret: The shared secret of server and clients, see :func:`api_secret`.
        environ: What to start from; its ``PREFECT_*`` variables are dropped.
    """
    kept = {name: value for name, value in environ.items() if not name.startswith("PREFECT_")}
    folder = home.prefect
    url = f"http://{LOOPBACK}:{port}"
    prefect = {
        "PREFECT_HOME": str(folder),
        "PREFECT_PROFILES_PATH": str(folder / "profiles.toml"),
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_SERVER_API_HOST": LOOPBACK,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_API_AUTH_STRING": f"box:{secret}",
        "PREFECT_API_AUTH_STRING": f"box:{secret}",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder}/prefect.db",
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": url,
        # Leases in memory are lost with the server, and every long run dies at its next renewal.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION": "60",
        # A horizon of one run: after a night without power, nothing is replayed in a burst.
        "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "1",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_RUNS": "1",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT0S",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": "2592000",
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P2D",
        "PREFECT_SERVER_LOGS_STREAM_OUT_ENABLED": "true",
        "PREFECT_SERVER_LOGS_STREAM_PUBLISHING_ENABLED": "true",
        "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.5",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        # A restart of the server takes seconds; with fewer tries a finished training ends as failed.
        "PREFECT_CLIENT_MAX_RETRIES": "12",
        "PREFECT_RUNNER_POLL_FREQUENCY": "2",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "60",
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(folder / "storage"),
        OWN_API: "1",
        "MLOPS_BOX_HOME": str(home.root),
    }
    return {**kept, **prefect, **TELEMETRY_OFF}


def api_secret(home: Home) -> str:
    """The secret between the box's Prefect server and its clients; made once, mode 0600.

    Raises:
        StorageError: It cannot be made or read.
    """
    path = home.keys / SECRET_FILE
    try:
        if not path.exists():
            _create_once(path, secrets.token_urlsafe(32))
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise StorageError(
            f"{path} cannot be read or made: {error.strerror}", hint="see that it belongs to you, mode 0600"
        ) from error


def _create_once(path: Path, text: str) -> None:
    """Write a file that is whole when it appears; where two processes race, the first one's stays."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(FileExistsError):
        os.link(temporary, path)
    temporary.unlink()


def write_server(home: Home, server: PrefectServer) -> None:
    """Announce a running Prefect server to the other processes of this box."""
    owner = server.owner
    body = {"port": server.port, "pid": owner.pid, "pid_started": owner.pid_started, "boot_id": owner.boot_id}
    path = home.run / "prefect.json"
    temporary = path.with_name(f".prefect.json.{owner.pid}")
    temporary.write_text(json.dumps(body), encoding="utf-8")
    temporary.replace(path)


def read_server(home: Home) -> PrefectServer | None:
    """The box's Prefect server, if its process lives; it may not answer yet, or any more."""
    try:
        body = json.loads((home.run / "prefect.json").read_text(encoding="utf-8"))
        owner = Owner(int(body["pid"]), float(body["pid_started"]), str(body["boot_id"]))
        server = PrefectServer(int(body["port"]), owner)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return server if server.is_alive() else None


def answers(url: str, *, timeout_s: float = 2.0) -> bool:
    """Whether a GET on a loopback URL is answered with a status below 400; proxies are not asked."""
    # Whoever only wants to know where Prefect is does without HTTP.
    import urllib.error
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout_s) as response:
            return bool(response.status < 400)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except (OSError, OverflowError):
            return False
    return True
