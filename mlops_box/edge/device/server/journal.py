"""Lines for the journal: standard error, which systemd keeps."""

from __future__ import annotations

import sys


def tell(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def tell_failure(line: str) -> None:
    """With the traceback of the exception that is being handled."""
    import traceback

    tell(f"{line}\n{traceback.format_exc()}")
