"""How good both versions turn out to be: ground truth, joined with the predictions of a rollout as the log grows.

Predictions may be answered by one process and their truth be told to another, so that the join is made from the prediction log,
by one process at a time. It counts the truths that arrive while it follows the log; who takes over goes on from there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mlops_box.clock import Clock, isoformat, parse_time
from mlops_box.db import Database
from mlops_box.serving.records import PredictionIds, PredictionRecord, Truth, TruthRecord
from mlops_box.serving.rollout.evidence import Counts, EvidenceRow, Variant
from mlops_box.serving.rollout.plan import LiveState
from mlops_box.serving.rollout.states import Rollout
from mlops_box.serving.rollout.store import RolloutStore
from mlops_box.serving.segment_lines import read_on

# Predictions that wait for their truth, and truths that wait for their prediction to be read; the oldest go first.
MAX_WAITING = 100_000
MAX_EARLY = 10_000
# Of each segment in one go: what was written before is caught up with bit by bit.
_READ_BYTES = 4 * 1024 * 1024
_VARIANTS: dict[str, Variant] = {"champion": "champion", "canary": "candidate", "shadow": "candidate"}


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one row was answered, in which stage, by whom."""

    state: LiveState
    step: int
    variant: Variant
    number: float | None
    label: str | None


@dataclass
class _Followed:
    """One rollout's predictions and truths.

    Attributes:
        stages: (since, state, step), in the order of time; microseconds.
        waiting: By prediction id; a shadow's answer stands under the id of what it copied.
        early: Truths whose prediction was not read yet.
        losses: Of predictions that were judged, for truths that are corrected.
    """

    rollout: Rollout
    stages: list[tuple[int, LiveState, int]]
    waiting: dict[tuple[str, Variant], _Answer] = field(default_factory=dict)
    early: dict[str, Truth] = field(default_factory=dict)
    losses: dict[tuple[str, Variant], float] = field(default_factory=dict)
    counts: dict[tuple[LiveState, int, Variant], Counts] = field(default_factory=dict)
    changed: bool = False


class TruthFollower:
    """Follows the prediction log for the rollouts that are under way.

    Args:
        folder: Where segments lie (``home.predictions``).
        process: Names this process in box.db.
    """

    def __init__(self, folder: Path, db: Database, store: RolloutStore, clock: Clock, *, process: str):
        self._folder = folder
        self._db = db
        self._store = store
        self._process = f"{process} truth"
        self._since_us = _us(isoformat(clock.now()))
        self._offsets: dict[str, int] = {}
        self._followed: dict[str, _Followed] = {}

    def follow(self) -> None:
        """Read what is new and write down what it shows.

        Raises:
            BoxError: box.db cannot be read or written now.
        """
        live = {rollout.id: rollout for rollout in self._store.open() if rollout.stage is not None}
        self._followed = {key: found for key, found in self._followed.items() if key in live}
        for key, rollout in live.items():
            known = self._followed.get(key)
            if known is None:
                # Everything is read again for it: it may have begun a while ago.
                self._offsets.clear()
                self._followed[key] = _Followed(rollout, self._stages(rollout))
            elif known.rollout.revision != rollout.revision:
                known.rollout, known.stages = rollout, self._stages(rollout)
        if not self._followed:
            return
        self._read(isoformat(min(rollout.started_at or rollout.stage_at for rollout in live.values())))
        for found in self._followed.values():
            if found.changed:
                self._store.put_evidence(found.rollout.id, self._process, _rows(found))
                found.changed = False

    def _read(self, since: str) -> None:
        segments = self._db.read(
            "SELECT id, path FROM segments WHERE state IN ('open', 'closed') AND (closed_at IS NULL OR closed_at >= ?) "
            "ORDER BY opened_at, id",
            (since,),
        )
        names = {row["id"] for row in segments}
        self._offsets = {key: offset for key, offset in self._offsets.items() if key in names}
        records = []
        for row in segments:
            found, self._offsets[row["id"]] = read_on(
                self._folder / row["path"], self._offsets.get(row["id"], 0), at_most_bytes=_READ_BYTES
            )
            records += found
        # A truth in one segment may be of a prediction in another: first all answers, then all truths.
        for record in records:
            if isinstance(record, PredictionRecord):
                self._note(record)
        for followed in self._followed.values():
            early, followed.early = list(followed.early.values()), {}
            _judge(followed, early)
        for record in records:
            if isinstance(record, TruthRecord) and record.at_us >= self._since_us:
                for followed in self._of(record.model):
                    _judge(followed, record.truths)

    def _note(self, record: PredictionRecord) -> None:
        variant = _VARIANTS.get(record.variant)
        for followed in self._of(record.model):
            number = followed.rollout.base if variant == "champion" else followed.rollout.number
            stage = _stage_at(followed.stages, record.at_us)
            if variant is None or stage is None or record.number != number:
                continue
            _remember(followed, record, stage, variant)

    def _of(self, model: str) -> list[_Followed]:
        return [found for found in self._followed.values() if found.rollout.model == model]

    def _stages(self, rollout: Rollout) -> list[tuple[int, LiveState, int]]:
        rows = self._db.read(
            "SELECT at, facts FROM ledger WHERE subject = ? AND act IN ('rollout.shadow', 'rollout.canary') ORDER BY seq",
            (f"rollout:{rollout.id}",),
        )
        found = []
        for row in rows:
            stage = json.loads(row["facts"])["to"]
            found.append((_us(row["at"]), stage["state"], int(stage["step"])))
        return found


def _remember(
    followed: _Followed, record: PredictionRecord, stage: tuple[LiveState, int], variant: Variant
) -> None:
    ids = record.ids
    if record.copy_of is not None:
        ids = PredictionIds.from_first(record.copy_of, len(ids))
    for place, id_ in enumerate(ids):
        number = record.predictions[place] if record.predictions is not None else None
        label = record.labels[place] if record.labels is not None else None
        followed.waiting[id_, variant] = _Answer(*stage, variant, number, label)
    while len(followed.waiting) > MAX_WAITING:
        followed.waiting.pop(next(iter(followed.waiting)))


def _judge(followed: _Followed, truths: Iterable[Truth]) -> None:
    yardstick = followed.rollout.yardstick
    variants: tuple[Variant, Variant] = ("champion", "candidate")
    for truth in truths:
        is_early = True
        for variant in variants:
            key = (truth.id, variant)
            answer = followed.waiting.get(key)
            if answer is None:
                continue
            is_early = False
            loss = yardstick.loss(answer.number, answer.label, truth.text, truth.number)
            if loss is None:
                continue
            counts = followed.counts.setdefault((answer.state, answer.step, variant), Counts())
            counts.judged(loss, instead_of=followed.losses.get(key))
            followed.losses[key] = loss
            followed.changed = True
        if is_early and len(followed.early) < MAX_EARLY:
            followed.early[truth.id] = truth


def _rows(followed: _Followed) -> list[EvidenceRow]:
    return [EvidenceRow(*key, counts) for key, counts in followed.counts.items()]


def _stage_at(stages: list[tuple[int, LiveState, int]], at_us: int) -> tuple[LiveState, int] | None:
    found = None
    for since_us, state, step in stages:
        if at_us >= since_us:
            found = (state, step)
    return found


def _us(moment: str) -> int:
    return int(parse_time(moment).timestamp() * 1_000_000)
