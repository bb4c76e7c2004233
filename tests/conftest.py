"""Fixtures that many rooms share; keep it small."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlops_box.box import Box


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """A fresh box in a throw-away home."""
    with Box.open(tmp_path / "home", actor="tester") as opened:
        yield opened


@pytest.fixture
def train_case(tmp_path: Path) -> Callable[..., Any]:
    """``train_case(code, table, task=..., target=..., features=[...])`` trains on all but each fifth row."""
    import numpy as np

    from mlops_box.progress import SilentProgress
    from mlops_box.project import Model
    from mlops_box.training.trainer import train_model

    def run(
        code: str,
        table: Any,
        *,
        types: dict[str, str] | None = None,
        checkpoints: Path | None = None,
        **model: Any,
    ) -> Any:
        (tmp_path / "train.py").write_text(code)
        rows = np.arange(table.num_rows)
        indices = SimpleNamespace(train=rows[rows % 5 != 0], test=rows[rows % 5 == 0])
        return train_model(
            table, indices, Model.model_validate(model), tmp_path,
            types=types or {}, progress=SilentProgress(), checkpoints=checkpoints,
        )  # fmt: skip

    return run
