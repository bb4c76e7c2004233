"""Whatever is pressed, clicked or typed: the terminal lives, and read-only leaves the box as it was."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import seeded_box
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from keyboard import SIZES, Press, Step, follow, known_keys, steps
from mlops_box_tui.app import BoxApp
from mlops_box_tui.registry import VIEWS
from mlops_box_tui.settings import Settings

from mlops_box.box import Box

KEYS_AN_EXAMPLE = 36
# A failing example is made short before it is shown; what was found is the same on every machine.
BOUNDED = settings(
    max_examples=8, deadline=None, derandomize=True, database=None, print_blob=False,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)  # fmt: skip
HANDS = st.lists(steps(), min_size=KEYS_AN_EXAMPLE, max_size=KEYS_AN_EXAMPLE)


@contextmanager
def apps_over(home: Path, size: tuple[int, int]) -> Iterator[Callable[[], Any]]:
    """``async with apps() as (app, pilot)``: the terminal, opened only to look, over one box."""
    with Box.open(home, clock=seeded_box.fixed_clock(), read_only=True) as box:

        @asynccontextmanager
        async def opened() -> AsyncIterator[Any]:
            app = BoxApp(box, settings=Settings(read_only=True))
            app.animation_level = "none"
            async with app.run_test(size=size) as pilot:
                yield app, pilot

        yield opened


def handle(home: Path, size: tuple[int, int], hands: Sequence[Step | None], *, whole: bool) -> int:
    """Do all of it over one box; returns how many steps that were."""
    done = [step for step in hands if step is not None]
    # What is shown of a failing example: the keys, without those that did not matter.
    note(f"hands on {size[0]}x{size[1]}: {' '.join(map(str, done))}")
    with apps_over(home, size) as apps:
        return asyncio.run(follow(apps, done, whole=whole))


def fingerprint(home: Path) -> dict[str, str]:
    """Every file of the box and what is in it. SQLite's index of its log, and a log without entries, say nothing."""
    return {
        str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(home.rglob("*"))
        if path.is_file() and path.name != "box.db-shm" and (path.name != "box.db-wal" or path.stat().st_size)
    }


@pytest.fixture(scope="module")
def whole(seeded_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(seeded_home, tmp_path_factory.mktemp("whole") / "box"))


def test_all_keys_that_are_known_are_among_those_that_are_pressed() -> None:
    assert {"0", "P", "colon", "ctrl+p", "left_square_bracket", "space"} <= set(known_keys())
    assert len(VIEWS) == 10, "a view more or less: look at the digits"


def test_two_hundred_random_keys_never_crash_and_never_change_the_box(whole: Path) -> None:
    before, pressed = fingerprint(whole), []

    @BOUNDED
    @given(size=st.sampled_from(SIZES), hands=HANDS)
    def any_hands(size: tuple[int, int], hands: list[Step | None]) -> None:
        pressed.append(handle(whole, size, hands, whole=True))
        assert fingerprint(whole) == before

    any_hands()
    assert sum(pressed) >= 200


def no_objects(home: Path) -> None:
    """The folder of models, snapshots and profiles is gone."""
    shutil.rmtree(home / "objects")


def torn_rows(home: Path) -> None:
    """What should be JSON, a time or a name is not."""
    spoil(home, lambda column: "{torn" if column else None)


def nested_nonsense(home: Path) -> None:
    """Everything is JSON, and nothing is what it should be."""
    spoil(home, lambda column: '{"columns": [1, null], "drift": {"features": 3}, "rules": "x"}')


def no_tables(home: Path) -> None:
    """Tables are missing."""
    with Box.open(home, clock=seeded_box.fixed_clock()) as box, box.db.write() as tx:
        for table in ("windows", "run_steps", "decisions", "rollouts"):
            tx.execute(f"DROP TABLE IF EXISTS {table}")


def torn_pages(home: Path) -> None:
    """Where box.db holds runs, windows and versions, something else stands."""
    with Box.open(home, clock=seeded_box.fixed_clock(), read_only=True) as box:
        size = box.db.read("PRAGMA page_size")[0]["page_size"]
        pages = [row["rootpage"] for row in box.db.read(
            "SELECT rootpage FROM sqlite_schema WHERE name IN ('runs', 'windows', 'versions')"
        )]  # fmt: skip
    with (home / "box.db").open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * size)
            file.write(b"\xde\xad" * 600)


def spoil(home: Path, value: Callable[[str], str | None]) -> None:
    """Put something else into every column of text that is no key."""
    with Box.open(home, clock=seeded_box.fixed_clock()) as box, box.db.write() as tx:
        for table in ("runs", "versions", "windows", "alerts", "decisions", "snapshots", "refusals"):
            for column in ("params", "result", "metrics", "gates", "signature", "lineage", "finding", "summary", "facts",
                           "verdict", "schema", "started_at", "created_at", "opened_at", "decided_at", "manifest"):  # fmt: skip
                names = {row["name"] for row in tx.read(f"SELECT name FROM pragma_table_info('{table}')")}
                if column in names:
                    tx.execute(f"UPDATE {table} SET {column} = ?", (value(column),))


@pytest.mark.parametrize("damage", [no_objects, torn_rows, nested_nonsense, no_tables, torn_pages])
def test_no_key_crashes_over_a_damaged_box(
    seeded_home: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    home = Path(shutil.copytree(seeded_home, tmp_path / "box"))
    damage(home)
    before = fingerprint(home)

    @settings(BOUNDED, max_examples=2)
    @given(hands=HANDS)
    def any_hands(hands: list[Step | None]) -> None:
        walk = [
            part
            for digit in "234567890"
            for part in (Press(digit, digit), Press("enter"), Press("right_square_bracket"))
        ]
        handle(home, (120, 36), [*walk, *hands], whole=False)
        assert fingerprint(home) == before

    any_hands()
