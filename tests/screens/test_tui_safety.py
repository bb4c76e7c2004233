"""Foreign text is inert, keys are known, nothing one presses changes the box."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import seeded_box
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from mlops_box_tui import keys
from mlops_box_tui.commands import WORDS, parse_command
from mlops_box_tui.look import Look, number, sparkline
from mlops_box_tui.registry import VIEWS
from mlops_box_tui.settings import Settings
from mlops_box_tui.text import clean, to_ascii
from textual.binding import Binding
from textual.dom import DOMNode

from mlops_box.cli.tui import command
from mlops_box.errors import UsageError

ROOT = Path(__file__).parents[2]


@given(st.text())
def test_cleaned_text_is_one_line_without_control_characters(text: str) -> None:
    shown = clean(text)
    assert len(shown) <= 2_000
    assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in shown)
    assert to_ascii(shown).isascii()


async def test_ascii_draws_nothing_beyond_ascii(open_app: Any, home: Path) -> None:
    async with open_app(home, ascii_only=True, size=(100, 30)) as (app, driver):
        for place, name in enumerate(VIEWS):
            await driver.press(str((place + 1) % 10))
            assert driver.shown().isascii(), (name, [c for c in driver.shown() if not c.isascii()])
            if name in ("runs", "models", "drift", "alerts"):
                await driver.press("enter", "right_square_bracket")
                assert driver.shown().isascii(), (name, [c for c in driver.shown() if not c.isascii()])
                await driver.press("question_mark")
                assert driver.shown().isascii(), [c for c in driver.shown() if not c.isascii()]
                await driver.press("escape", "escape")
        assert app.is_running


@pytest.mark.parametrize("place", [place for _, place in keys.PLACES])
def test_every_binding_has_an_id_and_a_tooltip(place: type[DOMNode]) -> None:
    for binding in keys.own_bindings(place):
        assert isinstance(binding, Binding)
        assert binding.id
        assert binding.tooltip.endswith(".")


def test_every_class_with_bindings_of_its_own_is_documented() -> None:
    def below(kind: type) -> set[type]:
        return {kind} | {inner for sub in kind.__subclasses__() for inner in below(sub)}

    ours = {kind for kind in below(DOMNode) if kind.__module__.startswith("mlops_box_tui")}
    with_keys = {kind for kind in ours if kind.__dict__.get("BINDINGS")}
    assert with_keys == {place for _, place in keys.PLACES}


def test_an_id_means_one_key_and_one_thing_wherever_it_stands() -> None:
    meant: dict[str, tuple[str, str]] = {}
    for _, place in keys.PLACES:
        own = [binding.id for binding in keys.own_bindings(place)]
        assert len(own) == len(set(own))
        for binding in keys.own_bindings(place):
            assert meant.setdefault(binding.id or "", (binding.key, binding.tooltip)) == (
                binding.key,
                binding.tooltip,
            )


def test_the_page_of_keys_is_what_the_code_says() -> None:
    page = (ROOT / "docs/tui.md").read_text(encoding="utf-8")
    assert keys.with_keys(page) == page, "run: python -m mlops_box_tui.keys docs/tui.md"


async def test_a_key_can_be_moved_in_tui_toml(open_app: Any, home: Path) -> None:
    (home / "tui.toml").write_text('theme = "light"\n[keys]\n"main.filter" = "f"\n')
    settings = Settings().with_file(home, known_ids=keys.known_ids)
    async with open_app(home, start="runs", theme=settings.theme, keys=settings.keys) as (app, driver):
        await driver.press("f")
        assert app.main.prompt.display
        assert app.theme == "textual-light"


def test_a_wrong_key_id_is_refused_with_the_nearest(home: Path) -> None:
    (home / "tui.toml").write_text('[keys]\n"main.fitler" = "f"\n')
    with pytest.raises(UsageError, match=r"main\.filter"):
        Settings().with_file(home, known_ids=keys.known_ids)


def test_no_color_draws_without_colours(home: Path, tmp_path: Path) -> None:
    target = tmp_path / "shot.svg"
    done = _tui(home, "--screenshot", str(target), "--view", "runs", env={"NO_COLOR": "1"})
    assert done.returncode == 0, done.stderr
    colours = {part[:6] for part in target.read_text().split("fill: #")[1:]}
    assert all(colour[:2] == colour[2:4] == colour[4:6] for colour in colours - {"c5c8c6"}), colours


def test_a_screenshot_asks_no_other_machine_for_anything(home: Path, tmp_path: Path) -> None:
    target = tmp_path / "shot.svg"
    result = CliRunner().invoke(
        command,
        ["--home", str(home), "--screenshot", str(target), "--view", "models", "--press", "enter", "--json"],
    )
    assert result.exit_code == 0, result.output
    svg = target.read_text()
    assert "last_good" in svg
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "").replace(
        "https://www.textualize.io", ""
    )


def test_no_box_a_wrong_view_and_no_terminal_are_one_clear_error(home: Path, tmp_path: Path) -> None:
    absent = _tui(tmp_path / "absent", "--screenshot", "x.svg")
    assert (absent.returncode, "Traceback" in absent.stderr) == (2, False)
    assert "there is no box in" in absent.stderr
    assert not (tmp_path / "absent").exists()
    assert _tui(home, "--screenshot", str(tmp_path / "x.svg"), "--view", "nonsense").returncode == 2
    assert "this is no terminal" in _tui(home).stderr


def test_a_damaged_box_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "box.db").write_bytes(b"this is no database at all" * 400)
    done = _tui(tmp_path, "--screenshot", str(tmp_path / "x.svg"))
    assert done.returncode == 7
    assert "damaged" in done.stderr
    assert "Traceback" not in done.stderr


def _tui(home: Path, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mlops_box_tui", "--home", str(home), *arguments],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tui")]), **(env or {})},
    )  # fmt: skip


def test_unknown_numbers_are_shown_as_unknown_and_short_ones_stay_exact() -> None:
    assert number(None) == "?"
    assert number(float("nan")) == "?"
    assert [number(value) for value in (0.0, 0.12345, 41.7, 12_345.6, 1e-9, 2e12)] == [
        "0", "0.1235", "41.70", "12 346", "1.0e-09", "2.000e+12",
    ]  # fmt: skip
    assert sparkline([1, 2, 3]) == "▁▅█" or len(sparkline([1, 2, 3])) == 3
    look = Look({}, False, seeded_box.NOW)
    assert look.count(None).plain == "?"
    assert look.state("a state of a later version").plain == "? a state of a later version"


@given(st.text())
def test_any_command_is_understood_or_refused(typed: str) -> None:
    try:
        verb = parse_command(typed, VIEWS).verb
    except UsageError:
        return
    assert verb in ("view", "show", *(word.name for word in WORDS))
