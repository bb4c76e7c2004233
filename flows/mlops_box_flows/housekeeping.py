"""The housekeeping flow: sweep, close, seal, prune, verify."""

from __future__ import annotations

from typing import Any

from prefect import flow

from mlops_box.box import Box
from mlops_box_flows.caller import current_caller
from mlops_box_flows.conduct import Outcome, conduct, flow_run_id
from mlops_box_flows.steps import PrefectSteps


@flow(name="housekeeping", flow_run_name="housekeeping", persist_result=False, validate_parameters=True)
async def housekeeping(home: str | None = None, trigger: str = "schedule") -> Any:
    """Sweep what is left over, close dead runs, seal dead segments, prune logs, check the database.

    Args:
        home: The box's home; ``MLOPS_BOX_HOME`` of the executing process when ``None``.
        trigger: Who asked.
    """

    def operation(box: Box) -> Outcome:
        from mlops_box.operations.housekeeping import housekeeping as keep_house

        return keep_house(
            box,
            steps=PrefectSteps(),
            progress=current_caller().progress,
            trigger=trigger,
            flow_run_id=flow_run_id(),
        )

    return await conduct("housekeeping", "box", home, operation, lane="housekeeping")
