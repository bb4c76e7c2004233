"""The line above a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from mlops_box_tui.look import Look

if TYPE_CHECKING:
    from mlops_box_tui.views.base import ListView


def title_of(view: ListView[Any], look: Look) -> Text:
    """Where one is, what the rows are narrowed to, how many there are, or what is wrong."""
    query, page = view.question, view.page
    title = Text(no_wrap=True, overflow=look.overflow)
    title.append(f" {look.fit(view.trail)}", style="bold")
    if query.problems:
        title.append("  ! problems only", style=look.style("warn"))
    if query.text:
        title.append(look.fit(f"  /{look.text(query.text).plain}"), style=look.style("accent"))
    if view.marks:
        away = view.marks_not_shown
        marked = f"  {len(view.marks)} marked" + (f", {away} of them not shown" if away else "")
        title.append(marked, style=look.style("accent"))
    if query.sort:
        title.append(f"  by {query.sort} {view.sort_mark(look).strip()}", style="dim")
    if view.problem:
        title.append(look.fit(f"  ✗ {look.text(view.problem).plain}"), style=look.style("bad"))
    elif page is None:
        title.append("  reading", style="dim")
    else:
        narrowed = page.matching != page.total
        shown = f"{page.matching:,} of {page.total:,}" if narrowed else f"{page.total:,}"
        title.append(f"  {shown.replace(',', ' ')}", style="dim")
        if page.matching > len(page.rows):
            first = page.offset + 1 if page.rows else 0
            title.append(f"  rows {first}-{page.offset + len(page.rows)}, < > to page", style="dim")
    return title
