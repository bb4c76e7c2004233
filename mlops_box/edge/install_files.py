"""``install/`` of a full bundle: how a person puts it on a device, and how systemd runs it."""

from __future__ import annotations

from importlib import resources
from string import Template

from mlops_box.edge.bundle import Description
from mlops_box.units import format_size

README = "install/README.txt"
UNIT = "install/mlops-edge.service"
DEVICE_ROOT = "/var/lib/mlops-box-edge"  # systemd's StateDirectory, which a dynamic user owns
_HEADROOM_BYTES = 64_000_000


def install_files(described: Description, *, key_id: str, file: str) -> dict[str, bytes]:
    """Bundle path to content.

    Args:
        key_id: Of the key that the first install is verified with.
        file: The bundle's usual file name.
    """
    version = f"{described.model}@{described.number}"
    rss = described.limits.rss_bytes
    facts = {
        "version": version,
        "model": described.model,
        "target": described.target.name,
        "python": described.target.python,
        "glibc_min": described.target.glibc_min,
        "key_id": key_id,
        "file": file,
        "root": DEVICE_ROOT,
        "rss": format_size(rss),
        # The server, the self-test of the next version beside it, and the agent.
        "memory_max": str(2 * rss + _HEADROOM_BYTES),
    }
    folder = resources.files("mlops_box.edge") / "templates"
    return {
        name: Template((folder / name.removeprefix("install/")).read_text(encoding="utf-8"))
        .substitute(facts)
        .encode()
        for name in (README, UNIT)
    }
