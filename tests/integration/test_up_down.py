"""The whole box up: ready, watched, killed piece by piece, back again, down without a trace."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import flow_kit as kit
import psutil
import pytest
from box_kit import RunningBox

from mlops_box.box import Box
from mlops_box.home import Home
from mlops_box.operations.prefect_env import answers, free_port, read_server
from mlops_box.operations.supervisor import family
from mlops_box.operations.supervisor.state import read_state
from mlops_box.project import load_project
from mlops_box.serving.access import is_loopback

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    folder = tmp_path_factory.mktemp("up")
    box = RunningBox(Home(folder / "home"), kit.tiny_project(folder / "tiny"))
    with Box.open(box.home) as opened:
        opened.projects.register(load_project(box.project))
    box.up()
    yield box
    box.command("down")


def test_everything_is_up_and_listens_on_loopback_only(running: RunningBox) -> None:
    code, status = running.command("status")
    assert code == 0
    assert status["phase"] == "ready"
    assert {p["name"]: p["state"] for p in status["processes"]} == {
        "prefect": "up", "runner": "up", "server": "up",
    }  # fmt: skip
    assert all(p["rss_bytes"] > 10_000_000 for p in status["processes"])
    assert {item["deployment"] for item in status["upcoming"]} == {
        "housekeeping/box", "train/tiny", "monitor/tiny",
    }  # fmt: skip
    assert answers(f"{status['endpoint']}/livez")
    grpc_host, grpc_port = status["grpc"].split(":")
    socket.create_connection((grpc_host, int(grpc_port)), 10).close()
    listening = [
        connection
        for process in family.members(running.state.family)
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 2
    assert all(is_loopback(connection.laddr.ip) for connection in listening), listening


def test_a_second_start_is_refused_with_5(running: RunningBox) -> None:
    code, body = running.command("up", "--detach", "--port", str(free_port()))
    assert code == 5
    assert "up already" in body["error"]["message"]
    assert running.is_well()


def test_the_api_of_prefect_answers_only_who_knows_the_secret(running: RunningBox) -> None:
    import httpx

    url = f"{running.prefect.api_url}/flow_runs/filter"
    assert httpx.post(url, json={}, trust_env=False).status_code == 401
    assert isinstance(running.ask("/flow_runs/filter", {}), list)


def test_a_schedule_on_a_fresh_home_yields_scheduled_runs(running: RunningBox) -> None:
    """sqlalchemy 2.1 breaks this and nothing else: server healthy, flows fine, never a scheduled run."""
    body = {
        "deployments": {"name": {"any_": ["tiny"]}},
        "flows": {"name": {"any_": ["monitor"]}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING", "COMPLETED"]}}},
    }
    runs = kit.until(lambda: running.ask("/flow_runs/filter", body), what="a scheduled run")
    assert runs[0]["auto_scheduled"]
    assert runs[0]["parameters"]["model"] == "tiny"


def test_a_project_registered_while_up_is_served(running: RunningBox) -> None:
    folder = kit.tiny_project(running.project.parent / "later")
    text = (folder / "mlops.toml").read_text().replace('name = "tiny"', 'name = "later"')
    (folder / "mlops.toml").write_text(text)
    with Box.open(running.home) as box:
        box.projects.register(load_project(folder))
    query = {"deployments": {"name": {"any_": ["later"]}}}
    found = kit.until(
        lambda: found if len(found := running.ask("/deployments/filter", query)) == 3 else None,
        what="three deployments of the new project",
    )
    crons = {
        item["entrypoint"].split(".")[1]: [s["schedule"]["cron"] for s in item["schedules"]] for item in found
    }
    assert crons == {"train": ["0 3 1 1 *"], "monitor": ["* * * * *"], "score": []}

    without = text.replace('monitor = "* * * * *"', "")
    (folder / "mlops.toml").write_text(without)
    with Box.open(running.home) as box:
        box.projects.register(load_project(folder))
    deployment = next(item["id"] for item in found if ".monitor." in item["entrypoint"])
    kit.until(
        lambda: running.ask(f"/deployments/{deployment}")["schedules"] == [], what="the end of the schedule"
    )


def test_a_launched_training_runs_once_per_key_and_becomes_champion(running: RunningBox) -> None:
    code = (
        "from mlops_box_flows.launcher import PrefectLauncher as L; "
        "print(L().train('tiny', idempotency_key='k1', trigger='drift'))"
    )
    environment = kit.prefect_environment(running.home, running.prefect)
    ids = {
        subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    }
    assert len(ids) == 1
    flow_run = ids.pop()
    state = kit.until(
        lambda: (
            run["state"] if (run := running.ask(f"/flow_runs/{flow_run}"))["state_type"] in FINAL else None
        ),
        timeout_s=120,
        what="the end of the training",
    )
    assert state["type"] == "COMPLETED", state
    with Box.open(running.home, read_only=True) as box:
        assert box.models.get("tiny@champion").number == 1
        assert [run.trigger for run in box.runs.list(kind="train")] == ["drift"]


FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@pytest.mark.parametrize("name", ["server", "runner", "prefect"])
def test_what_is_killed_comes_back_by_itself(running: RunningBox, name: str) -> None:
    old = running.pid(name)
    os.kill(old, signal.SIGKILL)
    kit.until(
        lambda: running.is_well() and running.pid(name) != old, timeout_s=90, what=f"the return of {name}"
    )
    assert next(p.restarts for p in running.state.processes if p.name == name) >= 1


def test_a_killed_supervisor_takes_nothing_with_it_and_leaves_no_run_open(running: RunningBox) -> None:
    slow = kit.tiny_project(running.project, sleep_s=120)
    with Box.open(running.home) as box:
        box.projects.register(load_project(slow))
    deployment = running.ask("/deployments/name/train/tiny")["id"]
    flow_run = running.ask(f"/deployments/{deployment}/create_flow_run", {})["id"]
    with Box.open(running.home) as box:
        run = kit.until(
            lambda: box.runs.list(kind="train", state="running"),
            timeout_s=120,
            what="the start of the training",
        )[0]
        assert run.flow_run_id == flow_run
        old = running.state
        os.kill(old.owner.pid, signal.SIGKILL)
        running.up()
        assert family.members(old.family) == []
        assert box.runs.get(run.id).state in ("crashed", "cancelled")
        assert box.runs.list(state="running") == []
    state = kit.until(
        lambda: found if (found := running.ask(f"/flow_runs/{flow_run}")["state_type"]) in FINAL else None,
        what="the end of the flow run in Prefect",
    )
    assert state in ("CRASHED", "CANCELLED")
    assert running.is_well()


def test_a_training_that_is_killed_ends_as_crashed_everywhere(running: RunningBox) -> None:
    deployment = running.ask("/deployments/name/train/tiny")["id"]
    flow_run = running.ask(f"/deployments/{deployment}/create_flow_run", {})["id"]
    with Box.open(running.home) as box:
        run = kit.until(
            lambda: box.runs.list(kind="train", state="running"),
            timeout_s=120,
            what="the start of the training",
        )[0]
        os.kill(run.owner.pid, signal.SIGKILL)
        kit.until(
            lambda: running.ask(f"/flow_runs/{flow_run}")["state_type"] == "CRASHED",
            what="the crash in Prefect",
        )
        kit.until(lambda: box.runs.get(run.id).state == "crashed", timeout_s=60, what="the crash in box.db")


def test_runs_that_were_due_while_the_box_was_off_do_not_start_in_a_burst(running: RunningBox) -> None:
    running.command("down")
    with kit.prefect_server(running.home) as server:
        deployment = kit.ask(running.home, server, "/deployments/name/housekeeping/box")
        due = datetime.now(UTC) - timedelta(hours=3)
        flow = deployment["flow_id"]
        ids = [
            kit.ask(
                running.home,
                server,
                "/flow_runs/",
                {
                    "flow_id": flow,
                    "deployment_id": deployment["id"],
                    "tags": deployment["tags"],
                    "state": {
                        "type": "SCHEDULED",
                        "state_details": {"scheduled_time": (due + timedelta(minutes=n)).isoformat()},
                    },
                },
            )["id"]
            for n in range(4)
        ]
    import pysqlite3.dbapi2 as sqlite

    with sqlite.connect(str(running.home.prefect / "prefect.db")) as connection:
        connection.execute("UPDATE flow_run SET auto_scheduled = 1 WHERE state_type = 'SCHEDULED'")
    running.up()
    left = running.ask("/flow_runs/filter", {"flow_runs": {"id": {"any_": ids}}})
    assert [run["id"] for run in left] == [ids[-1]]


def test_down_leaves_no_process_and_no_run(running: RunningBox) -> None:
    deployment = running.ask("/deployments/name/train/tiny")["id"]
    running.ask(f"/deployments/{deployment}/create_flow_run", {})
    with Box.open(running.home) as box:
        run = kit.until(
            lambda: box.runs.list(kind="train", state="running"),
            timeout_s=120,
            what="the start of the training",
        )[0]
        mark = running.state.family
        code, body = running.command("down")
        assert (code, body["was_up"], body["clean"]) == (0, True, True)
        assert family.members(mark) == []
        assert box.runs.get(run.id).state == "cancelled"
    assert read_server(running.home) is None
    assert read_state(running.home) is None
    code, status = running.command("status")
    assert (code, status["phase"]) == (6, "down")
    assert running.command("down") == (0, {"was_up": False, "clean": True, "ended": 0})
