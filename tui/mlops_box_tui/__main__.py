"""``python -m mlops_box_tui --home DIR``: how ``mlops-box tui`` starts the screen."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_box.box import Box
from mlops_box.errors import BoxError, StorageError, UsageError
from mlops_box.home import home_from

if TYPE_CHECKING:
    from textual.driver import Driver

DEFAULT_PORT = 8421
# What textual-serve names in the environment of the screens that it starts.
WEB_DRIVER = "textual.drivers.web_driver:"
# By then the first picture stands, unless the machine is very busy.
READY_AFTER_S = 0.5


def main(arguments: list[str] | None = None) -> int:
    """Run; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except BoxError as error:
        # As the command line says it, which this program takes the place of.
        from mlops_box.program import show_error

        show_error(error.to_dict(), as_json=options.json)
        return int(error.exit_code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mlops_box_tui", description="The box in a terminal.")
    parser.add_argument("--home", type=Path, help="the box's home")
    parser.add_argument("--view", default="home", help="the first view")
    parser.add_argument("--theme", default="dark", help="dark, light or a Textual theme")
    parser.add_argument("--ascii", action="store_true", help="draw with ASCII alone")
    parser.add_argument("--readonly", action="store_true", help="grey all keys that act")
    parser.add_argument("--screenshot", type=Path, metavar="FILE", help="write one view as SVG and leave")
    parser.add_argument("--size", default="120x36", help="columns x rows of the screenshot")
    parser.add_argument(
        "--press", default="", help="keys to press before the screenshot, with commas between"
    )
    parser.add_argument("--web", action="store_true", help="serve the screen to browsers on loopback")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="of the page; 0 for a free one")
    parser.add_argument("--act", action="store_true", help="let the page's keys act")
    parser.add_argument("--json", action="store_true", help="print the page's address as JSON")
    return parser


def _run(options: argparse.Namespace) -> int:
    size = _size(options.size)
    if options.web:
        return _serve(options)
    in_browser = os.environ.get("TEXTUAL_DRIVER", "").startswith(WEB_DRIVER)
    if options.screenshot is None and not in_browser and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("this is no terminal", hint="mlops-box tui --screenshot FILE, or mlops-box status")
    with Box.open(home_from(os.environ, given=options.home), read_only=True) as box:
        # Textual costs 0.15 s to import: a wrong home is said before.
        from mlops_box_tui.app import BoxApp
        from mlops_box_tui.registry import VIEWS
        from mlops_box_tui.screenshot import take_screenshot
        from mlops_box_tui.settings import Settings
        from mlops_box_tui.themes import has_sixteen_colours

        if options.view not in VIEWS:
            raise UsageError(f"there is no view {options.view!r}", hint=f"views: {', '.join(VIEWS)}")
        # A picture has all colours, whatever the terminal that it is asked for on has.
        sixteen = options.screenshot is None and not in_browser and has_sixteen_colours()
        settings = Settings(options.theme, options.ascii, options.readonly, sixteen_colours=sixteen)
        settings = settings.with_file(box.home.root, known_ids=_known_ids)
        ready_after_s = READY_AFTER_S if options.screenshot is None else None
        app = BoxApp(box, settings=settings, start=options.view, ready_after_s=ready_after_s)
        if options.screenshot is None:
            app.driver_class = _driver(in_browser)
            app.run()
            return app.return_code or 0
        press = [key for key in options.press.split(",") if key]
        svg = take_screenshot(app, size=size, press=press)
        try:
            options.screenshot.write_text(svg, encoding="utf-8")
        except OSError as error:
            raise StorageError(f"cannot write {options.screenshot}: {error.strerror}") from error
    return 0


def _driver(in_browser: bool) -> type[Driver]:
    if in_browser:
        from mlops_box_tui.web.driver import BrowserDriver

        return BrowserDriver
    from mlops_box_tui.terminal import TerminalDriver

    return TerminalDriver


def _serve(options: argparse.Namespace) -> int:
    """The page, until it is told to end; the box is only looked at first."""
    home = home_from(os.environ, given=options.home)
    with Box.open(home, read_only=True) as box:
        root = box.home.root
    # What a browser needs is not paid for by a terminal.
    from mlops_box_tui.web.server import WebServer, listen

    arguments = ["--home", str(root), "--view", options.view, "--theme", options.theme]
    arguments += ["--ascii"] * options.ascii + ["--readonly"] * (not options.act)
    WebServer(arguments, listen(options.port), read_only=not options.act, as_json=options.json).run()
    return 0


def _known_ids() -> frozenset[str]:
    from mlops_box_tui.keys import known_ids

    return known_ids()


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{2,3})x(\d{2,3})", text)
    if not match:
        raise UsageError(f"{text!r} is no size", hint="write columns x rows, for example 120x36")
    return int(match[1]), int(match[2])


if __name__ == "__main__":
    sys.exit(main())
