"""One run of the terminal program: when pictures appear after a key, what its process used."""

from __future__ import annotations

import random
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from benchmarks.terminal import Glass, Terminal
from benchmarks.tui.box import run_id
from mlops_box.box import Box
from mlops_box.operations.views import Query, list_runs

COLUMNS, ROWS = 120, 36
# Title, header, then the rows; the cursor stands on the first of them.
FIRST_ROW = 4
WAYS = {
    "mlops-box tui": (str(Path(sys.executable).with_name("mlops-box")), "tui"),
    "python -m mlops_box_tui": (sys.executable, "-m", "mlops_box_tui"),
}
# What stands on the screen when a view is whole: its own title and a row of its own.
VIEWS = {
    "home": ("1", (r"in all 10 ?0\d\d", r"ok  \w+ \w+-(north|south)", r"v50 .* mae", "accepted +milling-south", "! warning +temp drifted",
                   r"suggested +train", r"■ down")),
    "runs": ("2", (r"^ runs +10 0\d\d", r"(ok|cancelled) +\d\d:\d\d:\d\d")),
    "models": ("3", (r"^ models +20", r"bike-north +regression +v50")),
    "serving": ("4", (r"^ serving +0", "The inference server is down")),
    "drift": ("5", (r"^ drift +96", r"temp +bike-south@50 +✗ drift")),
    "alerts": ("6", (r"^ alerts +600", r"! open +bike-north@50")),
    "decisions": ("7", (r"^ decisions +600", r"suggested +train +bike-north")),
    "data": ("8", (r"^ data +440", r"accepted +milling-south +\w{12}")),
    "features": ("9", (r"^ features +3", r"riders +v1")),
    "devices": ("0", (r"^ devices +12", r"pi-00 +bike-north@50")),
}  # fmt: skip
FOOTER = "filter : command"


def picture(*patterns: str) -> Callable[[Glass], bool]:
    """All patterns stand on the screen."""
    searches = [re.compile(pattern, re.MULTILINE).search for pattern in patterns]

    def holds(glass: Glass) -> bool:
        shown = str(glass)
        return all(search(shown) for search in searches)

    return holds


class Session:
    """The program in a terminal of 120 x 36."""

    def __init__(self, home: Path, way: str = "mlops-box tui"):
        self.home = home
        self.terminal = Terminal(home, columns=COLUMNS, rows=ROWS, program=WAYS[way])
        self._pause = random.Random(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.terminal.close()

    def first_picture_s(self) -> float:
        """Seconds from the start of the process until home stands there whole."""
        whole = picture("● live", "6 alerts", *VIEWS["home"][1], FOOTER)
        return self.terminal.seen_at_s(whole) - self.terminal.started_s

    def processes(self) -> list[psutil.Process]:
        started = psutil.Process(self.terminal.process.pid)
        return [started, *started.children(recursive=True)]

    def cpu_s(self) -> float:
        """Processor seconds of the program, to the nanosecond: the clock of another process (see clock_getcpuclockid)."""
        return sum(time.clock_gettime((~one.pid << 3) | 2) for one in self.processes())

    def resident_mib(self) -> float:
        return float(sum(one.memory_info().rss for one in self.processes()) / 2**20)

    def key_s(self, key: str, holds: Callable[[Glass], bool]) -> float:
        """Seconds from the key to the picture that it asks for."""
        # The next tick of the program must not stand in a fixed place to the key.
        time.sleep(self._pause.uniform(0.05, 0.25))
        self.terminal.shown()
        assert not holds(self.terminal.glass), f"the picture that {key!r} asks for is there already"
        pressed_s = time.monotonic()
        self.terminal.press(key)
        return self.terminal.seen_at_s(holds) - pressed_s

    def go(self, view: str) -> float:
        """To a view, from another one."""
        key, patterns = VIEWS[view]
        return self.key_s(key, picture(*patterns, "help"))

    def move(self, times: int) -> dict[str, list[float]]:
        """The cursor down and up the newest runs, to the last row and back to the first."""
        self.terminal.shown()
        cursor = self.terminal.glass.styles[FIRST_ROW][3]
        found: dict[str, list[float]] = {"j, k": [], "G, g": []}

        def on(row: int) -> Callable[[Glass], bool]:
            return lambda glass: glass.styles[row][3] == cursor

        places = [*range(1, 11), *reversed(range(10))]
        for place, row in enumerate(places * times):
            key = "j" if place % len(places) < 10 else "k"
            found["j, k"].append(self.key_s(key, on(FIRST_ROW + row)))
        first, last = (self._started(run_id(number)) for number in (0, 499))
        for _ in range(times * 2):
            found["G, g"].append(self.key_s("G", picture(rf"{last}(.|\n)*{FOOTER}")))
            found["G, g"].append(self.key_s("g", picture(rf"{first}(.|\n)*{FOOTER}")))
        return found

    def _started(self, run: str) -> str:
        with Box.open(self.home, read_only=True) as box:
            started = box.runs.get(run).started_at
            today = started.date() == box.clock.now().date()
        return started.strftime("%H:%M:%S" if today else "%m-%d %H:%M")

    def narrow(self, words: tuple[str, ...]) -> dict[str, list[float]]:
        """Type filters of runs letter by letter: until the letter stands there, and until the rows do."""
        echo, rows = [], []
        for word in words:
            self.key_s("/", picture(r"^ /"))
            for length in range(1, len(word) + 1):
                typed = word[:length]
                time.sleep(self._pause.uniform(0.15, 0.25))
                self.terminal.shown()
                pressed_s = time.monotonic()
                self.terminal.press(typed[-1])
                echo.append(self.terminal.seen_at_s(picture(rf"^ /{re.escape(typed)}\s*$")) - pressed_s)
                if not (narrowed := self._title(typed))(self.terminal.glass):
                    rows.append(self.terminal.seen_at_s(narrowed) - pressed_s)
                else:
                    rows.append(echo[-1])
            self.terminal.press("escape")
            self.terminal.seen_at_s(picture(VIEWS["runs"][1][0], FOOTER))
        return {"/ and a letter: the letter": echo, "/ and a letter: the rows": rows}

    def _title(self, typed: str) -> Callable[[Glass], bool]:
        with Box.open(self.home, read_only=True) as box:
            matching = list_runs(box, Query(text=typed)).matching
        return picture(rf"^ runs  /{re.escape(typed)}  {matching:,}".replace(",", " "))

    def look_deeper(self, times: int) -> dict[str, list[float]]:
        """Into runs and back."""
        deeper: list[float] = []
        back: dict[str, list[float]] = {"escape (kitty)": [], "escape": []}
        for place in range(times):
            escape = list(back)[place % 2]
            deeper.append(
                self.key_s(
                    "enter", picture(r"run 01k\w+bench", "steps  metrics", "^  step +state", "R rerun")
                )
            )
            back[escape].append(self.key_s(escape, picture(VIEWS["runs"][1][0], FOOTER)))
            self.terminal.press("j")
        return {
            "enter: a run whole": deeper,
            "esc, by Kitty's protocol": back["escape (kitty)"],
            "esc, else: Textual waits 100 ms for what may follow": back["escape"],
        }
