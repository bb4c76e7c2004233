"""The monitor flow: seal, profile, compare, alert, decide."""

from __future__ import annotations

from typing import Any, Literal

from prefect import flow

from mlops_box.box import Box
from mlops_box_flows.caller import current_caller
from mlops_box_flows.conduct import Outcome, conduct, flow_run_id
from mlops_box_flows.launcher import PrefectLauncher
from mlops_box_flows.steps import PrefectSteps


@flow(name="monitor", flow_run_name="monitor-{subject}", persist_result=False, validate_parameters=True)
async def monitor(
    home: str | None = None,
    model: str | None = None,
    subject: str = "all",
    trigger: str = "schedule",
    launch: Literal["deployment", "here"] = "deployment",
) -> Any:
    """Compare live traffic with the reference, alert, decide; decisions that are still pending are dispatched again.

    Args:
        home: The box's home; ``MLOPS_BOX_HOME`` of the executing process when ``None``.
        model: One model; all when ``None``.
        subject: What the run is called after.
        trigger: Who asked.
        launch: A training the policy asks for starts as a flow run of its deployment, or here, in this process.
    """

    def operation(box: Box) -> Outcome:
        from mlops_box.operations import monitor as operations
        from mlops_box.operations.launch import DirectLauncher

        return operations.monitor(
            box,
            model=model,
            launcher=PrefectLauncher() if launch == "deployment" else DirectLauncher(box),
            steps=PrefectSteps(),
            progress=current_caller().progress,
            trigger=trigger,
            flow_run_id=flow_run_id(),
        )

    return await conduct("monitor", subject, home, operation, lane="monitor")
