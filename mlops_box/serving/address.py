"""Where the inference server listens: written by the server when it is ready, read by everybody else."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mlops_box.files import write_whole

ADDRESS_FILE = "server.json"


@dataclass(frozen=True)
class ServerAddress:
    """A server's socket and process."""

    host: str
    port: int
    pid: int

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

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
            return ServerAddress(str(raw["host"]), int(raw["port"]), int(raw["pid"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
