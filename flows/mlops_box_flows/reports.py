"""Prefect artifacts: what a run found, as Markdown, beside the run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prefect.artifacts import acreate_markdown_artifact
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger

from mlops_box.errors import BoxError

_MAX_ROWS = 50


async def publish(kind: str, subject: str, outcome: Mapping[str, Any]) -> None:
    """Attach an outcome to the current flow run; a report that cannot be kept never fails the run."""
    await _attach(kind, subject, f"# {kind}: {_inline(subject)}\n\n{render(outcome)}")


async def publish_error(kind: str, subject: str, error: BoxError) -> None:
    """Attach a refusal: what is wrong, what to do, and the facts (rules, gates, rows)."""
    parts = [f"# {kind}: {_inline(subject)}", f"**{type(error).__name__}**: {_inline(error.message)}"]
    if error.hint:
        parts.append(f"Try: `{_inline(error.hint)}`")
    if error.details:
        parts.append(render(error.details))
    await _attach(kind, subject, "\n\n".join(parts))


async def _attach(kind: str, subject: str, markdown: str) -> None:
    import httpx

    try:
        await acreate_markdown_artifact(
            markdown, key=artifact_key(kind, subject), description=f"{kind} of {subject}"
        )
    except (httpx.HTTPError, PrefectException) as error:
        get_run_logger().warning("the report could not be stored: %s", error)


def artifact_key(kind: str, subject: str) -> str:
    """Prefect allows lower-case letters, digits and dashes.

    >>> artifact_key("train", "bike_rentals.v2")
    'train-bike-rentals-v2'
    """
    return re.sub(r"[^a-z0-9]+", "-", f"{kind}-{subject}".lower()).strip("-")


def render(facts: Mapping[str, Any], *, level: int = 2) -> str:
    """Nested facts as Markdown: scalars as one table, each list or mapping as a section."""
    scalars = {name: value for name, value in facts.items() if not isinstance(value, Mapping | list | tuple)}
    parts = [_table(["", "value"], scalars.items())] if scalars else []
    for name, value in facts.items():
        if name in scalars or not value:
            continue
        parts.append(f"{'#' * min(level, 6)} {_inline(name)}")
        if isinstance(value, Mapping):
            parts.append(render(value, level=level + 1))
        else:
            parts.append(_sequence(value))
    return "\n\n".join(parts)


def _sequence(items: Sequence[Any]) -> str:
    shown = list(items[:_MAX_ROWS])
    more = f"\n\n… and {len(items) - _MAX_ROWS} more" if len(items) > _MAX_ROWS else ""
    if all(isinstance(item, Mapping) for item in shown):
        columns = list(dict.fromkeys(name for item in shown for name in item))
        return _table(columns, ([item.get(column) for column in columns] for item in shown)) + more
    return "\n".join(f"- {_inline(item)}" for item in shown) + more


def _table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [_row(headers), _row(["---"] * len(headers))]
    return "\n".join([*lines, *(_row(row) for row in rows)])


def _row(cells: Iterable[Any]) -> str:
    return "| " + " | ".join(_inline(cell) for cell in cells) + " |"


def _inline(value: Any) -> str:
    """One cell of text from outside: no line breaks, no column breaks, no markup."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    text = "".join(character if character.isprintable() else " " for character in text)
    for special in ("\\", "|", "<", "`", "["):
        text = text.replace(special, "\\" + special)
    return text[:500]
