"""Pictures of the views, compared with those a person looked at (``pytest --snapshot-update`` takes new ones)."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import seeded_box
import seeded_rollout
from field_box import add_devices, add_feature_view
from mlops_box_tui.app import BoxApp
from mlops_box_tui.registry import VIEWS
from mlops_box_tui.screenshot import settle
from test_tui_served import hear, up

from mlops_box.box import Box
from mlops_box.errors import IntegrityError
from mlops_box.serving.address import ServerAddress

Pictures = Callable[..., bool]
WIDE, MIDDLE, SMALL = (120, 36), (100, 30), (80, 24)
LIGHT, ASCII, SIXTEEN = {"theme": "light"}, {"ascii_only": True}, {"sixteen_colours": True}

SEEDED: list[Any] = [
    pytest.param("home", (), WIDE, {}, id="home"),
    pytest.param("home", (), SMALL, LIGHT, id="home-80x24-light"),
    pytest.param("home", (), SMALL, SIXTEEN, id="home-80x24-16-colours"),
    pytest.param("home", ("question_mark",), MIDDLE, {}, id="help"),
    pytest.param("home", ("ctrl+p",), MIDDLE, {}, id="palette"),
    pytest.param("runs", (), WIDE, {}, id="runs"),
    pytest.param("runs", (), SMALL, {}, id="runs-80x24"),
    pytest.param("runs", (), MIDDLE, {"read_only": True}, id="runs-readonly"),
    pytest.param("runs", ("slash", *"nothing"), SMALL, LIGHT, id="runs-nothing-matches-80x24-light"),
    pytest.param("runs", ("enter", "right_square_bracket"), WIDE, {}, id="run-curve"),
    pytest.param("runs", ("enter", "right_square_bracket"), SMALL, ASCII, id="run-curve-80x24-ascii"),
    pytest.param("models", (), WIDE, {}, id="models"),
    pytest.param("models", ("enter",), SMALL, LIGHT, id="versions-80x24-light"),
    pytest.param("models", ("enter", "j", "j", "enter"), WIDE, {}, id="version"),
    pytest.param("models", ("enter", "d"), MIDDLE, LIGHT, id="diff-light"),
    pytest.param("models", ("m",), MIDDLE, {}, id="metrics-over-versions"),
    pytest.param("models", ("o", "right_square_bracket"), SMALL, {}, id="rollout-rolled-back-80x24"),
    pytest.param("models", ("enter", "enter"), SMALL, SIXTEEN, id="version-rolled-back-80x24-16-colours"),
    pytest.param("drift", (), WIDE, {}, id="drift"),
    pytest.param("drift", ("enter", "right_square_bracket"), WIDE, LIGHT, id="feature-history-light"),
    pytest.param("drift", (), SMALL, ASCII, id="drift-80x24-ascii"),
    pytest.param("drift", ("h",), WIDE, {}, id="drift-map"),
    pytest.param("drift", ("h",), SMALL, {**SIXTEEN, **LIGHT}, id="drift-map-80x24-16-colours-light"),
    pytest.param("alerts", (), SMALL, LIGHT, id="alerts-80x24-light"),
    pytest.param("alerts", ("j", "enter"), MIDDLE, {}, id="alert"),
    pytest.param("alerts", ("S", "M", "o", "n", "down", "down"), SMALL, LIGHT, id="question-80x24-light"),
    pytest.param("alerts", ("space", "space", "A"), MIDDLE, {}, id="question-about-marked"),
    pytest.param("decisions", (), SMALL, ASCII, id="decisions-80x24-ascii"),
    pytest.param("decisions", ("enter",), MIDDLE, LIGHT, id="decision-light"),
    pytest.param("data", (), MIDDLE, {}, id="data"),
    pytest.param("data", ("j", "enter"), SMALL, LIGHT, id="batch-80x24-light"),
    pytest.param("features", (), MIDDLE, {}, id="features"),
    pytest.param("features", ("enter",), SMALL, LIGHT, id="feature-view-80x24-light"),
    pytest.param("devices", (), SMALL, {}, id="devices-80x24"),
    pytest.param("devices", ("enter",), SMALL, ASCII, id="device-80x24-ascii"),
    pytest.param("models", ("enter", "j", "j", "j", "P", "w", "h", "y", "enter"), WIDE, {}, id="question"),
]  # fmt: skip


@pytest.fixture(scope="module")
def night_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The seeded box, a version of which was rolled back in the night, with devices and features."""
    home = seeded_rollout.seed(tmp_path_factory.mktemp("night") / "box")
    with Box.open(home, clock=seeded_box.fixed_clock(), actor="ana") as box:
        add_devices(box)
        add_feature_view(box)
    return home


@pytest.mark.parametrize(("view", "press", "size", "settings"), SEEDED)
def test_view(
    snap_compare: Pictures, make_app: Any, night_home: Path,
    view: str, press: tuple[str, ...], size: tuple[int, int], settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # The commands that are shown need not name the home then.
    monkeypatch.setenv("MLOPS_BOX_HOME", str(night_home))
    app = make_app(night_home, start=view, **settings)
    assert snap_compare(app, terminal_size=size, run_before=lambda pilot: _press(app, pilot, press))


@pytest.mark.parametrize("view", list(VIEWS))
def test_empty_view(snap_compare: Pictures, make_app: Any, empty_home: Path, view: str) -> None:
    app = make_app(empty_home, start=view)
    assert snap_compare(app, terminal_size=MIDDLE, run_before=lambda pilot: _press(app, pilot, ()))


@pytest.mark.parametrize(
    ("view", "size", "settings"),
    [("home", MIDDLE, {}), ("runs", SMALL, LIGHT), ("drift", SMALL, ASCII), ("devices", SMALL, SIXTEEN)],
    ids=["home", "runs-80x24-light", "drift-80x24-ascii", "devices-80x24-16-colours"],
)
def test_a_view_whose_box_cannot_be_read_any_more(
    snap_compare: Pictures, make_app: Any, night_home: Path, monkeypatch: pytest.MonkeyPatch,
    view: str, size: tuple[int, int], settings: dict[str, Any],
) -> None:  # fmt: skip
    app = make_app(night_home, start=view, **settings)

    def damaged(*_: object) -> NoReturn:
        raise IntegrityError(
            "box.db is damaged: database disk image is malformed", hint="restore it from a backup"
        )

    async def after(pilot: Any) -> None:
        await _press(app, pilot, ())
        for name in ("read", "one", "data_version"):
            monkeypatch.setattr(app.box.db, name, damaged)
        await _press(app, pilot, ("r",))

    assert snap_compare(app, terminal_size=size, run_before=after)


def test_a_view_of_a_box_whose_tables_are_torn(snap_compare: Pictures, make_app: Any, home: Path) -> None:
    with Box.open(home) as box, box.db.write() as tx:
        tx.execute("UPDATE windows SET finding = '{torn'")
        tx.execute("UPDATE versions SET metrics = 'torn', gates = '[', signature = '', lineage = '{'")
    app = make_app(home, start="models")
    assert snap_compare(
        app, terminal_size=MIDDLE, run_before=lambda pilot: _press(app, pilot, ("enter", "enter"))
    )


def test_a_feature_whose_files_are_gone(snap_compare: Pictures, make_app: Any, home: Path) -> None:
    shutil.rmtree(home / "objects")
    app = make_app(home, start="drift")
    assert snap_compare(app, terminal_size=MIDDLE, run_before=lambda pilot: _press(app, pilot, ("enter",)))


@pytest.mark.parametrize(("size", "settings"), [(WIDE, {}), (SMALL, LIGHT)], ids=["wide", "80x24-light"])
def test_a_server_that_answers(
    snap_compare: Pictures, make_app: Any, home: Path, size: tuple[int, int], settings: dict[str, Any]
) -> None:
    app = make_app(home, start="serving", **settings)

    async def after(pilot: Any) -> None:
        await _press(app, pilot, ())
        for number in range(1, 8):
            hear(app, up(1000.0 + 40 * number**2, errors=float(number)), after=10)
        await settle(app, pilot)

    assert snap_compare(app, terminal_size=size, run_before=after)


def test_a_server_that_is_silent(snap_compare: Pictures, make_app: Any, home: Path) -> None:
    # A port on which nobody listens, and a process that lives.
    ServerAddress("127.0.0.1", 9, 1).write(home / "run")
    app = make_app(home, start="serving")
    assert snap_compare(app, terminal_size=SMALL, run_before=lambda pilot: _press(app, pilot, ()))


async def _press(app: BoxApp, pilot: Any, press: tuple[str, ...]) -> None:
    deadline = time.monotonic() + 60
    # Whether a server answers is asked beside the screen, and told by every picture.
    while app.serving is None and time.monotonic() < deadline:
        await settle(app, pilot)
    await settle(app, pilot)
    for key in press:
        await pilot.press(key)
        await settle(app, pilot)
