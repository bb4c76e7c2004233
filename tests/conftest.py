"""Fixtures that many rooms share; keep it small."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_box.box import Box


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """A fresh box in a throw-away home."""
    with Box.open(tmp_path / "home", actor="tester") as opened:
        yield opened
