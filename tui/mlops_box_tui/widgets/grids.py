"""Facts and small tables inside a detail tab, from foreign text that stays text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mlops_box_tui.look import Look, number


def heading(title: str) -> Text:
    """A line above a group of facts."""
    return Text(f"\n{title}", style="bold")


def facts(pairs: Iterable[tuple[str, object]], look: Look) -> Table:
    """Name and value, one a line; an absent value is a dash."""
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(style="dim", no_wrap=True, min_width=12)
    grid.add_column(overflow="fold", ratio=1)
    for name, value in pairs:
        grid.add_row(look.text(name, "quiet"), shown(value, look))
    return grid


def rows(
    columns: Sequence[str], lines: Iterable[Sequence[object]], look: Look, *, empty: str
) -> Table | Text:
    """A table without lines between; numbers stand at the right."""
    held = [[shown(cell, look) for cell in line] for line in lines]
    if not held:
        return Text(look.fit(empty), style="dim")
    grid = Table(box=None, padding=(0, 1), pad_edge=False, expand=False, header_style="dim")
    for column in columns:
        right = column.startswith(">")
        grid.add_column(Text(column.removeprefix(">")), justify="right" if right else "left", overflow="fold")
    for line in held:
        grid.add_row(*line)
    return grid


def shown(value: object, look: Look) -> Text:
    """A value as text: our own texts as they are, numbers short, everything else cleaned and foldable."""
    if isinstance(value, Text):
        return value
    if isinstance(value, bool) or value is None or value == "":
        text = look.text({True: "yes", False: "no"}.get(value) if isinstance(value, bool) else None)
    elif isinstance(value, float):
        return look.number(value)
    elif isinstance(value, int):
        return look.count(value)
    elif isinstance(value, list | tuple | dict):
        text = look.text(json.dumps(value, ensure_ascii=False, default=str))
    else:
        text = look.text(value)
    text.no_wrap, text.overflow = False, "fold"
    return text


def tree(values: Mapping[str, Any], look: Look) -> Table | Text:
    """A JSON object as facts; one level of nesting is spelled out."""
    if not values:
        return Text("nothing recorded", style="dim")
    pairs: list[tuple[str, object]] = []
    for name, value in values.items():
        if isinstance(value, dict) and value:
            pairs += [(f"{name}.{inner}", held) for inner, held in value.items()]
        else:
            pairs.append((str(name), value))
    return facts(pairs, look)


def indented(part: Table | Text) -> Padding:
    return Padding(part, (0, 0, 0, 2))


def change(now: float | None, before: float | None) -> str | None:
    """The difference with its sign."""
    if now is None or before is None:
        return None
    return f"{'+' if now >= before else '-'}{number(abs(now - before))}"
