"""The machine and the box's processes: what cannot be known is unknown."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from mlops_box.box import Box
from mlops_box.clock import SystemClock, isoformat
from mlops_box.home import Home
from mlops_box.operations.views import Own, own_processes, read_gpus, read_host
from mlops_box.runs import process_owner


def test_cpu_is_unknown_at_first_and_measured_from_the_reading_before(tmp_path: Path) -> None:
    own = [Own(os.getpid(), "this program"), Own(2**22 + 5, "gone")]
    first = read_host(Home(tmp_path), own, at_s=10.0, before=None)
    assert first.cpu is None
    assert [(process.pid, process.cpu) for process in first.processes] == [(os.getpid(), None)]
    assert first.processes[0].rss_bytes > 0
    earlier = replace(first.processes[0], cpu_s=first.processes[0].cpu_s - 3.0)
    before = replace(first, busy_s=first.busy_s - 50, total_s=first.total_s - 100, processes=(earlier,))
    now = read_host(Home(tmp_path), own, at_s=12.0, before=before)
    assert now.cpu is not None
    assert 0 < now.cpu <= 1
    assert now.processes[0].cpu is not None
    assert now.processes[0].cpu >= 1.5
    another = replace(before, processes=(replace(earlier, started_s=1.0),))
    assert read_host(Home(tmp_path), own, at_s=12.0, before=another).processes[0].cpu is None


def test_a_disk_that_is_not_there_is_unknown(tmp_path: Path) -> None:
    assert read_host(Home(tmp_path / "none"), [], at_s=0.0, before=None).disk_free is None


def test_the_owner_of_a_running_run_is_a_process_of_the_box_a_dead_one_is_not(tmp_path: Path) -> None:
    parent = process_owner(os.getppid())
    assert parent is not None
    with Box.open(tmp_path / "box") as box:
        for name, owner in (("churn", parent), ("lost", replace(parent, pid_started=parent.pid_started + 9))):
            with box.db.write() as tx:
                tx.insert("runs", {
                    "id": name, "project": name, "kind": "train", "state": "running", "trigger": "manual",
                    "started_at": isoformat(SystemClock().now()), "pid": owner.pid, "pid_started": owner.pid_started,
                    "boot_id": owner.boot_id, "fence": 1,
                })  # fmt: skip
        assert own_processes(box) == (Own(os.getpid(), "this program"), Own(parent.pid, "train churn"))


@pytest.mark.parametrize(
    ("script", "busy", "problem"),
    [
        ("echo '0, NVIDIA A2, 40, 512, 15356, 51'", 0.4, None),
        ("echo '0, NVIDIA GB10, [N/A], [N/A], [N/A], 51'", None, None),
        ("echo 'NVIDIA-SMI has failed'; exit 9", None, "GPU unknown: NVIDIA-SMI has failed"),
    ],
)
def test_gpus_are_what_nvidia_smi_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, busy: float | None, problem: str | None
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = read_gpus()
    assert found.problem == problem
    assert [gpu.busy for gpu in found.found] == ([] if problem else [busy])
    if busy is not None:
        assert found.found[0].memory_total == 15356 * 1024**2


def test_no_nvidia_smi_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_gpus().problem == "no GPU: nvidia-smi is not here"
