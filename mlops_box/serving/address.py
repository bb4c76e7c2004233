"""Where the inference server listens: written by the server when it is ready, read by everybody else."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from mlops_box.objects import sync_folder

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
        temporary = folder / f".tmp-{ADDRESS_FILE}-{os.getpid()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(self), file)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, folder / ADDRESS_FILE)
        sync_folder(folder)

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
