"""The same service under BentoML's own commands."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from serving_kit import environment, register_projects, register_rate

from mlops_box.box import Box

ROOT = Path(__file__).parents[2]
BENTOML = [sys.executable, "-m", "bentoml"]


def bento_environment(home: Path) -> dict[str, str]:
    own = {"BENTOML_HOME": str(home / "bentoml"), "BENTOML_DO_NOT_TRACK": "true", "MLOPS_BOX_HOME": str(home)}
    return {**environment(), **own}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
def test_bentoml_serve_takes_the_service_and_the_guard_with_it(tmp_path: Path) -> None:
    with Box.open(tmp_path / "home", actor="tester") as box:
        register_projects(box)
        register_rate(box)
    port = free_port()
    command = [
        *BENTOML,
        "serve",
        "mlops_box_services.service:service",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    log = tmp_path / "bentoml.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=bento_environment(tmp_path / "home"), stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and process.poll() is None:
            try:
                urllib.request.urlopen(f"{url}/readyz", timeout=2).read()
                break
            except OSError:
                time.sleep(0.2)
        request = urllib.request.Request(
            f"{url}/models/rates/predict",
            data=b'{"rows": [{"a": 1, "b": 2}]}',
            headers={"Content-Type": "application/json"},
        )
        assert b'"predictions":[3.0]' in urllib.request.urlopen(request, timeout=20).read(), log.read_text()
        foreign = urllib.request.Request(f"{url}/schema.json", headers={"Host": "evil.com"})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(foreign, timeout=20)
        assert refused.value.code == 421
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.slow
def test_bentoml_build_works_from_the_repository_without_a_network(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [*BENTOML, "build", "--output", "tag", str(ROOT)],
        cwd=ROOT, env=bento_environment(home), capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    tag = done.stdout.strip().splitlines()[-1].removeprefix("__tag__:")
    name, _, version = tag.partition(":")
    built = home / "bentoml" / "bentos" / name / version
    assert (built / "src" / "services" / "mlops_box_services" / "service.py").exists()
    assert (built / "src" / "mlops_box" / "box.py").exists()
    assert not (built / "src" / "tests").exists()
    assert not (built / "src" / ".git").exists()
