"""The project's own ``train.py``: loaded under a name of its own, and forgotten afterwards."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from mlops_box.canonical import sha256_hex
from mlops_box.errors import TrainingError

Build = Callable[[dict[str, Any]], Any]


@contextmanager
def user_code(folder: Path, train: str) -> Iterator[Build]:
    """The function ``train`` (``file.py:function``) of a project, importable within the block only.

    Its folder is on ``sys.path`` and its modules are in ``sys.modules`` until the block ends (torch's exporter looks them
    up); then both are as they were. No byte code is written beside the user's files. A call of the function raises
    :class:`TrainingError` that names file, line and function.

    Raises:
        TrainingError: The file is missing, outside the folder, cannot be run, or lacks the function.
    """
    file_name, _, function = train.partition(":")
    root = folder.resolve()
    file = (root / file_name).resolve()
    if not file.is_relative_to(root):
        raise TrainingError(
            f"{train!r} lies outside the project's folder", hint="[model].train is file.py:function"
        )
    if not file.is_file():
        raise TrainingError(
            f"there is no {folder / file_name}", hint="write it, or name the right file under [model].train"
        )
    path, modules, no_bytecode = list(sys.path), set(sys.modules), sys.dont_write_bytecode
    sys.path.insert(0, str(root))
    sys.dont_write_bytecode = True
    try:
        module = _execute(file, root)
        found = getattr(module, function, None)
        if not callable(found):
            raise TrainingError(
                f"{file_name} has no function {function!r}",
                hint=f"define {function}(params) in it, or change [model].train",
            )
        yield _told(found, file, root, function)
    finally:
        sys.path[:] = path
        sys.dont_write_bytecode = no_bytecode
        for name in set(sys.modules) - modules:
            if _lies_in(sys.modules.get(name), root):
                del sys.modules[name]


def explain_failure(error: BaseException, root: Path) -> str:
    """``Type: message (file.py, line 3, in function)``: the innermost frame that is the user's own."""
    text = f"{type(error).__name__}: {error}".strip().rstrip(":")
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({Path(error.filename).name}, line {error.lineno})"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(root)
    ]
    if not frames:
        return text
    where = frames[-1]
    return f"{text} ({Path(where.filename).relative_to(root)}, line {where.lineno}, in {where.name})"


def _execute(file: Path, root: Path) -> ModuleType:
    name = f"mlops_box_project_{sha256_hex(str(file).encode())[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise TrainingError(f"{file.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except TrainingError:
        raise
    except (Exception, SystemExit) as error:
        raise _cannot_import(error, file, root) from error
    return module


def _cannot_import(error: BaseException, file: Path, root: Path) -> TrainingError:
    missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
    hint = None
    if missing == "torch":
        hint = "torch is an extra: pip install 'mlops-box[torch]'"
    elif missing:
        hint = f"install {missing} beside mlops-box, or leave it out"
    return TrainingError(f"{file.name} cannot be run: {explain_failure(error, root)}", hint=hint)


def _told(function: Any, file: Path, root: Path, name: str) -> Build:
    def build(params: dict[str, Any]) -> Any:
        try:
            return function(params)
        except TrainingError:
            raise
        except (Exception, SystemExit) as error:
            if isinstance(error, ModuleNotFoundError):
                raise _cannot_import(error, file, root) from error
            raise TrainingError(
                f"{file.name}:{name} failed: {explain_failure(error, root)}",
                hint="its params are [model.params] of mlops.toml",
            ) from error

    return build


def _lies_in(module: ModuleType | None, root: Path) -> bool:
    origin = getattr(module, "__file__", None)
    return (
        bool(origin)
        and Path(str(origin)).resolve().is_relative_to(root)
        and "site-packages" not in str(origin)
    )
