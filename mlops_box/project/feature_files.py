"""``features/*.sql``: the SQL of a feature view, and the view itself where a header of comments declares it.

::

    -- entity: card_id
    -- time: happened_at
    -- ttl: 7d
    -- defaults: { spend_1h = 0.0 }
    select card_id, happened_at, sum(amount) over last_hour as spend_1h from tx window last_hour as (...)
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mlops_box.errors import ProjectError
from mlops_box.project.features import Features, FeatureView

FOLDER = "features"
_HEADER = re.compile(r"^--\s*(?P<key>[a-z][a-z_]*)\s*:\s*(?P<value>.*?)\s*$")
_KEYS = frozenset(FeatureView.model_fields) - {"sql", "file"}
_LISTS = ("entity",)


def with_sql_files(features: Features, folder: Path) -> Features:
    """The same with every view's SQL in it, and with the views that files declare by themselves.

    Raises:
        ProjectError: A file is missing, lies outside the project, or has a header that says nothing or too much.
    """
    views = {name: _with_text(name, view, folder) for name, view in features.views.items()}
    named = {(folder / view.file).resolve() for view in views.values() if view.file}
    for path in sorted((folder / FOLDER).glob("*.sql")):
        if path.resolve() in named:
            continue
        if path.stem in features.views:
            raise ProjectError(
                f"{_shown(path, folder)} and [features.views.{path.stem}] declare the same view",
                hint=f'keep one: sql = "{_shown(path, folder)}" in mlops.toml, or the header in the file',
            )
        views[path.stem] = _declared_in(path, folder)
    if views == features.views:
        return features
    try:
        return Features.model_validate(dict(features) | {"views": views})
    except ValidationError as error:
        raise ProjectError(f"{folder / FOLDER}: {_reason(error)}", hint="rename the file") from None


def header_line(text: str, key: str) -> int | None:
    """The line (from 1) of a view's SQL where its header says ``key``, or begins; ``None`` where there is no header."""
    header = _header(text)
    first = next(iter(header.values()), None)
    return header.get(key, first)[0] if first is not None else None


def _with_text(name: str, view: FeatureView, folder: Path) -> FeatureView:
    if view.file is None:
        return view
    path = folder / view.file
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ProjectError(
            f"[features.views.{name}] reads {view.file}, which lies outside the project",
            hint="copy it into features/",
        )
    text = _read(path)
    if header := _header(text):
        raise ProjectError(
            f"{_shown(path, folder)}, line {next(iter(header.values()))[0]}: mlops.toml declares this view already",
            hint="say it there, or take the view out of mlops.toml",
        )
    return view.model_copy(update={"sql": text})


def _declared_in(path: Path, folder: Path) -> FeatureView:
    text, shown = _read(path), _shown(path, folder)
    header = _header(text)
    if not header:
        raise ProjectError(
            f"{shown} declares no view and none in mlops.toml names it",
            hint="begin it with comments: -- entity: COLUMN and -- time: COLUMN",
        )
    values: dict[str, Any] = {}
    for key, (line, value) in header.items():
        if key not in _KEYS:
            raise ProjectError(
                f"{shown}, line {line}: unknown key {key!r}", hint=f"known are {', '.join(sorted(_KEYS))}"
            )
        values[key] = _value(key, value, where=f"{shown}, line {line}")
    try:
        return FeatureView.model_validate(values | {"sql": text, "file": shown})
    except ValidationError as error:
        key = _key_of(error, header)
        line = header[key][0] if key in header else 1
        raise ProjectError(
            f"{shown}, line {line}: {_reason(error, key)}", hint="mlops-box schema prints every key"
        ) from None


def _header(text: str) -> dict[str, tuple[int, str]]:
    """Key to (line from 1, text) of the comments before the first statement."""
    found: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.startswith("--"):
            break
        if match := _HEADER.match(line):
            found[match["key"]] = (number, match["value"])
    return found


def _value(key: str, text: str, *, where: str) -> Any:
    if key in _LISTS and not text.startswith("["):
        return [part.strip() for part in text.split(",")]
    if text.startswith(("[", "{")):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise ProjectError(f"{where}: {key} is no TOML value: {error}") from None
    return text


def _key_of(error: ValidationError, header: dict[str, Any]) -> str:
    """The key that is wrong: one that is written before one that is missing."""
    keys = [str(next(iter(problem["loc"]), "")) for problem in error.errors()]
    return next((key for key in keys if key in header), keys[0])


def _reason(error: ValidationError, key: str = "") -> str:
    first = next((problem for problem in error.errors() if key in problem["loc"]), error.errors()[0])
    key = ".".join(str(part) for part in first["loc"])
    said = "is missing" if first["type"] == "missing" else first["msg"].removeprefix("Value error, ")
    return f"{key}: {said}" if key else said


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _shown(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
