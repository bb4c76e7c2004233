"""Parquet files as the relation ``source``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mlops_box.data.dialect import check_names
from mlops_box.data.engine import translated
from mlops_box.data.relation import Reject, Relation, describe, path_literal
from mlops_box.errors import SourceError


def open_parquet(connection: Any, paths: tuple[Path, ...]) -> Relation:
    """A view over the files; columns are matched by name.

    Raises:
        SourceError: A file is no Parquet, is damaged, or has columns that cannot be told apart.
    """
    for path in paths:
        try:
            schema = pq.read_schema(path)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise SourceError(f"{path} is no readable Parquet file: {reason}") from error
        check_names(list(schema.names), path)
    listed = ", ".join(path_literal(path) for path in paths)
    with translated(what=f"{paths[0].name} cannot be read"):
        connection.execute(f"CREATE VIEW source AS FROM read_parquet([{listed}], union_by_name = true)")
        return Relation("source", describe(connection, "source"), _no_rejects)


def _no_rejects() -> Iterator[Reject]:
    return iter(())
