"""Where everything lies on a device: one folder, and every path in it."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import Refused

DEFAULT_ROOT = "/opt/mlops-box-edge"
ROOT_VARIABLE = "MLOPS_EDGE_HOME"
SLOTS = ("a", "b")


class Place:
    """The paths of a device. ``Place(root)`` reads and makes nothing.

    ``agent/mlops_edge`` is the agent itself, put there by ``init``; a bundle never replaces it. A slot's server runs
    from the runtime layer that its bundle names.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.state = self.root / "state.json"
        self.keys = self.root / "keys.json"
        self.device = self.root / "device.json"
        self.device_key = self.root / "device.key"
        self.agent = self.root / "agent"
        self.launcher = self.root / "bin" / "mlops-edge"
        self.slots = self.root / "slots"
        self.layers = self.root / "layers"
        self.staging = self.root / "staging"
        self.outbox = self.root / "outbox"
        self.run = self.root / "run"
        self.log = self.root / "log.db"
        self.server = self.run / "server.json"
        self.server_token = self.run / "server.token"
        self.tokens = self.root / "tokens.json"
        self.state_lock = self.run / "state.lock"
        self.install_lock = self.run / "install.lock"
        self.serve_lock = self.run / "serve.lock"

    def folders(self) -> tuple[Path, ...]:
        """Every folder that ``init`` makes."""
        return (
            self.slots,
            self.layers,
            self.staging,
            self.outbox,
            self.run,
            self.agent,
            self.launcher.parent,
        )

    def slot(self, name: str) -> Path:
        return self.slots / name

    def bundle(self, slot: str) -> Path:
        """The verified files of the bundle in a slot: ``manifest.json``, ``model/…``, ``install/…``."""
        return self.slots / slot / "bundle"

    def layer(self, digest: str) -> Path:
        """``mlops_edge/`` lies in a runtime layer, ``site/`` in a layer of wheels."""
        return self.layers / digest

    def require(self) -> Place:
        """Itself, if ``init`` has been here.

        Raises:
            Refused: It has not.
        """
        if not self.keys.exists():
            raise Refused(
                f"{self.root} is no device folder yet",
                hint=f"make one: mlops-edge init --root {self.root} --trust PUBLIC_KEY",
                rule="place.missing",
            )
        return self


def find_place(root: str | None = None) -> Place:
    """``root``, else ``$MLOPS_EDGE_HOME``, else ``/opt/mlops-box-edge``."""
    return Place(Path(root or os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT))
