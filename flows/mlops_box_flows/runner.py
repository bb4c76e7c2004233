"""Serves the deployments of a box: ``python -m mlops_box_flows.runner --home HOME``.

The environment must name the Prefect API (see ``operations.prefect_env``); the supervisor sees to that.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_box.box import Box
from mlops_box.errors import BoxError, UnavailableError
from mlops_box.operations.prefect_env import TELEMETRY_OFF
from mlops_box.program import run_program
from mlops_box_flows.deployments import Plan, plans, to_deployment
from mlops_box_flows.reconcile import close_dead_flow_runs, drop_late_runs

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.runner import Runner

# Runs that wait for a lane hold a slot too: monitoring must not starve behind queued trainings.
FLOW_RUNS_AT_ONCE = 8
REFRESH_S = 3.0
RECONCILE_S = 10.0
API_OUTAGE_S = 20.0

log = logging.getLogger("mlops_box.runner")


class BoxRunner:
    """One Prefect runner, kept in step with the box's registry."""

    def __init__(self, box: Box):
        self._box = box
        self._served: dict[str, Plan] = {}
        self._stop = asyncio.Event()
        self._api_seen_s = time.monotonic()
        self._was_out = False

    async def serve(self) -> None:
        """Serve until SIGTERM or SIGINT; active flow runs are cancelled then."""
        from prefect.client.orchestration import get_client
        from prefect.runner import Runner

        async with get_client() as client:
            await self._mend(client)
            runner = Runner(name="mlops-box", limit=FLOW_RUNS_AT_ONCE, pause_on_shutdown=False)
            await self._refresh(runner)
            serving = asyncio.create_task(runner.start())
            await self._started(runner, serving)
            self._take_signals()
            keeping = asyncio.create_task(self._keep(runner, client))
            stopping = asyncio.create_task(self._stop.wait())
            await asyncio.wait({serving, keeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if keeping.done() or serving.done():
                log.info("leaving: %s", keeping if keeping.done() else serving)
            for task in (keeping, stopping):
                task.cancel()
            if runner.started:
                await runner.astop()
            with contextlib.suppress(asyncio.CancelledError):
                await serving
            self._box.runs.close_dead()

    async def _mend(self, client: PrefectClient) -> None:
        late = await drop_late_runs(self._box, client, now=self._box.clock.now())
        dead = await close_dead_flow_runs(self._box, client)
        if late or dead:
            log.info("dropped %d late runs, closed %s", len(late), dead)

    async def _started(self, runner: Runner, serving: asyncio.Task[None]) -> None:
        while not runner.started:
            if serving.done():
                serving.result()
                raise UnavailableError("Prefect's runner ended at once", hint="see logs/runner.log")
            await asyncio.sleep(0.05)

    def _take_signals(self) -> None:
        """Prefect's own handler leaves active runs ``Running``: ours cancels them first."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)

    async def _keep(self, runner: Runner, client: PrefectClient) -> None:
        """Follow the registry, mend records, show a heartbeat; returns when a restart would do good."""
        reconciled_s = time.monotonic()
        while True:
            if await self._try(self._refresh(runner)):
                self._beat()
            if time.monotonic() - reconciled_s > RECONCILE_S:
                reconciled_s = time.monotonic()
                await self._try(close_dead_flow_runs(self._box, client))
            if self._was_out and not self._box.runs.list(state="running", limit=1):
                # After an outage Prefect's runner no longer hears of cancellations.
                log.info("Prefect was out of reach: starting afresh while nothing runs")
                return
            await asyncio.sleep(REFRESH_S)

    async def _try(self, work: Any) -> bool:
        import httpx
        from prefect.exceptions import PrefectException

        try:
            await work
        except (httpx.HTTPError, PrefectException, BoxError) as error:
            log.warning("will try again: %s: %s", type(error).__name__, error)
            if time.monotonic() - self._api_seen_s > API_OUTAGE_S:
                self._was_out = True
            return False
        self._api_seen_s = time.monotonic()
        return True

    async def _refresh(self, runner: Runner) -> None:
        """Register what is new or changed in the registry."""
        for plan in plans(self._box.home, self._box.projects.list()):
            if self._served.get(plan.full_name) == plan:
                continue
            await runner.aadd_deployment(to_deployment(plan))
            self._served[plan.full_name] = plan
            log.info("serving %s, schedule %s", plan.full_name, plan.cron or "none")

    def _beat(self) -> None:
        """``run/runner.json``: what is served; its modification time is the heartbeat the supervisor watches."""
        path = self._box.home.run / "runner.json"
        body = {"pid": os.getpid(), "deployments": {name: plan.cron for name, plan in self._served.items()}}
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(body), encoding="utf-8")
        temporary.replace(path)


@click.command()
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), required=True)
def command(home: Path) -> None:
    """Serve the deployments of one box."""
    os.environ.update(TELEMETRY_OFF)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if not os.environ.get("PREFECT_API_URL"):
        raise UnavailableError("PREFECT_API_URL is not set", hint="mlops-box up starts the runner")
    with Box.open(home, actor="runner") as box:
        asyncio.run(BoxRunner(box).serve())


if __name__ == "__main__":
    run_program(command)
