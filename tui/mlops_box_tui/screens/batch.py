"""One checked batch: the rules it met and broke, with examples, its columns and where it came from."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from mlops_box.box import Box
from mlops_box.operations.views import BatchDetail, BatchRow, batch_detail
from mlops_box_tui.acts.act import act_bindings
from mlops_box_tui.acts.data import CHECK
from mlops_box_tui.look import Look
from mlops_box_tui.screens.detail import Body, DetailScreen, Link
from mlops_box_tui.widgets.grids import facts, heading, rows, tree

# A cell of a file may hold a book.
MAX_SHOWN = 80


class BatchScreen(DetailScreen[BatchDetail]):
    """A snapshot or refusal by its id or the beginning of it."""

    TABS = ("verdict", "quarantine", "contract", "examples", "schema", "lineage")
    ACTS = (CHECK,)
    BINDINGS = act_bindings(ACTS)

    def fetch(self, box: Box) -> BatchDetail:
        return batch_detail(box, self.subject, before=self.detail)

    def subject_of(self, detail: BatchDetail) -> BatchRow:
        return detail.row

    def heading(self, detail: BatchDetail, look: Look) -> Text:
        row = detail.row
        what = "snapshot" if row.state == "accepted" else f"batch at the {row.door} door"
        return Text.assemble(
            " ", look.state(row.state), "  ", look.text(f"{what} of {row.project}"), "  ", look.ago(row.at), "  ",
            look.text(row.id[:16], "quiet"),
        )  # fmt: skip

    def body(self, tab: str, detail: BatchDetail, look: Look) -> Body:
        match tab:
            case "verdict":
                return Body(_verdict(detail, look))
            case "quarantine":
                return Body(_quarantine(detail, look))
            case "contract":
                return Body(_contract(detail, look))
            case "examples":
                return Body(_examples(detail, look))
            case "schema":
                lines = [(column.name, column.type) for column in detail.schema]
                return Body([rows(("column", "type"), lines, look, empty="a refused batch keeps no schema")])
        return Body([tree(detail.lineage, look)])

    def links(self, detail: BatchDetail) -> Sequence[Link]:
        return [Link("version", ref, "trained on it") for ref in detail.used_by]


def _verdict(detail: BatchDetail, look: Look) -> list[RenderableType]:
    row = detail.row
    return [
        facts(
            [
                ("rows in", row.rows_in), ("good", row.rows_good), ("quarantined", row.rows_quarantined),
                ("unreadable", row.rows_rejected), ("used by", ", ".join(detail.used_by) or None),
            ],
            look,
        ),
        heading("rules of the batch"),
        rows(("rule", "verdict", "value", "limit", "says"),
             [(check.rule, look.state("passed" if check.ok else "failed"), check.value, check.limit, check.message)
              for check in detail.checks],
             look, empty="none recorded"),
        heading("rules of rows that were broken"),
        rows(("rule", ">rows"), [(hit.rule, hit.rows) for hit in detail.rules], look, empty="none: every row was good"),
    ]  # fmt: skip


def _quarantine(detail: BatchDetail, look: Look) -> list[RenderableType]:
    """The rows themselves: what broke the rule first, then the rest of the row."""
    found = detail.quarantine
    if found.trouble is not None:
        return [look.text(found.trouble, "bad")]
    if detail.row.state == "refused":
        return [Text("a refused batch keeps examples only: the next tabs", style="dim")]
    lines = [
        (row.row, ", ".join(row.rules), look.text(_pairs(row.broken), "bad"), _pairs(row.others),
         look.text(_short(row.raw), "warn") if row.raw else Text())
        for row in found.rows
    ]  # fmt: skip
    table = rows(
        (">row", "broke", "by", "the rest of the row", "came as"), lines, look, empty="no row broke a rule"
    )
    more = (found.total or 0) - len(found.rows)
    if more <= 0:
        return [table]
    left = Text(f"\nand {more} more: mlops-box data quarantine {detail.row.id[:12]}", style="dim")
    return [table, left]


def _pairs(values: Sequence[tuple[str, object]]) -> str:
    return "  ".join(f"{name}={'missing' if value is None else _short(str(value))}" for name, value in values)


def _short(value: str) -> str:
    return value if len(value) <= MAX_SHOWN else value[:MAX_SHOWN] + "..."


def _contract(detail: BatchDetail, look: Look) -> list[RenderableType]:
    contract = detail.contract
    if contract is None:
        return [Text("the box does not know the project's declaration: unknown", style="dim")]
    said = {
        True: "the batch was judged by this contract",
        False: "the contract was edited since: the batch was judged by another one",
        None: "the batch does not tell which contract it was judged by; this is the project's now",
    }[contract.same]
    lines = [(column.column, column.type, column.terms) for column in contract.columns]
    return [
        look.text(said, "warn" if contract.same is False else "quiet"), Text(),
        rows(("column", "type", "must be"), lines, look, empty="no column is declared"),
        heading("the batch as a whole"),
        facts([("rows, at least", contract.rows_min), ("bad rows, at most", f"{contract.quarantine:.2%}")], look),
    ]  # fmt: skip


def _examples(detail: BatchDetail, look: Look) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for hit in detail.rules:
        parts.append(heading(look.text(f"{hit.rule}: {hit.rows} rows").plain))
        parts += [tree(example, look) for example in hit.examples] or [Text("no example kept", style="dim")]
    return parts or [Text("no row was bad", style="dim")]
