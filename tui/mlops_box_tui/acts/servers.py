"""Start the box's servers, and stop them."""

from __future__ import annotations

from mlops_box.box import Box
from mlops_box.errors import UsageError
from mlops_box_tui.acts.act import Act, Plan


def _up_plan(box: Box, _row: object) -> Plan:
    from mlops_box.operations.supervisor.state import read_state

    state = read_state(box.home)
    if state is not None and state.is_alive():
        raise UsageError(
            f"the box is up already (process {state.owner.pid}, {state.phase})", hint="D stops it"
        )
    champions = len(box.models.champions())
    return Plan((
        "starts the scheduler, the runner and the inference server in the background",
        f"{champions} model{'s' * (champions != 1)} to serve; it listens on 127.0.0.1 and outlives this screen",
    ))  # fmt: skip


UP: Act[object] = Act(
    id="up", key="U", label="start", danger="none", needs_row=False,
    tooltip="Start the scheduler, the runner and the inference server.",
    plan=_up_plan, cli=lambda _row, _form: ["up", "--detach"],
)  # fmt: skip


def _down_plan(box: Box, _row: object) -> Plan:
    from mlops_box.operations.supervisor.state import read_state

    state = read_state(box.home)
    if state is None or not state.is_alive():
        raise UsageError("nothing is up", hint="U starts it")
    running = len(box.runs.list(state="running"))
    return Plan((
        f"stops {', '.join(one.name for one in state.processes)}: nothing answers requests any more",
        f"{running} run{'s' * (running != 1)} under way; those of the scheduler end with it",
    ))  # fmt: skip


DOWN: Act[object] = Act(
    id="down", key="D", label="stop", danger="confirm", needs_row=False,
    tooltip="Stop the servers: nothing answers requests any more.",
    plan=_down_plan, cli=lambda _row, _form: ["down"],
)  # fmt: skip
