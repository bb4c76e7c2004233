"""Make the pictures of the terminal under docs/images; ``just docs`` runs it, a test holds them current.

They show the box that the tests of the screens look at, so that they are the same on every machine.

Usage: python docs/pictures.py [--check]
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/screens"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tui"))
import seeded_box
import seeded_rollout
from mlops_box_tui.app import BoxApp
from mlops_box_tui.screenshot import take_screenshot

from mlops_box.box import Box

IMAGES = Path(__file__).parent / "images"


@dataclass(frozen=True)
class Picture:
    """What stands on the screen after keys pressed at home, and a text typed then."""

    press: tuple[str, ...] = ()
    size: tuple[int, int] = (110, 32)
    typed: str = ""


# The tour in docs/tui.md names the same keys before each picture.
PICTURES = {
    "tui-home.svg": Picture(size=(120, 36)),
    "tui-rollout.svg": Picture(("3", "o", "right_square_bracket"), (110, 20)),
    "tui-question.svg": Picture(("3", "o", "P"), typed="the client is mended"),
    "tui-decision.svg": Picture(("7", "A"), (110, 24)),
    "tui-diff.svg": Picture(("3", "enter", "d"), (110, 12)),
    "tui-drift.svg": Picture(("5",), (110, 12)),
    "tui-drift-map.svg": Picture(("5", "h"), (110, 12)),
    "tui-marks.svg": Picture(("6", "space", "space", "A"), (110, 28), "known"),
}


def draw(picture: Picture, home: Path) -> str:
    """The picture as SVG."""
    os.environ["MLOPS_BOX_HOME"] = str(home)
    press = [*picture.press, *("space" if letter == " " else letter for letter in picture.typed)]
    with Box.open(home, clock=seeded_box.fixed_clock(), actor="ana", read_only=True) as box:
        return take_screenshot(BoxApp(box), size=picture.size, press=press)


def drawn() -> dict[str, str]:
    """All pictures by the names of their files."""
    with tempfile.TemporaryDirectory() as folder:
        home = seeded_rollout.seed(Path(folder) / "box")
        return {name: draw(picture, home) for name, picture in PICTURES.items()}


def stale() -> dict[str, str]:
    """Those that are not what the program draws now."""
    return {
        name: svg
        for name, svg in drawn().items()
        if not (IMAGES / name).exists() or (IMAGES / name).read_text(encoding="utf-8") != svg
    }


def main() -> None:
    if "--check" in sys.argv[1:]:
        if found := stale():
            sys.exit(f"not current: {', '.join(found)}; run `python docs/pictures.py`")
        return
    for name, svg in stale().items():
        (IMAGES / name).write_text(svg, encoding="utf-8")
        sys.stdout.write(f"docs/images/{name}\n")


if __name__ == "__main__":
    main()
