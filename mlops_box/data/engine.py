"""DuckDB as a locked-down engine: in memory, allowed to read the named files and nothing else.

Files are allowed first, then outside access is switched off, then the configuration is locked: in this order no SQL
of a user reaches another file, the network, an extension or a setting (DuckDB 2.0 "Securing DuckDB").
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb

from mlops_box.errors import SourceError, StorageError

MEMORY_LIMIT = "1GB"
TEMP_LIMIT = "20GB"
MAX_THREADS = 4


@contextlib.contextmanager
def engine(*, scratch: Path, files: Sequence[Path] = (), memory_limit: str = MEMORY_LIMIT) -> Iterator[Any]:
    """A fresh connection, closed at the end of the block.

    Args:
        scratch: A folder for what does not fit into memory.
        files: The only files that may be read.
        memory_limit: DuckDB's own bound, for example ``"512MB"``.

    Raises:
        SourceError: Whatever DuckDB finds wrong with the data or the query, in its words.
        StorageError: Memory or disk are not enough.
    """
    connection = duckdb.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": memory_limit,
            "max_temp_directory_size": TEMP_LIMIT,
            "temp_directory": str(scratch),
            "threads": min(MAX_THREADS, os.cpu_count() or 1),
        },
    )
    with contextlib.closing(connection), translated():
        # A user's SQL could otherwise name variables of our own Python frames as tables.
        connection.execute("SET python_enable_replacements = false")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")
        # Parquet statistics leave NaN out; DuckDB 2.0 concludes from them that isnan() is false for a whole column.
        connection.execute("SET disabled_optimizers = 'statistics_propagation'")
        connection.execute("SET allowed_paths = $paths", {"paths": [str(path) for path in files]})
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection


@contextlib.contextmanager
def translated(*, what: str = "the data cannot be read", view: str = "source") -> Iterator[None]:
    """DuckDB's errors as ours; ``view`` is what a query may read."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise StorageError(
            f"{what}: not enough memory or scratch space: {readable(error)}",
            hint="free some space, or reduce the data with a query under [data]",
        ) from error
    except duckdb.PermissionException as error:
        raise SourceError(
            f"{what}: {readable(error)}",
            hint=f"a query may read the view `{view}` and nothing else: no other files, network or settings",
        ) from error
    except duckdb.Error as error:
        raise SourceError(f"{what}: {readable(error)}") from error


def readable(error: Exception) -> str:
    """DuckDB's message without its prefix and its advice for other callers."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    for prefix in ("Binder Error: ", "Parser Error: ", "Catalog Error: ", "Invalid Input Error: ",
                   "Permission Error: ", "Conversion Error: ", "IO Error: "):  # fmt: skip
        first = first.removeprefix(prefix)
    extra = [line for line in lines[1:] if line.startswith(("Candidate", "Did you mean"))]
    return " ".join([first, *extra])[:600]
