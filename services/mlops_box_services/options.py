"""What a server was asked for, alike for the one process and for every worker."""

from __future__ import annotations

from dataclasses import dataclass

from mlops_box.home import Home


@dataclass(frozen=True)
class ServerOptions:
    """How to serve.

    Attributes:
        access_log: Write a line for every request.
    """

    home: Home
    access_log: bool = False
