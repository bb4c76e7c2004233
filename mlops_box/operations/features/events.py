"""The events of some entities: of the project's files, and pushed ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlops_box.box import Box

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_box.features.definition import Definition


def events_of(box: Box, definition: Definition, entities: pa.Table, *, scratch: Path) -> dict[str, pa.Table]:
    """By source: all events of the entities, by the definition's own declaration of its sources.

    Args:
        box: Knows the project whose files hold the events, and what was pushed.
        definition: Whose sources are read.
        entities: Its entity columns, in their types.
        scratch: For what is read.

    Raises:
        NotFoundError: The project is unknown.
        SourceError: A source cannot be read.
        StorageError: Memory or scratch space are not enough.
    """
    from mlops_box.data.engine import engine, translated
    from mlops_box.data.relation import path_literal
    from mlops_box.features.sources import declaration_of, read_source, with_pushed
    from mlops_box.features.workspace import matched

    project = box.projects.get(definition.project).folder
    found = {}
    for source in definition.sources:
        read = read_source(source.name, declaration_of(source), folder=project, scratch=scratch)
        pushed = box.feature_archive.pushed(definition, source)
        files = with_pushed(source, read.events, pushed, scratch=scratch)
        with engine(scratch=scratch, files=files) as connection, translated():
            connection.register("wanted_entities", entities)
            relation = f"read_parquet([{', '.join(path_literal(file) for file in files)}])"
            sql = f"SELECT e.* FROM {relation} AS e SEMI JOIN wanted_entities AS w ON {matched(definition.keys, 'e', 'w')}"
            found[source.name] = connection.sql(sql).to_arrow_table()
    return found
