"""Giving free pages of a SQLite file back to the file system."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pysqlite3.dbapi2 as sqlite


def compact(path: Path, *, min_free_bytes: int, timeout_s: float = 2.0) -> int:
    """``VACUUM`` a SQLite file when it holds much free space and nobody is using it right now.

    Args:
        path: The file; absent is fine.
        min_free_bytes: Less free space than this is left alone.
        timeout_s: How long to wait for others; when they do not let go, nothing is done.

    Returns:
        The bytes given back; 0 when there was nothing to do or the file was in use.
    """
    if not path.exists():
        return 0
    before = path.stat().st_size
    with contextlib.closing(
        sqlite.connect(
            f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=timeout_s, isolation_level=None
        )
    ) as connection:
        try:
            free_pages = connection.execute("PRAGMA freelist_count").fetchone()[0]
            page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
            if free_pages * page_bytes < min_free_bytes:
                return 0
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite.OperationalError:
            return 0
    return max(0, before - path.stat().st_size)
