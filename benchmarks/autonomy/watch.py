"""What the monitor sees of a day: drift of the features, and quality where the truth is known."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import timedelta

from benchmarks.autonomy.candidate import Model
from benchmarks.autonomy.world import Day
from mlops_box.monitoring.drift import DriftDetector
from mlops_box.monitoring.quality import Answers, assess_quality
from mlops_box.project.retrain import TriggerName

QUALITY_LIMIT = 0.2
PERSISTENCE, OF = 2, 3
FDR = 0.01


@dataclass(frozen=True)
class Seen:
    """A reason to retrain, the day on which it began, and what was broken in the data that showed it."""

    name: TriggerName
    text: str
    since: int
    broken: str | None


class Watch:
    """Looks at one champion's days; its limits are calibrated on the days that it learnt from."""

    def __init__(self, model: Model):
        self._detector = DriftDetector(model.reference, time="at", window=timedelta(days=1), fdr=FDR)
        self._drifted: deque[bool] = deque(maxlen=OF)
        self._since: dict[TriggerName, int] = {}
        self._broken: dict[int, str | None] = {}

    def look(self, day: Day, known: Day | None, model: Model) -> list[Seen]:
        """What asks for a retraining: ``drift`` when 2 of 3 days drifted, ``quality`` at a sure loss."""
        found: list[Seen] = []
        finding = self._detector.check(day.features)
        broken = "; ".join(f"{name} {fault.kind}" for name, fault in finding.faults.items()) or None
        self._broken[day.number] = broken
        self._drifted.append(finding.outcome == "drift" and bool(finding.drifted))
        begun = self._streak("drift", self._drifted[-1], day.number)
        if self._drifted[-1] and sum(self._drifted) >= PERSISTENCE:
            found.append(Seen("drift", finding.reason, begun, broken))
        if known is not None:
            quality = assess_quality(
                "regression",
                truth=known.truth,
                answers=Answers(model.answer(known.features), None, None),
                classes=None,
                metric="mae",
                held_out={"mae": model.held_out_mae},
                limit=QUALITY_LIMIT,
                rows=len(known.truth),
                held_out_rows=model.reference.num_rows // 4,
            )
            begun = self._streak("quality", quality.outcome == "loss", known.number)
            if quality.outcome == "loss":
                found.append(Seen("quality", quality.reason, begun, self._broken.get(known.number)))
        return found

    def _streak(self, name: TriggerName, bad: bool, number: int) -> int:
        """The first of the bad days in a row up to this one."""
        if not bad:
            self._since.pop(name, None)
        return self._since.setdefault(name, number) if bad else number
