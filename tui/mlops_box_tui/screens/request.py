"""One answered request whole: inputs as they were logged, answers, ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from mlops_box.box import Box
from mlops_box_tui.look import Look, number
from mlops_box_tui.screens.detail import Body, DetailScreen, Link
from mlops_box_tui.screens.request_list import answer
from mlops_box_tui.widgets.grids import facts, heading, rows, tree

if TYPE_CHECKING:
    from mlops_box.serving.answered import AnsweredRequest, AnsweredRow
    from mlops_box.serving.log_tail import LogTail


@dataclass(frozen=True)
class RequestSeen:
    """A request, with what the box declares of its model.

    Attributes:
        redacted: Columns that are not shown.
        classes: In the order of the probabilities.
    """

    request: AnsweredRequest
    redacted: tuple[str, ...]
    classes: tuple[str, ...]
    tail: LogTail


class RequestScreen(DetailScreen[RequestSeen]):
    """A request of the newest ones; the truth is looked for again while it is open."""

    TABS = ("record",)

    def __init__(self, request: AnsweredRequest):
        super().__init__(request.id)
        self._request = request

    def fetch(self, box: Box) -> RequestSeen:
        from mlops_box.operations.views.requests import newest_requests

        request = self._request
        ref = f"{request.model}@{request.number}"
        before = self.detail.tail if self.detail is not None else None
        tail = newest_requests(box, ref, since=request.at, before=before)
        current = next((one for one in tail.requests if one.id == request.id), None)
        if current is not None:
            # Sealed meanwhile, a record tells less of what came: what was read first stays.
            told = {row.id: row.truth for row in current.first}
            request = _with_truths(request, told)
            self._request = request
        redacted = tuple(sorted(box.projects.redacted(request.model)))
        classes = box.models.get(ref).signature.classes or ()
        return RequestSeen(request, redacted, tuple(str(name) for name in classes), tail)

    def heading(self, detail: RequestSeen, look: Look) -> Text:
        request = detail.request
        return Text.assemble(
            " ", look.text(request.id, "accent"), "  ", look.text(f"{request.model}@{request.number}"), (" as ", "dim"),
            look.text(request.variant), "  ", (f"{request.at:%Y-%m-%d %H:%M:%S.%f}"[:-3] + " UTC", "dim"),
        )  # fmt: skip

    def body(self, tab: str, detail: RequestSeen, look: Look) -> Body:
        request = detail.request
        parts: list[RenderableType] = [facts(_request_facts(request), look)]
        for row in request.first:
            if request.rows > 1:
                parts.append(heading(f"row {row.id.rpartition('-')[2]}"))
            parts += _row(row, request, detail, look)
        if request.rows > len(request.first):
            parts.append(Text(f"\n{request.rows - len(request.first)} more rows are not shown", style="dim"))
        return Body(parts)

    def links(self, detail: RequestSeen) -> Sequence[Link]:
        request = detail.request
        return [Link("version", f"{request.model}@{request.number}", "answered it")]


def _request_facts(request: AnsweredRequest) -> list[tuple[str, object]]:
    latency = request.latency_ms
    return [
        ("outcome", "ok" if request.outcome == "ok" else "an answer is no number"),
        ("latency", f"{number(latency, digits=3)} ms, from its arrival to this record" if latency is not None else "?"),
        ("rows", request.rows),
        ("copy of", request.copy_of or ("a request the champion answered" if request.variant == "shadow" else None)),
        ("request id", "not in the prediction log; in the access log, where `up --access-log` writes one"),
    ]  # fmt: skip


def _row(row: AnsweredRow, request: AnsweredRequest, detail: RequestSeen, look: Look) -> list[RenderableType]:
    parts: list[RenderableType] = [
        facts(
            [
                ("prediction", answer(row.answer, look)),
                ("truth", row.truth if row.truth is not None else Text("not known yet", style="dim")),
                *([("prediction id", row.id)] if request.rows > 1 else []),
            ],
            look,
        )
    ]
    if row.probability:
        names = detail.classes if len(detail.classes) == len(row.probability) else range(len(row.probability))
        shares = list(zip(map(str, names), row.probability, strict=True))
        parts += [heading("probabilities"), rows(("class", ">probability"), shares, look, empty="")]
    parts.append(heading("inputs, as the model saw them" if request.sealed else "inputs, as logged"))
    if not request.sampled:
        parts.append(Text("not logged: [serve] log_sample takes a share of the requests", style="dim"))
    elif row.inputs:
        parts.append(tree(row.inputs, look))
    else:
        parts.append(Text("none logged", style="dim"))
    if detail.redacted:
        parts.append(Text.assemble(("redacted: ", "dim"), look.text(", ".join(detail.redacted), "quiet")))
    return parts


def _with_truths(request: AnsweredRequest, told: Mapping[str, str | None]) -> AnsweredRequest:
    first = tuple(replace(row, truth=told.get(row.id) or row.truth) for row in request.first)
    return replace(request, first=first)
