"""A model's rollout: its stage, what it waits for, the evidence and every transition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from mlops_box.box import Box
from mlops_box.errors import NotFoundError
from mlops_box.ledger import Entry
from mlops_box.operations.rollout import RolloutStatus, status
from mlops_box.operations.views import VersionRow, version_detail
from mlops_box.operations.views.reading import number
from mlops_box.serving.rollout.evidence import StageEvidence
from mlops_box.serving.rollout.plan import LiveState, stages
from mlops_box_tui.acts.act import act_bindings
from mlops_box_tui.acts.models import PROMOTE
from mlops_box_tui.acts.rollouts import ROLLOUT_ACTS, START
from mlops_box_tui.look import Look
from mlops_box_tui.screens.acts import acts_table
from mlops_box_tui.screens.detail import Body, DetailScreen, Link
from mlops_box_tui.widgets.grids import facts, heading, rows


@dataclass(frozen=True)
class RolloutSeen:
    """A rollout with what was counted in each of its stages and what the ledger holds on it.

    Attributes:
        candidate: The version that it lets in, or kept out.
    """

    status: RolloutStatus
    candidate: VersionRow
    stages: Mapping[tuple[LiveState, int], StageEvidence]
    acts: tuple[Entry, ...]


class RolloutScreen(DetailScreen[RolloutSeen]):
    """The rollout of a model that is under way, or its last."""

    TABS = ("rollout", "evidence", "transitions")
    ACTS = (PROMOTE, START, *ROLLOUT_ACTS)
    BINDINGS = act_bindings(ACTS)

    def fetch(self, box: Box) -> RolloutSeen:
        found = status(box, self.subject)
        if not found:
            raise NotFoundError(
                f"no rollout of {self.subject} yet: declare shadow or canary under [serve.rollout] and train"
            )
        rollout = found[0].rollout
        acts = box.ledger.entries(subject=f"rollout:{rollout.id}", limit=500)
        candidate = version_detail(box, rollout.ref).row
        return RolloutSeen(found[0], candidate, box.rollouts.evidence(rollout.id), tuple(reversed(acts)))

    def subject_of(self, detail: RolloutSeen) -> VersionRow:
        return detail.candidate

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
            Link("version", rollout.ref, "wants to take over" if rollout.is_open else "wanted to take over"),
            Link("version", rollout.base_ref, "the champion it was compared with"),
        ]


def _facts(seen: RolloutStatus, look: Look) -> RenderableType:
    rollout, stage, verdict = seen.rollout, seen.rollout.stage, seen.verdict
    # What is over has neither a share nor a verdict to come.
    now = [
        ("share", f"{stage.percent}% of requests" if stage else None),
        ("verdict", verdict.outcome.replace("_", " ") if verdict else None),
        ("requests", f"{verdict.requests} of at least {rollout.plan.min_requests}" if verdict else None),
    ]
    return facts(
        [
            ("state", rollout.stage_text), ("waits for" if rollout.is_open else "reason", seen.waits_for),
            *(now if rollout.is_open else ()),
            ("proposed", look.ago(rollout.proposed_at)), ("started", look.ago(rollout.started_at)),
            ("ended", look.ago(rollout.ended_at)), ("rollout", rollout.id),
        ],
        look,
    )  # fmt: skip


def _evidence(detail: RolloutSeen, look: Look) -> list[RenderableType]:
    signals = [
        (signal.get("name"), _outcome(str(signal.get("outcome")), look), number(signal.get("evidence")),
         number(signal.get("needed")), signal.get("text"))
        for signal in _signals(detail)
    ]  # fmt: skip
    counted = [
        (str(stage), one.candidate.compared,
         one.candidate.disagreement / one.candidate.compared if one.candidate.compared else None)
        for stage in stages(detail.status.rollout.plan)
        if (one := detail.stages.get((stage.state, stage.step))) is not None
    ]  # fmt: skip
    return [
        rows(
            ("signal", "verdict", ">evidence", ">needed", "says"), signals, look,
            empty="nothing was judged: its first stage has not begun, or a person ended it",
        ),
        heading("compared with the champion's answers"),
        rows(("stage", ">compared", ">disagreement"), counted, look, empty="no answer was compared yet"),
    ]  # fmt: skip


def _signals(detail: RolloutSeen) -> Sequence[Mapping[str, Any]]:
    """What the present stage shows; of a rollout that is over, what decided it."""
    if detail.status.verdict is not None:
        return [signal.to_dict() for signal in detail.status.verdict.signals]
    last = detail.acts[-1].facts if detail.acts else {}
    verdict = last.get("verdict")
    signals = verdict.get("signals") if isinstance(verdict, dict) else None
    return [signal for signal in signals if isinstance(signal, dict)] if isinstance(signals, list) else []


def _outcome(outcome: str, look: Look) -> Text:
    """Three-valued, as everywhere."""
    known = {"good": "fine", "bad": "failed", "cannot_tell": "cannot_tell"}
    return look.state(known.get(outcome, outcome), outcome.replace("_", " "))
