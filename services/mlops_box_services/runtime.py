"""What one server process holds: the box, the loaded models, the prediction log and two watching threads."""

from __future__ import annotations

import gc
import logging
import os
import threading
from dataclasses import asdict
from typing import Any

from mlops_box.box import Box
from mlops_box.errors import BoxError, ExitCode
from mlops_box.features.lookup import FeatureLookup
from mlops_box.home import Home
from mlops_box.models.values import ModelVersion
from mlops_box.operations.predict import lookup_for
from mlops_box.runs import this_process
from mlops_box.serving import metric_table as table
from mlops_box.serving.access import Access
from mlops_box.serving.authorization import Authorizer
from mlops_box.serving.local_token import local_token
from mlops_box.serving.memory import resident_bytes, spare_budget
from mlops_box.serving.metrics import Metrics
from mlops_box.serving.metrics_snapshot import Labels, MetricsSnapshot
from mlops_box.serving.prediction_log import PredictionLog
from mlops_box.serving.predictor import Predictor
from mlops_box.serving.rollout.contests import Contests
from mlops_box.serving.router import Router
from mlops_box_services.family import Family
from mlops_box_services.observers import open_observers
from mlops_box_services.push_lane import PushLane
from mlops_box_services.rollouts import RolloutKeeper

log = logging.getLogger(__name__)

# A roll-back is to be seen in answers within 0.2 s of its transaction.
POLL_EVERY_S = 0.05
# The heap of a loaded server is long-lived: it is taken out of the collector's sight, and the collector runs seldom.
GC_THRESHOLD = (20_000, 50, 100)


class Runtime:
    """Opened before the first request, closed after the last.

    Args:
        access_log: Write a line for every request.
        follow: Watch box.db and serve what it names; otherwise a doorkeeper says what.
        access: Whether tokens are asked for.

    Attributes:
        contests: The rollouts that requests take part in.
        pushes: Takes events for the feature store.
        family: All workers that serve together; ``None`` where this process is alone.
        authorizer: Who may do what; ``None``: nobody is asked.
        observers: Who is told of answered requests; ``None`` while neither access log nor traces are switched on.
    """

    def __init__(
        self, home: Home, *, access_log: bool = False, follow: bool = True, access: Access = Access()
    ):
        self.box = Box.open(home, actor="server")
        self.metrics = Metrics()
        owner = this_process()
        process = f"{owner.boot_id}:{owner.pid}:{owner.pid_started}"
        self.contests = Contests(self.box.clock, process=process, alarm=lambda: self.keeper.nudge())
        self.keeper = RolloutKeeper(self.box, self.contests, process=process)
        self.router = Router(
            self.box.db, self.box.models, self.box.projects,
            spare_bytes=spare_budget(os.environ), on_load=self.metrics.swapped,
            contests=self.contests, lookup_for=self._lookup_for,
        )  # fmt: skip
        self.pushes = PushLane(self.box, self.metrics)
        try:
            if follow:
                self.router.refresh()
            self.log = PredictionLog(
                home.predictions, self.box.db, self.box.clock, on_sync_error=_stop_at_once
            )
        except BoxError:
            self.box.close()
            raise
        self.log.start()
        self.keeper.start()
        self.predictor = Predictor(self.log, self.box.clock, self.metrics)
        self.observers = open_observers(home, self.box.clock, access_log=access_log, environ=os.environ)
        self.family: Family | None = None
        self.access = access
        self.authorizer = (
            Authorizer(self.box.tokens, self.box.clock, local=local_token(home.run))
            if access.needs_token
            else None
        )
        self._watch_problem: str | None = None
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="champions", daemon=True)
        if follow:
            self._watcher.start()
        if self.authorizer is not None:
            self.authorizer.follow(self._stop)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLD)

    def close(self) -> None:
        """Finish the log and let go; idempotent."""
        if self._stop.is_set():
            return
        self._stop.set()
        if self._watcher.is_alive():
            self._watcher.join()
        self.keeper.close()
        self.contests.close()
        if self.observers is not None:
            self.observers.close()
        try:
            self.log.close()
        finally:
            self.box.close()
            gc.unfreeze()

    def readiness(self) -> dict[str, Any]:
        """``ready`` only when every champion is warm, the log can be written and promotions are seen."""
        routes = self.router.routes()
        problems = [f"{route.model}@{route.champion}: {route.problem}" for route in routes if route.problem]
        if self.log.failure is not None:
            problems.append(self.log.failure.message)
        if self._watch_problem is not None:
            problems.append(f"promotions are not seen: {self._watch_problem}")
        if self.authorizer is not None and self.authorizer.problem is not None:
            problems.append(f"new and revoked tokens are not seen: {self.authorizer.problem}")
        ready = not problems and all(route.is_warm for route in routes)
        return {"ready": ready, "models": [asdict(route) for route in routes], "problems": problems}

    def snapshot(self) -> MetricsSnapshot:
        """What this process counted, and how it is now; call in the event loop."""
        serving: dict[Labels, float] = {}
        queued: dict[Labels, float] = {}
        for route in self.router.routes():
            slot = self.router.champion(route.model)
            if slot is not None:
                serving[(route.model,)] = float(slot.version.number)
                queued[(route.model,)] = float(slot.lane.queued) if slot.lane else 0.0
        loaded = self.router.loaded_versions()
        gauges: dict[str, dict[Labels, float]] = {
            table.SERVING_VERSION.name: serving,
            table.QUEUED_ROWS.name: queued,
            table.LOADED_SLOTS.name: {(): float(len(loaded))},
            table.READY.name: {(): float(self.readiness()["ready"])},
            table.LOG_FAILED.name: {(): float(self.log.failure is not None)},
            table.MEMORY.name: {(): float(resident_bytes())},
            table.WORKERS.name: {(): 1.0},
            table.OBSERVATIONS_DROPPED.name: {(): float(self.observers.dropped if self.observers else 0)},
        }
        return self.metrics.snapshot(
            gauges=gauges,
            loaded={(model, str(number)) for model, number in loaded},
            now_s=self.box.clock.monotonic_s(),
        )

    def _lookup_for(self, version: ModelVersion) -> FeatureLookup | None:
        return lookup_for(self.box, version, told=self.metrics)

    def _watch(self) -> None:
        while not self._stop.wait(POLL_EVERY_S):
            try:
                self.router.refresh()
                self.router.warm_undo()
                self._watch_problem = None
            except BoxError as error:
                if self._watch_problem != error.message:
                    log.error("cannot follow box.db: %s", error.message)
                self._watch_problem = error.message
            except Exception as error:
                # The thread's boundary: without it promotions would stop being seen, silently.
                log.exception("cannot follow box.db")
                self._watch_problem = repr(error)


def _stop_at_once(error: OSError) -> None:
    """After a failed fsync nobody knows what is on the disk: go down, be restarted, read what is there."""
    log.critical("stopping: the prediction log is not safe: %s", error)
    logging.shutdown()
    os._exit(ExitCode.STORAGE)
