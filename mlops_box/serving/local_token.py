"""The token of the box's own processes: made at every start of a server that asks for tokens, read by its own clients.

It lies with mode 0600 in the box's home, mode 0700: who can read it could read and change box.db as well.
"""

from __future__ import annotations

from pathlib import Path

from mlops_box.files import write_whole
from mlops_box.serving.bearer import new_token, read_token

_FILE = "server.token"


def make_local_token(run_folder: Path) -> str:
    """A new one, published under ``home.run``; the one before is good no longer."""
    text = new_token()
    write_whole(run_folder / _FILE, text.encode(), private=True)
    return text


def local_token(run_folder: Path) -> str | None:
    """The one that was published last; ``None`` where no server asks for tokens."""
    try:
        text = (run_folder / _FILE).read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    return text if read_token(text.encode()) is not None else None


def remove_local_token(run_folder: Path) -> None:
    (run_folder / _FILE).unlink(missing_ok=True)
