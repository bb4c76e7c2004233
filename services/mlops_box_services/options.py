"""What a server was asked for, alike for the one process and for every worker."""

from __future__ import annotations

from dataclasses import dataclass

from mlops_box.home import Home
from mlops_box.serving.access import LOOPBACK_ONLY, Access


@dataclass(frozen=True)
class ServerOptions:
    """How to serve.

    Attributes:
        access_log: Write a line for every request.
        access: Who can reach it, by which names, and whether it asks for tokens.
        grpc: Address and port where gRPC listens too, which is reserved; ``None`` for HTTP only.
    """

    home: Home
    access_log: bool = False
    access: Access = LOOPBACK_ONLY
    grpc: tuple[str, int] | None = None
