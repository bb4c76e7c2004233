"""Where the inference server listens: written by the server when it is ready, read by everybody else."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mlops_box.files import write_whole

ADDRESS_FILE = "server.json"


def http_url(host: str, port: int) -> str:
    """``http://host:port``, IPv6 in brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@dataclass(frozen=True)
class ServerAddress:
    """A server's sockets and process.

    Attributes:
        grpc_port: Where it speaks gRPC on the same host; ``None`` when it does not.
    """

    host: str
    port: int
    pid: int
    grpc_port: int | None = None

    @property
    def url(self) -> str:
        return http_url(self.host, self.port)

    @property
    def grpc_target(self) -> str | None:
        """``host:port`` for gRPC clients."""
        if self.grpc_port is None:
            return None
        return f"[{self.host}]:{self.grpc_port}" if ":" in self.host else f"{self.host}:{self.grpc_port}"

    def write(self, folder: Path) -> None:
        """Publish under ``folder`` (``home.run``), whole or not at all."""
        write_whole(folder / ADDRESS_FILE, json.dumps(asdict(self)).encode(), private=True)

    def remove(self, folder: Path) -> None:
        """Withdraw it, unless another server has published its own meanwhile."""
        if ServerAddress.read(folder) == self:
            (folder / ADDRESS_FILE).unlink(missing_ok=True)

    @staticmethod
    def read(folder: Path) -> ServerAddress | None:
        """The address that was published last; its server may be gone. ``None`` when there is none."""
        try:
            raw = json.loads((folder / ADDRESS_FILE).read_text())
            grpc_port = raw.get("grpc_port")
            return ServerAddress(
                str(raw["host"]),
                int(raw["port"]),
                int(raw["pid"]),
                int(grpc_port) if grpc_port is not None else None,
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
