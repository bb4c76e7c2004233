"""Make a project from a data file: a declaration, a training function, a test, a CI workflow."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mlops_box.errors import StorageError, UsageError
from mlops_box.ids import check_name
from mlops_box.operations.init_choices import Choice, Plan
from mlops_box.project import parse_project

_RARE = 0.2


@dataclass(frozen=True)
class InitReport:
    """What was written, and why so."""

    folder: Path
    files: tuple[str, ...]
    name: str
    rows: int
    task: str
    target: str
    features: tuple[str, ...]
    gates: dict[str, dict[str, float]]
    choices: tuple[Choice, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"folder": str(self.folder)}


def init_project(
    folder: Path,
    *,
    source: Path,
    name: str,
    target: str,
    time: str | None = None,
    entity: str | None = None,
) -> InitReport:
    """Write a project into ``folder``, which its data pass as they are now. Nothing existing is overwritten.

    Args:
        folder: Where; made when absent.
        source: The data: a file or a glob, relative to the working folder or absolute.
        name: The project's name.
        target: The column to predict.
        time: The column of the event time, when the model must tell the future.
        entity: The column of an entity that a feature view is made of; needs ``time``.

    Raises:
        UsageError: A wrong name, a file is in the way, or no feature view can be made of ``entity``.
        SourceError: The data cannot be read, or lack a column.
        TrainingError: The target cannot be learnt.
        StorageError: The folder cannot be written to.
    """
    from mlops_box.data.infer import profile_source
    from mlops_box.operations.init_choices import plan
    from mlops_box.operations.init_features import plan_view
    from mlops_box.operations.init_files import project_files

    check_name(name, what="project name")
    folder = folder.absolute()
    _refuse_overwriting(folder, _WRITTEN)
    with tempfile.TemporaryDirectory(prefix="mlops-box-init-") as scratch:
        profile = profile_source(str(source), folder=Path.cwd(), target=target, scratch=Path(scratch))
    decided = plan(profile, target=target, time=time)
    gates, why = _gates(decided, profile.baseline.median_error, profile.baseline.majority) if profile.baseline else ({}, [])  # fmt: skip
    view = plan_view(decided, entity) if entity is not None else None
    choices = (*decided.choices, *why, *([view.choice] if view else []))
    decided = replace(decided, choices=choices)
    located = Path(os.path.normpath(Path.cwd() / source.expanduser()))
    files = project_files(name, os.path.relpath(located, folder), decided, gates, view)
    parse_project(files["mlops.toml"], file=str(folder / "mlops.toml"))
    _write(folder, files)
    return InitReport(
        folder, tuple(files), name, profile.rows, decided.task, target, decided.features, gates, choices
    )


_WRITTEN = (
    "mlops.toml",
    "train.py",
    "features/activity.sql",
    "tests/test_project.py",
    ".github/workflows/mlops.yml",
    ".gitignore",
    "README.md",
)


def _gates(
    decided: Plan, median_error: float | None, majority: float
) -> tuple[dict[str, dict[str, float]], list[Choice]]:
    """The first gate is what any model must beat: a guess without features."""
    if decided.task == "regression" and median_error is not None:
        limit = _three_digits(median_error)
        why = f"always guessing the median of {decided.target} is off by {limit:g} on average: a model must do better"
        return {"mae": {"max": limit}}, [Choice("gate", f"mae at most {limit:g}", why)]
    if decided.task == "binary":
        why = "0.5 is a coin; " + (
            f"accuracy would say little, {majority:.0%} of the rows are of one class"
            if majority > 1 - _RARE
            else "raise it to what you need"
        )
        return {"auc": {"min": 0.6}}, [Choice("gate", "auc at least 0.6", why)]
    limit = min(0.99, math.ceil(majority * 100) / 100)
    why = f"the most frequent class is {majority:.0%} of the rows: a model must do better than always guessing it"
    return {"accuracy": {"min": limit}}, [Choice("gate", f"accuracy at least {limit:g}", why)]


def _three_digits(value: float) -> float:
    return float(f"{value:.3g}") if value else 0.0


def _refuse_overwriting(folder: Path, files: tuple[str, ...]) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", hint="choose another name")
    for file in files:
        if os.path.lexists(folder / file):
            raise UsageError(
                f"{folder / file} exists already", hint="init overwrites nothing: choose another name"
            )


def _write(folder: Path, files: dict[str, str]) -> None:
    """All files or none: they are written beside the folder and moved into it."""
    existed = folder.exists()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _beside(folder) as draft:
            for file, text in files.items():
                (draft / file).parent.mkdir(parents=True, exist_ok=True)
                (draft / file).write_text(text, encoding="utf-8")
            if not existed:
                os.rename(draft, folder)
                return
            _move_into(folder, draft, files)
    except OSError as error:
        raise StorageError(
            f"the project cannot be written to {folder}: {error.strerror or error}",
            hint="choose a folder that you may write to",
        ) from error


def _move_into(folder: Path, draft: Path, files: dict[str, str]) -> None:
    moved: list[Path] = []
    try:
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            # A link fails where a rename would overwrite what came there meanwhile.
            os.link(draft / file, folder / file)
            moved.append(folder / file)
    except OSError:
        for path in moved:
            path.unlink()
        raise


@contextlib.contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    draft.chmod(0o755)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
