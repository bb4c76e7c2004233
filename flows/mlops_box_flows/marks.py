"""Which process executes which flow run: one small file a run, in the box's ``run/`` folder.

Prefect does not know the process of a run that its runner served (``infrastructure_pid`` stays empty), so that a
killed run would stay ``Running`` for ever. The mark tells a live one from a dead one.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from mlops_box.home import Home
from mlops_box.runs import Owner, this_process

_FLOW_RUN_ID = re.compile(r"^[0-9a-f-]{36}$")


@contextlib.contextmanager
def marked(home: Home, flow_run_id: str | None) -> Iterator[None]:
    """Say that this process executes the flow run, for the block."""
    if flow_run_id is None:
        yield
        return
    path = _path(home, flow_run_id)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    owner = this_process()
    body = {"pid": owner.pid, "pid_started": owner.pid_started, "boot_id": owner.boot_id}
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(body), encoding="utf-8")
    temporary.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def owner_of(home: Home, flow_run_id: str) -> Owner | None:
    """The process that marked the flow run, alive or dead."""
    try:
        body = json.loads(_path(home, flow_run_id).read_text(encoding="utf-8"))
        return Owner(int(body["pid"]), float(body["pid_started"]), str(body["boot_id"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def forget(home: Home, flow_run_id: str) -> None:
    """Drop the mark of a run whose process is gone."""
    _path(home, flow_run_id).unlink(missing_ok=True)


def _path(home: Home, flow_run_id: str) -> Path:
    if not _FLOW_RUN_ID.match(flow_run_id):
        raise ValueError(f"{flow_run_id!r} is no flow run id")
    return home.run / "flows" / f"{flow_run_id}.json"
