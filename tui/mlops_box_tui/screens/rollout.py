"""A model's rollout: its stage, what it waits for, the evidence and every transition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import RenderableType
from rich.text import Text

from mlops_box.box import Box
from mlops_box.errors import NotFoundError
from mlops_box.ledger import Entry
from mlops_box.operations.rollout import RolloutStatus, status
from mlops_box.serving.rollout.evidence import StageEvidence
from mlops_box.serving.rollout.plan import LiveState
from mlops_box_tui.look import Look
from mlops_box_tui.screens.acts import acts_table
from mlops_box_tui.screens.detail import Body, DetailScreen, Link
from mlops_box_tui.widgets.grids import facts, heading, rows


@dataclass(frozen=True)
class RolloutSeen:
    """A rollout with what was counted in each of its stages and what the ledger holds on it."""

    status: RolloutStatus
    stages: Mapping[tuple[LiveState, int], StageEvidence]
    acts: tuple[Entry, ...]


class RolloutScreen(DetailScreen[RolloutSeen]):
    """The rollout of a model that is under way, or its last."""

    TABS = ("rollout", "evidence", "transitions")

    def fetch(self, box: Box) -> RolloutSeen:
        found = status(box, self.subject)
        if not found:
            raise NotFoundError(
                f"no rollout of {self.subject} yet: declare shadow or canary under [serve.rollout] and train"
            )
        rollout_id = found[0].rollout.id
        acts = box.ledger.entries(subject=f"rollout:{rollout_id}", limit=500)
        return RolloutSeen(found[0], box.rollouts.evidence(rollout_id), tuple(reversed(acts)))

    @property
    def moving(self) -> bool:
        return self.detail is not None and self.detail.status.rollout.is_open

    def heading(self, detail: RolloutSeen, look: Look) -> Text:
        rollout = detail.status.rollout
        return Text.assemble(
            " ", look.text(rollout.ref, "accent"), (" over ", "dim"), look.text(rollout.base_ref), "  ",
            look.text(rollout.stage_text, "busy" if rollout.is_open else "plain"), ("  since ", "dim"),
            look.ago(rollout.stage_at),
        )  # fmt: skip

    def body(self, tab: str, detail: RolloutSeen, look: Look) -> Body:
        match tab:
            case "rollout":
                return Body([_facts(detail.status, look)])
            case "evidence":
                return Body(_evidence(detail, look))
        return Body([acts_table(detail.acts, look)])

    def links(self, detail: RolloutSeen) -> Sequence[Link]:
        rollout = detail.status.rollout
        return [
            Link("version", rollout.ref, "wants to take over"),
            Link("version", rollout.base_ref, "the champion it is compared with"),
        ]


def _facts(seen: RolloutStatus, look: Look) -> RenderableType:
    rollout, stage = seen.rollout, seen.rollout.stage
    return facts(
        [
            ("state", rollout.stage_text), ("share", f"{stage.percent}% of requests" if stage else None),
            ("waits for" if rollout.is_open else "reason", seen.waits_for),
            ("verdict", seen.verdict.outcome.replace("_", " ") if seen.verdict else None),
            ("requests", f"{seen.verdict.requests} of at least {rollout.plan.min_requests}" if seen.verdict else None),
            ("proposed", look.ago(rollout.proposed_at)), ("started", look.ago(rollout.started_at)),
            ("ended", look.ago(rollout.ended_at)), ("rollout", rollout.id),
        ],
        look,
    )  # fmt: skip


def _evidence(detail: RolloutSeen, look: Look) -> list[RenderableType]:
    verdict = detail.status.verdict
    signals = [
        (signal.name, signal.outcome.replace("_", " "), signal.evidence, signal.needed, signal.text)
        for signal in (verdict.signals if verdict else ())
    ]
    counted = [
        (f"{state} {step + 1}", one.candidate.compared,
         one.candidate.disagreement / one.candidate.compared if one.candidate.compared else None)
        for (state, step), one in sorted(detail.stages.items())
    ]  # fmt: skip
    return [
        rows(
            ("signal", "verdict", ">evidence", ">needed", "says"), signals, look,
            empty="nothing to judge before its first stage and after its last",
        ),
        heading("compared with the champion's answers"),
        rows(("stage", ">compared", ">disagreement"), counted, look, empty="no answer was compared yet"),
    ]  # fmt: skip
