"""What the monitor sees of a day: drift of the features, and quality where the truth is known."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from benchmarks.autonomy.candidate import Model
from benchmarks.autonomy.world import Day
from mlops_box.monitoring.drift import DriftDetector
from mlops_box.monitoring.quality import Answers, assess_quality
from mlops_box.project.retrain import TriggerName

QUALITY_LIMIT = 0.2
PERSISTENCE, OF = 2, 3


@dataclass(frozen=True)
class Seen:
    """A reason to retrain, and the day on which it began."""

    name: TriggerName
    text: str
    since: int


class Watch:
    """Looks at one champion's days.

    Args:
        history: The days it learnt from, for the calibration of the limits.
    """

    def __init__(self, model: Model, history: list[Day]):
        self._detector = DriftDetector(model.reference)
        self._drifted: deque[bool] = deque(maxlen=OF)
        self._since: dict[TriggerName, int] = {}

    def look(self, day: Day, known: Day | None, model: Model) -> list[Seen]:
        """What asks for a retraining: ``drift`` when 2 of 3 days drifted, ``quality`` at a sure loss."""
        found: list[Seen] = []
        finding = self._detector.check(day.features)
        self._drifted.append(finding.outcome == "drift" and bool(finding.drifted))
        begun = self._streak("drift", self._drifted[-1], day.number)
        if self._drifted[-1] and sum(self._drifted) >= PERSISTENCE:
            found.append(Seen("drift", finding.reason, begun))
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
                found.append(Seen("quality", quality.reason, begun))
        return found

    def _streak(self, name: TriggerName, bad: bool, number: int) -> int:
        """The first of the bad days in a row up to this one."""
        if not bad:
            self._since.pop(name, None)
        return self._since.setdefault(name, number) if bad else number
