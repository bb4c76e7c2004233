"""Pictures of the views, compared with those a person looked at (``pytest --snapshot-update`` takes new ones)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlops_box_tui.app import BoxApp
from mlops_box_tui.screenshot import settle

Pictures = Callable[..., bool]

SEEDED: list[Any] = [
    pytest.param("home", (), (120, 36), {}, id="home"),
    pytest.param("home", (), (80, 24), {"theme": "light"}, id="home-80x24-light"),
    pytest.param("runs", (), (120, 36), {}, id="runs"),
    pytest.param("runs", (), (80, 24), {}, id="runs-80x24"),
    pytest.param("runs", ("enter", "right_square_bracket"), (120, 36), {}, id="run-curve"),
    pytest.param("models", ("enter", "j", "enter"), (120, 36), {}, id="version"),
    pytest.param("drift", (), (120, 36), {}, id="drift"),
    pytest.param("drift", ("enter", "right_square_bracket"), (120, 36), {"theme": "light"}, id="feature-history-light"),
    pytest.param("drift", (), (80, 24), {"ascii_only": True}, id="drift-80x24-ascii"),
    pytest.param("drift", ("h",), (120, 36), {}, id="drift-map"),
    pytest.param("features", (), (100, 30), {}, id="features"),
    pytest.param("devices", (), (80, 24), {}, id="devices-80x24"),
    pytest.param("alerts", ("j", "enter"), (100, 30), {}, id="alert"),
    pytest.param("models", ("enter", "j", "j", "P", "w", "h", "y", "enter"), (120, 36), {}, id="question"),
    pytest.param("alerts", ("S", "M", "o", "n", "down", "down"), (80, 24), {"theme": "light"}, id="question-80x24-light"),
    pytest.param("runs", (), (100, 30), {"read_only": True}, id="runs-readonly"),
]  # fmt: skip


@pytest.mark.parametrize(("view", "press", "size", "settings"), SEEDED)
def test_view(
    snap_compare: Pictures, make_app: Any, seeded_home: Path,
    view: str, press: tuple[str, ...], size: tuple[int, int], settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # The commands that are shown need not name the home then.
    monkeypatch.setenv("MLOPS_BOX_HOME", str(seeded_home))
    app = make_app(seeded_home, start=view, **settings)
    assert snap_compare(app, terminal_size=size, run_before=lambda pilot: _press(app, pilot, press))


@pytest.mark.parametrize(
    "view", ["home", "runs", "serving", "models", "drift", "alerts", "data", "features", "devices"]
)
def test_empty_view(snap_compare: Pictures, make_app: Any, empty_home: Path, view: str) -> None:
    app = make_app(empty_home, start=view)
    assert snap_compare(app, terminal_size=(100, 30), run_before=lambda pilot: _press(app, pilot, ()))


async def _press(app: BoxApp, pilot: Any, press: tuple[str, ...]) -> None:
    await settle(app, pilot)
    for key in press:
        await pilot.press(key)
        await settle(app, pilot)
