"""Where a view is written, for errors: its SQL and its keys, in ``mlops.toml`` or in ``features/*.sql``."""

from __future__ import annotations

from mlops_box.features.sql_check import Place
from mlops_box.project import PROJECT_FILE, LoadedProject
from mlops_box.project.feature_files import header_line
from mlops_box.project.load import line_of_key, text_of_project


def place_of_sql(project: LoadedProject, view: str) -> Place:
    """Where the SQL of a view begins."""
    declared = project.declaration.features.views[view]
    if declared.file:
        return Place(declared.file)
    line = line_of_key(project.folder, "features", "views", view, "sql") or 1
    written = text_of_project(project.folder).splitlines()[line - 1 : line]
    # TOML drops the line end after the opening quotes.
    opens = any(text.rstrip().endswith(('"""', "'''")) for text in written)
    return Place(PROJECT_FILE, line + int(opens))


def place_of_key(project: LoadedProject, view: str, key: str) -> Place:
    """Where a key of a view is written."""
    declared = project.declaration.features.views[view]
    headed = header_line(declared.sql or "", key) if declared.file else None
    if declared.file and headed is not None:
        return Place(declared.file, headed)
    return Place(PROJECT_FILE, line_of_key(project.folder, "features", "views", view, key) or 1)


def place_of_source(project: LoadedProject, source: str, key: str) -> Place:
    """Where a key of a source is written."""
    return Place(PROJECT_FILE, line_of_key(project.folder, "features", "sources", source, key) or 1)
