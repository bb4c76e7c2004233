"""How a box's flow runs are told apart on a Prefect server that several boxes may share."""

from __future__ import annotations

from mlops_box.canonical import sha256_hex
from mlops_box.home import Home


def box_tag(home: Home) -> str:
    """The tag of every deployment and flow run of one box."""
    return f"mlops-box:{sha256_hex(str(home.root).encode())[:12]}"
