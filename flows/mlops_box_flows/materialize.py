"""The materialize flow: features from events, in files and online."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import flow

from mlops_box.box import Box
from mlops_box_flows.caller import current_caller
from mlops_box_flows.conduct import Outcome, conduct, flow_run_id
from mlops_box_flows.steps import PrefectSteps


@flow(
    name="materialize", flow_run_name="materialize-{subject}", persist_result=False, validate_parameters=True
)
async def materialize(
    home: str | None = None,
    view: str | None = None,
    project: str | None = None,
    until: datetime | None = None,
    subject: str = "all",
    trigger: str = "schedule",
) -> Any:
    """Bring feature views up to date; a new view's whole history is filled in.

    Args:
        home: The box's home; ``MLOPS_BOX_HOME`` of the executing process when ``None``.
        view: One view; all when ``None``.
        project: The views of one project; of all when ``None``.
        until: Leave out what happened or was known later.
        subject: What the run is called after.
        trigger: Who asked.
    """

    def operation(box: Box) -> Outcome:
        from mlops_box.operations.features.materialize import materialize as bring_up

        return bring_up(
            box,
            view=view,
            project=project,
            until=until,
            steps=PrefectSteps(),
            progress=current_caller().progress,
            trigger=trigger,
            flow_run_id=flow_run_id(),
        )

    return await conduct("materialize", subject, home, operation, lane="materialize")
