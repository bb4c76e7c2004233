"""What every HTML page of ours shares: escaping, style, how numbers and times are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def page_environment() -> Environment:
    """Templates by file name; names and values from outside are escaped, no script, no request leaves a page."""
    from importlib import resources

    from jinja2 import DictLoader, Environment, StrictUndefined

    folder = resources.files("mlops_box.evaluation") / "templates"
    templates = {
        entry.name: entry.read_text(encoding="utf-8") for entry in folder.iterdir() if entry.is_file()
    }
    environment = Environment(
        loader=DictLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = _number
    environment.filters["grouped"] = lambda value: f"{value:,}".replace(",", " ")
    environment.filters["moment"] = lambda moment: moment.strftime("%Y-%m-%d %H:%M") if moment else "–"
    return environment


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
