"""What all workers counted and how they are, as one server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

from mlops_box.errors import IntegrityError
from mlops_box.serving import metric_table as table
from mlops_box.serving.metrics import FORGET_AFTER_S
from mlops_box.serving.metrics_snapshot import Labels, MetricsSnapshot
from mlops_box_services.workers.colleague import Colleague

ANSWER_S = 1.0


class Totals:
    """Adds up the living and keeps what the dead had counted, so that no total ever falls."""

    def __init__(self) -> None:
        self._ended = MetricsSnapshot()
        self._left_s: dict[Labels, float] = {}
        self._deaths = 0

    async def refresh(self, workers: Iterable[Colleague]) -> list[Colleague]:
        """Ask all for their counts; returns who answered."""

        async def ask(worker: Colleague) -> bool:
            text = await worker.ask("snapshot", ANSWER_S)
            if text is not None and worker.state != "gone":
                worker.counted = MetricsSnapshot.from_json(text.encode())
            return text is not None

        asked = list(workers)
        answered = await asyncio.gather(*map(ask, asked))
        return [worker for worker, did in zip(asked, answered, strict=True) if did]

    def keep(self, worker: Colleague, last: str | None, *, died: bool) -> None:
        """A worker has ended.

        Args:
            last: What it had counted, where it could still say so.
            died: Nobody had asked it to.
        """
        self._deaths += died
        if last is not None:
            with contextlib.suppress(IntegrityError):
                worker.counted = MetricsSnapshot.from_json(last.encode())
        self._ended = self._ended.merge(worker.counted.counted())
        worker.counted = MetricsSnapshot()

    async def snapshot(self, workers: Sequence[Colleague], now_s: float) -> MetricsSnapshot:
        """All together. A worker that does not answer is there with what it had counted when it last did.

        Args:
            now_s: A monotonic clock's reading.
        """
        answered = set(await self.refresh(workers))
        self._forget({key for worker in workers for key in _versions(worker.counted)}, now_s)
        whole = self._ended
        for worker in workers:
            whole = whole.merge(worker.counted if worker in answered else worker.counted.counted())
        gauges: dict[str, dict[Labels, float]] = {
            table.WORKER_UP.name: {
                (str(w.number),): float(w in answered and w.state == "warm") for w in workers
            },
            table.WORKER_CONNECTIONS.name: {(str(w.number),): float(w.open) for w in workers},
            table.WORKER_DEMAND.name: {
                (str(w.number),): w.report.demand for w in workers if w.report is not None
            },
            table.WORKER_RESTARTS.name: {(): float(self._deaths)},
        }
        return MetricsSnapshot({**whole.values, **gauges})

    def _forget(self, living: set[Labels], now_s: float) -> None:
        """The counts of the dead for a version that no worker knows any more go after a while, as a worker's own do."""
        gone = _versions(self._ended) - living
        self._left_s = {key: self._left_s.get(key, now_s) for key in gone}
        drop = {key for key, since_s in self._left_s.items() if now_s - since_s > FORGET_AFTER_S}
        if drop:
            self._ended = MetricsSnapshot(
                {
                    name: {labels: value for labels, value in series.items() if labels[:2] not in drop}
                    if _is_by_version(name)
                    else series
                    for name, series in self._ended.values.items()
                }
            )

    async def readiness(
        self, workers: Sequence[Colleague], *, least: int, problem: str | None
    ) -> dict[str, Any]:
        """Ready when every worker is and there are enough of them."""
        answers = await asyncio.gather(*(worker.ask("readiness", ANSWER_S) for worker in workers))
        problems = [f"promotions are not seen: {problem}"] if problem else []
        models: dict[str, dict[str, Any]] = {}
        for worker, answer in zip(workers, answers, strict=True):
            if worker.state != "warm":
                if worker.problem is not None:
                    problems.append(f"worker {worker.number} cannot serve: {worker.problem}")
                continue
            if answer is None:
                problems.append(f"worker {worker.number} (process {worker.pid}) does not answer")
                continue
            problems += [text for text in answer["problems"] if text not in problems]
            for route in answer["models"]:
                models[route["model"]] = _older(models.get(route["model"]), route)
        warm = sum(worker.state == "warm" for worker in workers)
        if warm < least:
            problems.append(f"{warm} of {least} workers are warm")
        ready = not problems and all(route["serving"] == route["champion"] for route in models.values())
        return {
            "ready": ready,
            "models": [models[name] for name in sorted(models)],
            "problems": problems,
            "workers": [_line(worker, answer) for worker, answer in zip(workers, answers, strict=True)],
        }


def _is_by_version(name: str) -> bool:
    return table.BY_NAME[name].labels[:2] == ("model", "version")


def _versions(snapshot: MetricsSnapshot) -> set[Labels]:
    """The (model, version) that something was counted for."""
    return {
        labels[:2] for name, series in snapshot.values.items() if _is_by_version(name) for labels in series
    }


def _older(mine: dict[str, Any] | None, other: dict[str, Any]) -> dict[str, Any]:
    """The one of two workers' routes that is further from what is wanted."""
    if mine is None:
        return other
    return min(mine, other, key=lambda route: (route["serving"] is not None, route["serving"] or 0))


def _line(worker: Colleague, answer: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "worker": worker.number,
        "pid": worker.pid,
        "state": worker.state,
        "answers": answer is not None,
        "connections": worker.open,
    }
