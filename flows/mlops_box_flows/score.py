"""The score flow: predict a whole file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from mlops_box.box import Box
from mlops_box_flows.caller import current_caller
from mlops_box_flows.conduct import Outcome, conduct
from mlops_box_flows.steps import PrefectSteps


@flow(name="score", flow_run_name="score-{model}", persist_result=False, validate_parameters=True)
async def score(
    model: str, source: str, target: str, home: str | None = None, trigger: str = "manual"
) -> Any:
    """Predict every row of a file with a model version.

    Args:
        model: ``name``, ``name@7`` or ``name@champion``.
        source: The file to read.
        target: The file to write, Parquet or CSV by its ending.
        home: The box's home; ``MLOPS_BOX_HOME`` of the executing process when ``None``.
        trigger: Who asked.
    """

    def operation(box: Box) -> Outcome:
        from mlops_box.operations import score as operations

        return operations.score(
            box,
            model,
            source=Path(source),
            target=Path(target),
            steps=PrefectSteps(),
            progress=current_caller().progress,
            trigger=trigger,
        )

    return await conduct("score", model, home, operation)
