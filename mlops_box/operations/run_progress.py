"""How far a run is that trains in epochs."""

from __future__ import annotations

from mlops_box.box import Box
from mlops_box.epochs import EpochProgress
from mlops_box.runs import Run


def run_progress(box: Box, run: Run) -> EpochProgress | None:
    """Its epochs and what is left of them by now; ``None`` for a run that does not train in epochs."""
    epochs = box.epochs.get(run.id)
    if epochs is None:
        return None
    return epochs.progress(box.clock.now(), running=run.state == "running" and run.owner.is_alive())
