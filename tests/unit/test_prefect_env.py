"""The environment of Prefect processes: complete, private, and the user's own server where one is named."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlops_box.errors import StorageError
from mlops_box.home import Home
from mlops_box.operations.prefect_env import (
    PrefectServer,
    api_secret,
    external_api,
    external_environment,
    free_port,
    own_environment,
    port_is_free,
    read_server,
    write_server,
)
from mlops_box.runs import Owner, this_process


@pytest.fixture
def home(tmp_path: Path) -> Home:
    place = Home(tmp_path / "home")
    place.create()
    return place


def test_nothing_of_the_users_prefect_gets_in(home: Home) -> None:
    user = {
        "PATH": "/bin",
        "PREFECT_PROFILE": "work",
        "PREFECT_API_KEY": "pnu_secret",
        "PREFECT_HOME": "/mine",
    }
    environment = own_environment(home, port=4711, secret="s", environ=user)
    assert environment["PATH"] == "/bin"
    assert environment["PREFECT_HOME"] == str(home.prefect)
    assert environment["PREFECT_API_URL"] == "http://127.0.0.1:4711/api"
    assert "PREFECT_PROFILE" not in environment
    assert "PREFECT_API_KEY" not in environment


def test_telemetry_is_off_everywhere(home: Home) -> None:
    for environment in (
        own_environment(home, port=1, secret="s", environ={}),
        external_environment(
            {"PREFECT_API_URL": "http://there/api", "PREFECT_SERVER_ANALYTICS_ENABLED": "true"}
        ),
    ):
        assert environment["DO_NOT_TRACK"] == "1"
        assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
        assert environment["BENTOML_DO_NOT_TRACK"] == "true"


def test_a_users_server_is_respected_and_the_boxs_own_is_not_taken_for_one(home: Home) -> None:
    user = {"PREFECT_API_URL": "http://there/api", "PREFECT_API_KEY": "k"}
    assert external_api(user) == "http://there/api"
    assert external_environment(user)["PREFECT_API_KEY"] == "k"
    assert external_api(own_environment(home, port=1, secret="s", environ={})) is None
    assert external_api({}) is None


def test_prefect_itself_accepts_every_setting(home: Home) -> None:
    environment = own_environment(home, port=free_port(), secret=api_secret(home), environ=os.environ)
    code = (
        "from prefect.settings import get_current_settings as s; c = s(); "
        "print(c.server.concurrency.lease_storage, c.server.services.scheduler.max_runs, "
        "c.server.services.scheduler.loop_seconds, c.server.analytics_enabled, c.server.ephemeral.enabled, "
        "c.client.max_retries, c.server.ui.enabled)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        cwd=home.run,
        check=True,
    )
    storage = "prefect.server.concurrency.lease_storage.filesystem"
    assert done.stdout.split() == [storage, "1", "5.0", "False", "False", "12", "False"]


def test_the_secret_is_made_once_and_only_its_owner_reads_it(home: Home) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: api_secret(home), range(32)))
    assert len(found) == 1
    assert len(found.pop()) >= 32
    path = home.keys / "prefect.secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in home.keys.iterdir()] == ["prefect.secret"]


def test_an_unreadable_secret_is_one_clear_error(home: Home) -> None:
    (home.keys / "prefect.secret").mkdir()
    with pytest.raises(StorageError, match=r"prefect\.secret"):
        api_secret(home)


def test_a_server_is_announced_until_its_process_dies(home: Home) -> None:
    assert read_server(home) is None
    me = this_process()
    write_server(home, PrefectServer(4711, me))
    assert read_server(home) == PrefectServer(4711, me)
    write_server(home, PrefectServer(4711, Owner(me.pid, me.pid_started + 1, me.boot_id)))
    assert read_server(home) is None
    (home.run / "prefect.json").write_text("{")
    assert read_server(home) is None


def test_a_port_in_use_is_not_free() -> None:
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        assert not port_is_free(holder.getsockname()[1])
    assert port_is_free(free_port())
