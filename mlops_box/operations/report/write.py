"""The report as a file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mlops_box.box import Box
from mlops_box.errors import NotFoundError
from mlops_box.evaluation.figure import alone
from mlops_box.evaluation.page import page_environment
from mlops_box.files import write_whole
from mlops_box.operations.report.facts import ReportFacts, gather
from mlops_box.operations.report.picture import timeline


@dataclass(frozen=True)
class ReportOutcome:
    """Where the page is, and how much it tells."""

    model: str
    file: Path
    windows: int
    versions: int
    rollouts: int
    size_bytes: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model, "file": str(self.file), "windows": self.windows, "versions": self.versions,
            "rollouts": self.rollouts, "size_bytes": self.size_bytes,
        }  # fmt: skip


def write_report(
    box: Box, name: str, *, out: Path | None = None, since: datetime | None = None
) -> ReportOutcome:
    """Write the page of a model or project; one HTML file that needs nothing else.

    Args:
        out: The file; ``NAME-report.html`` in this folder when ``None``.
        since: Only windows that end after it.

    Raises:
        NotFoundError: Neither a model nor a project is called so, or it has no version yet.
        StorageError: The file cannot be written.
    """
    facts = gather(box, name, since=since)
    page = render(facts)
    target = (out or Path(f"{facts.model}-report.html")).absolute()
    write_whole(target, page)
    return ReportOutcome(
        facts.model, target, len(facts.windows), len(facts.versions), len(facts.rollouts), len(page)
    )


def write_picture(box: Box, name: str, *, out: Path, since: datetime | None = None) -> ReportOutcome:
    """Only the timeline, as one SVG file.

    Raises:
        NotFoundError: As :func:`write_report`, and where no window was monitored.
        StorageError: The file cannot be written.
    """
    facts = gather(box, name, since=since)
    if not facts.windows:
        raise NotFoundError(f"{facts.model} has no window to draw", hint="mlops-box monitor makes them")
    picture = alone(timeline(facts)).encode()
    write_whole(out.absolute(), picture)
    return ReportOutcome(
        facts.model,
        out.absolute(),
        len(facts.windows),
        len(facts.versions),
        len(facts.rollouts),
        len(picture),
    )


def render(facts: ReportFacts) -> bytes:
    """The page as UTF-8 HTML. Names and values from outside are escaped; no script, no request leaves the page."""
    from markupsafe import Markup

    template = page_environment().get_template("report.html.j2")
    picture = Markup(timeline(facts)) if facts.windows else None
    return template.render(facts=facts, picture=picture).encode()
