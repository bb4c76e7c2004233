"""The train flow: contract, snapshot, training, gates, version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from mlops_box.box import Box
from mlops_box_flows.caller import current_caller
from mlops_box_flows.conduct import Outcome, conduct, flow_run_id
from mlops_box_flows.steps import PrefectSteps


@flow(name="train", flow_run_name="train-{project}", persist_result=False, validate_parameters=True)
async def train(
    project: str,
    folder: str | None = None,
    home: str | None = None,
    trigger: str = "schedule",
    idempotency_key: str | None = None,
    snapshot_id: str | None = None,
) -> Any:
    """Train, evaluate, gate and register a version of a project's model.

    Args:
        project: The project's name.
        folder: The folder of its ``mlops.toml``; where the box knows it to be when ``None``.
        home: The box's home; ``MLOPS_BOX_HOME`` of the executing process when ``None``.
        trigger: Who asked: schedule, manual, or the policy's reason.
        idempotency_key: At most one run of this key ever starts.
        snapshot_id: Train on this snapshot instead of reading the source again.
    """

    def operation(box: Box) -> Outcome:
        from mlops_box.operations import train as operations
        from mlops_box.operations.decide import settle
        from mlops_box.project import load_project

        try:
            return operations.train(
                box,
                load_project(Path(folder) if folder else box.projects.get(project).folder),
                steps=PrefectSteps(),
                progress=current_caller().progress,
                trigger=trigger,
                idempotency_key=idempotency_key,
                flow_run_id=flow_run_id(),
                snapshot_id=snapshot_id,
            )
        finally:
            # The decision that asked for it learns the outcome now, not at the next monitor run.
            settle(box)

    return await conduct("train", project, home, operation, lane="train")
