"""Reading ``mlops.toml``: errors name file, line and key, and suggest the nearest known key."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from mlops_box.canonical import digest_of
from mlops_box.errors import ProjectError
from mlops_box.project.declaration import BATCH_KEYS, Contract, Gates, Project
from mlops_box.project.feature_files import with_sql_files

PROJECT_FILE = "mlops.toml"
_TABLE = re.compile(r"^\s*\[\[?\s*(?P<name>[^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(
    r"""^\s*(?P<key>(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+))*)\s*="""
)
_PART = re.compile(r""""([^"]*)"|'([^']*)'|([^.\s"']+)""")


@dataclass(frozen=True)
class LoadedProject:
    """A declaration and the folder it was read from."""

    folder: Path
    declaration: Project

    @property
    def name(self) -> str:
        return self.declaration.name

    @property
    def model_name(self) -> str:
        return self.declaration.model_name

    @property
    def digest(self) -> str:
        """Changes when, and only when, the meaning of the declaration changes."""
        return digest_of(self.declaration.model_dump(mode="json", by_alias=True))


def load_project(path: Path) -> LoadedProject:
    """Read a project from its folder or its ``mlops.toml``.

    Raises:
        ProjectError: Missing, unreadable, no TOML, an unknown key, or a wrong value.
    """
    file = path / PROJECT_FILE if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ProjectError(
            f"there is no {file}",
            hint="go to a project's folder, name it with --project, or make one: mlops-box init",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"{file} cannot be read: {error}") from error
    folder = file.parent.absolute()
    declaration = parse_project(text, file=str(file))
    features = with_sql_files(declaration.features, folder)
    return LoadedProject(folder, declaration.model_copy(update={"features": features}))


def parse_project(text: str, *, file: str = PROJECT_FILE) -> Project:
    """Read a declaration from its text; ``file`` only names it in errors.

    Raises:
        ProjectError: See :func:`load_project`.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProjectError(f"{file} is no valid TOML: {error}", hint="see https://toml.io") from error
    try:
        return Project.model_validate(raw)
    except ValidationError as error:
        # A misspelt key is the likelier cause of a missing one: it comes first.
        found = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        problems = [_explain(problem, raw, text, file) for problem in found]
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ProjectError(
            first["message"] + more,
            hint=first["hint"],
            details={"problems": [item["message"] for item in problems]},
        ) from error


def text_of_project(folder: Path) -> str:
    """The text of a project's ``mlops.toml``; nothing where it cannot be read (any more)."""
    try:
        return (folder / PROJECT_FILE).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return ""


def line_of_key(folder: Path, *path: str) -> int | None:
    """The line (from 1) of a project's ``mlops.toml`` where a key, or the nearest table around it, is written."""
    return _line_of(list(path), text_of_project(folder))


def json_schema() -> dict[str, Any]:
    """JSON Schema of ``mlops.toml``, for editors; made from the model that validates it."""
    schema = Project.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    definitions["Gates"]["properties"]["slice"]["anyOf"] = [
        {"$ref": "#/$defs/SliceGate"},
        {"type": "array", "items": {"$ref": "#/$defs/SliceGate"}},
    ]
    for key in ("type", "items"):
        definitions["Gates"]["properties"]["slice"].pop(key, None)
    # In the file, columns and metrics stand beside the fixed keys of their table.
    for name, field, value in (("Contract", "columns", "ColumnRule"), ("Gates", "metrics", "MetricGate")):
        definitions[name]["additionalProperties"] = {"$ref": f"#/$defs/{value}"}
        definitions[name]["properties"].get(field, {}).setdefault(
            "description", "For names that are also fixed keys."
        )
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "mlops.toml"}


def _explain(problem: Any, raw: dict[str, Any], text: str, file: str) -> dict[str, str]:
    path = _path_in_file([part for part in problem["loc"] if isinstance(part, str)], raw)
    line = _line_of(path, text)
    where = f"{file}, line {line}" if line else file
    dotted = ".".join(path)
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(path[-1], _known_keys(path[:-1]), n=1)
        hint = (
            f"did you mean {near[0]!r}?"
            if near
            else f"known here: {', '.join(sorted(_known_keys(path[:-1])))}"
        )
        return {"message": f"{where}: unknown key {dotted!r}", "hint": hint}
    if problem["type"] == "missing":
        hint = f"add {path[-1]} to [{'.'.join(path[:-1])}]" if path[:-1] else f"add a table [{path[-1]}]"
        return {"message": f"{where}: {dotted!r} is missing", "hint": hint}
    if problem["type"] in ("model_type", "dict_type"):
        return _no_table(path, where, dotted)
    reason = problem["msg"].removeprefix("Value error, ")
    value = problem.get("input")
    shown = "" if isinstance(value, dict | list) else f" (it is {json.dumps(value, default=str)})"
    return {
        "message": f"{where}: {dotted}: {reason}{shown}",
        "hint": "mlops-box schema prints every key and what it may be",
    }


def _no_table(path: list[str], where: str, dotted: str) -> dict[str, str]:
    """A plain value where a table belongs: under [data.contract] and [gates] mostly a misspelt fixed key."""
    fixed = {("data", "contract"): BATCH_KEYS, ("gates",): ("champion", "slice")}.get(tuple(path[:-1]), ())
    near = difflib.get_close_matches(path[-1], fixed, n=1)
    if near:
        return {"message": f"{where}: unknown key {dotted!r}", "hint": f"did you mean {near[0]!r}?"}
    form = {
        ("data", "contract"): f'a column\'s rule is a table: {path[-1]} = {{ type = "double", min = 0 }}',
        ("gates",): f"a metric's bounds are a table: {path[-1]} = {{ max = 70 }}",
    }.get(tuple(path[:-1]), f"write [{dotted}] on a line of its own and the keys below it")
    return {"message": f"{where}: {dotted} must be a table", "hint": form}


def _path_in_file(path: list[str], raw: dict[str, Any]) -> list[str]:
    """Drop the parts that validation added: gathered tables and names of union members."""
    found: list[str] = []
    value: Any = raw
    for index, part in enumerate(path):
        if isinstance(value, dict):
            following = path[index + 1] if index + 1 < len(path) else None
            inner = value.get(part)
            # Written beside the fixed keys of its table, and gathered from there.
            gathered = (
                part in ("columns", "metrics") and following in value and following not in (inner or {})
            )
            if gathered or (part not in value and (part in ("columns", "metrics") or following is not None)):
                continue
        found.append(part)
        value = value.get(part) if isinstance(value, dict) else None
    return found


def _line_of(path: list[str], text: str) -> int | None:
    """The line (from 1) where ``path``, or the nearest table around it, is written."""
    best: tuple[int, int] | None = None
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TABLE.match(line):
            table = _parts(header["name"])
            here = table
        elif key := _KEY.match(line):
            here = table + _parts(key["key"])
        else:
            continue
        if here == path[: len(here)] and (best is None or len(here) > best[0]):
            best = (len(here), number)
    return best[1] if best else None


def _parts(dotted: str) -> list[str]:
    return [double or single or bare for double, single, bare in _PART.findall(dotted)]


def _known_keys(path: list[str]) -> list[str]:
    model: type[BaseModel] | None = Project
    for part in path:
        if model is None:
            return []
        fields = {(field.alias or name): field for name, field in model.model_fields.items()}
        if part in fields:
            model = _model_in(fields[part].annotation)
        elif model is Contract:
            model = _model_in(Contract.model_fields["columns"].annotation)
        elif model is Gates:
            model = _model_in(Gates.model_fields["metrics"].annotation)
        else:
            return []
    if model is None:
        return []
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, dict, list, typing.Annotated):
        for argument in typing.get_args(annotation):
            if found := _model_in(argument):
                return found
    return None
