"""Brings Prefect's records back to the truth of box.db after anything died.

A killed run stays ``Running`` in Prefect for ever and keeps what it holds; runs that were due while the machine was
off would start in a burst. Both are mended here, at start and from time to time.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from mlops_box.box import Box
from mlops_box.runs import Run
from mlops_box_flows.marks import forget, owner_of
from mlops_box_flows.tagging import box_tag

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

# A process between "started" and its mark: imports take 3 s on an idle machine.
GRACE = timedelta(seconds=90)
_PAGE = 200


async def close_dead_flow_runs(
    box: Box, client: PrefectClient, *, grace: timedelta = GRACE
) -> dict[str, str]:
    """End every flow run of this box whose process is gone, as box.db says it ended.

    Args:
        box: The box.
        client: The Prefect API.
        grace: A run without any trace of a process is left alone this long.

    Returns:
        The new state's name by flow run id.
    """
    box.runs.close_dead()
    closed: dict[str, str] = {}
    for flow_run in await _read(box, client, ["RUNNING", "PENDING", "CANCELLING"]):
        identity = str(flow_run.id)
        owner = owner_of(box.home, identity)
        if owner is not None and owner.is_alive():
            continue
        run = run_of(box, identity)
        if run is not None and run.state == "running":
            continue
        if owner is None and run is None and _age(flow_run) < grace:
            continue
        state = state_for(run)
        await client.set_flow_run_state(UUID(identity), state, force=True)
        forget(box.home, identity)
        closed[identity] = str(state.name)
    return closed


async def drop_late_runs(box: Box, client: PrefectClient, *, now: datetime) -> list[str]:
    """Delete scheduled runs that were due before ``now``, except each deployment's newest; returns their ids."""
    due: dict[Any, list[FlowRun]] = defaultdict(list)
    for flow_run in await _read(box, client, ["SCHEDULED"]):
        moment = flow_run.expected_start_time
        if flow_run.auto_scheduled and moment is not None and moment < now:
            due[flow_run.deployment_id].append(flow_run)
    dropped = []
    for flow_runs in due.values():
        flow_runs.sort(key=lambda run: run.expected_start_time or now)
        for flow_run in flow_runs[:-1]:
            await client.delete_flow_run(flow_run.id)
            dropped.append(str(flow_run.id))
    return dropped


def run_of(box: Box, flow_run_id: str) -> Run | None:
    """The newest run that a flow run began in box.db."""
    row = box.db.one(
        "SELECT id FROM runs WHERE flow_run_id = ? ORDER BY started_at DESC LIMIT 1", (flow_run_id,)
    )
    return box.runs.get(row["id"]) if row else None


def state_for(run: Run | None) -> State[Any]:
    """The Prefect state that tells how a run really ended."""
    from prefect.states import Cancelled, Completed, Crashed, Failed

    if run is None:
        return Crashed(message="its process is gone and it began nothing")
    message = f"box run {run.id}: {run.error or run.state}"
    if run.state == "completed":
        return Completed(message=message)
    if run.state == "cancelled":
        return Cancelled(message=message)
    if run.state == "crashed":
        return Crashed(message=message)
    return Failed(message=message, name=run.state.capitalize())


async def _read(box: Box, client: PrefectClient, states: list[str]) -> list[FlowRun]:
    from prefect.client.schemas.filters import FlowRunFilter

    chosen = FlowRunFilter.model_validate(
        {"state": {"type": {"any_": states}}, "tags": {"all_": [box_tag(box.home)]}}
    )
    found: list[FlowRun] = []
    while True:
        page = await client.read_flow_runs(flow_run_filter=chosen, limit=_PAGE, offset=len(found))
        found += page
        if len(page) < _PAGE:
            return found


def _age(flow_run: FlowRun) -> timedelta:
    moment = flow_run.state.timestamp if flow_run.state is not None else flow_run.created
    return datetime.now(UTC) - moment if moment is not None else GRACE
