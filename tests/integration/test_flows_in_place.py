"""Flows that run in place: steps show in Prefect, states and exit codes say how it ended, nothing is left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flow_kit as kit
import pytest

from mlops_box.box import Box
from mlops_box.home import Home
from mlops_box.operations.locks import FileLock
from mlops_box.operations.prefect_env import PrefectServer, read_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, PrefectServer]]:
    home = Home(tmp_path_factory.mktemp("flows") / "home")
    with kit.prefect_server(home) as server:
        yield home, server


def newest(home: Home, server: PrefectServer, flow: str) -> dict[str, Any]:
    body = {
        "flows": {"name": {"any_": [flow]}},
        "flow_runs": {"start_time": {"is_null_": False}},
        "sort": "START_TIME_DESC",
        "limit": 1,
    }
    runs = kit.ask(home, server, "/flow_runs/filter", body)
    assert runs, f"no flow run of {flow}"
    found: dict[str, Any] = runs[0]
    return found


def test_every_step_of_a_training_is_a_task_run_and_its_report_an_artifact(
    served: tuple[Home, PrefectServer], tmp_path: Path
) -> None:
    home, server = served
    project = kit.tiny_project(tmp_path / "tiny")
    code, outcome, err = kit.run_flow(home, "train", "--project", str(project))
    assert code == 0, err
    assert outcome["version"] == "tiny@1"

    run = newest(home, server, "train")
    assert run["state_type"] == "COMPLETED"
    assert "in-place" in run["tags"]
    with Box.open(home, read_only=True) as box:
        mine = box.runs.get(outcome["run_id"])
        assert mine.flow_run_id == run["id"]
        steps = [step.name for step in box.runs.steps(mine.id)]
    tasks = kit.until(
        lambda: (
            found
            if len(
                found := kit.ask(
                    home, server, "/task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}}
                )
            )
            >= len(steps)
            else None
        ),
        what="the record of all task runs",
    )
    assert sorted(task["name"].rsplit("-", 1)[0] for task in tasks) == sorted(steps)
    artifacts = kit.ask(home, server, "/artifacts/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    assert [item["key"] for item in artifacts] == ["train-tiny"]
    assert "tiny@1" in artifacts[0]["data"]
    assert not list((home.prefect / "storage").glob("*")), "a result was written to disk"
    assert not list((home.run / "flows").glob("*")), "the mark of a finished run is left"


def test_refused_data_ends_the_flow_as_refused_and_the_process_with_3(
    served: tuple[Home, PrefectServer], tmp_path: Path
) -> None:
    home, server = served
    project = kit.tiny_project(tmp_path / "tiny", dirty=True)
    code, body, err = kit.run_flow(home, "train", "--project", str(project))
    assert code == 3, err
    assert body["error"]["code"] == "refused"
    assert "Traceback" not in err
    run = newest(home, server, "train")
    assert (run["state_type"], run["state_name"]) == ("FAILED", "Refused")
    assert body["error"]["message"] in run["state"]["message"]


def test_a_failed_gate_ends_the_flow_as_rejected_and_the_process_with_4(
    served: tuple[Home, PrefectServer], tmp_path: Path
) -> None:
    home, server = served
    project = kit.tiny_project(tmp_path / "tiny", mae=0.000001)
    code, body, err = kit.run_flow(home, "train", "--project", str(project))
    assert code == 4, err
    assert body["error"]["code"] == "gate"
    run = newest(home, server, "train")
    assert (run["state_type"], run["state_name"]) == ("FAILED", "Rejected")


def test_an_interrupt_ends_a_flow_at_once_as_cancelled(served: tuple[Home, PrefectServer]) -> None:
    home, server = served
    lane = FileLock(home.run / "housekeeping.lane")
    assert lane.try_acquire()
    try:
        with kit.start_flow(home, "housekeeping") as process:
            assert process.stderr is not None
            kit.until(
                lambda: "waiting for another" in process.stderr.readline(), what="the wait for the lane"
            )
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=30)
    finally:
        lane.release()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert newest(home, server, "housekeeping")["state_type"] == "CANCELLED"


def test_an_interrupted_training_leaves_no_running_run(
    served: tuple[Home, PrefectServer], tmp_path: Path
) -> None:
    home, server = served
    project = kit.tiny_project(tmp_path / "tiny", sleep_s=60)
    with kit.start_flow(home, "train", "--project", str(project)) as process, Box.open(home) as box:
        run = kit.until(lambda: box.runs.list(kind="train", state="running"), what="the start of the run")[0]
        kit.until(lambda: any(step.name == "fit" for step in box.runs.steps(run.id)), what="the fit")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130, err
        assert box.runs.get(run.id).state == "cancelled"
    assert newest(home, server, "train")["state_type"] == "CANCELLED"


def test_prefect_deploy_all_works_from_the_repository(served: tuple[Home, PrefectServer]) -> None:
    home, server = served
    environment = kit.prefect_environment(home, server)
    prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
    root = Path(__file__).parents[2]
    for arguments in (["work-pool", "create", "--type", "process", "mlops-box"], ["deploy", "--all"]):
        done = subprocess.run(
            [*prefect, *arguments], env=environment, cwd=root, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    found = kit.ask(home, server, "/deployments/filter", {"deployments": {"tags": {"all_": ["mlops-box"]}}})
    assert {item["entrypoint"] for item in found} == {
        f"mlops_box_flows.{name}.{name}"
        for name in ("train", "score", "monitor", "materialize", "housekeeping")
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--project", "/nowhere"],
        ["score", "no/such model", "--in", "x", "--out", "y"],
        ["score", "tiny", "--in", "/nowhere.csv", "--out", "y"],
        ["trane"],
    ],
)
def test_bad_input_is_one_error_with_exit_code_2_and_starts_nothing(
    tmp_path: Path, arguments: list[str]
) -> None:
    home = Home(tmp_path / "home")
    code, body, err = kit.run_flow(home, *arguments)
    assert code == 2
    assert body["error"]["message"]
    assert "Traceback" not in err
    assert not home.root.exists()


def test_two_flows_at_once_share_a_server_that_is_gone_after_the_last(
    served: tuple[Home, PrefectServer], tmp_path: Path
) -> None:
    # A copy of a migrated Prefect database: a cold start costs 9 s more.
    home = Home(tmp_path / "home")
    home.create()
    shutil.copytree(served[0].prefect, home.prefect, dirs_exist_ok=True)
    with kit.start_flow(home, "housekeeping") as first, kit.start_flow(home, "housekeeping") as second:
        outputs = [process.communicate(timeout=120) for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), outputs
    kit.until(lambda: read_server(home) is None, timeout_s=15, what="the end of the temporary server")
    kit.until(lambda: not FileLock(home.run / "prefect.lock").is_held_by_somebody(), timeout_s=15)
    with Box.open(home, read_only=True) as box:
        assert [run.state for run in box.runs.list()] == ["completed", "completed"]


def test_a_users_own_server_is_used_where_one_is_named(
    served: tuple[Home, PrefectServer], tmp_path: Path
) -> None:
    theirs, server = served
    home = Home(tmp_path / "home")
    environment = kit.prefect_environment(theirs, server)
    environment.pop("MLOPS_BOX_OWN_PREFECT")
    done = subprocess.run(
        [sys.executable, "-m", "mlops_box_flows", "housekeeping", "--home", str(home.root)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not (home.run / "prefect.lock").exists(), "the box started a server of its own"
    assert newest(theirs, server, "housekeeping")["parameters"]["home"] == str(home.root)


def test_an_unreachable_users_server_is_one_clear_error(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "PREFECT_CLIENT_MAX_RETRIES": "0",
    }
    done = subprocess.run(
        [sys.executable, "-m", "mlops_box_flows", "housekeeping", "--home", str(tmp_path / "home"), "--json"],
        env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 6, done.stderr
    assert '"unavailable"' in done.stdout
    assert "Traceback" not in done.stderr
